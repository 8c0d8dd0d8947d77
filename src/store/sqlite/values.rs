//! Conversions between columns and values of the domain.

use std::{fmt::Display, str::FromStr};

use rusqlite::Row;

use crate::store::error::Error;

pub(super) fn of_column<E: Display>(column: usize) -> impl Fn(E) -> Error {
    move |error| Error::Damaged(format!("column {column} {error}"))
}

pub(super) fn column<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, Error> {
    row.get_ref(column)?.as_str().map_err(of_column(column))
}

pub(super) fn optional_column<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r str>, Error> {
    row.get_ref(column)?.as_str_or_null().map_err(of_column(column))
}

pub(super) fn text<T: FromStr<Err: Display>>(row: &Row<'_>, at: usize) -> Result<T, Error> {
    column(row, at)?.parse().map_err(of_column(at))
}

pub(super) fn optional_text<T: FromStr<Err: Display>>(row: &Row<'_>, at: usize) -> Result<Option<T>, Error> {
    optional_column(row, at)?.map(|text| text.parse().map_err(of_column(at))).transpose()
}
