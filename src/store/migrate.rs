//! Migrations of a whole store from a file to PostgreSQL, or back.
//!
//! INVARIANT: at most one of the two can be used. The target is refused until it is complete, verified and compared, and
//! until the source is refused.

use std::path::Path;

use super::{
    error::Error,
    examination::Examination,
    postgres::{self, Target},
    sqlite,
    tables::{Destination, Row, Rows, Source, TABLES},
};
use crate::domain::{ids::Revision, time::Timestamp};

/// The number of rows between two progress reports.
const REPORT_EVERY: u64 = 1_000;

/// Move a store from a file to a PostgreSQL database without a store, or with an empty one. `progress` gets the done and
/// the total number: of events to verify, of rows to copy, and of copied events to verify.
pub fn migrate_to_postgres(
    from: &Path,
    to: &Target,
    now: Timestamp,
    progress: impl Fn(u64, u64),
) -> Result<Examination, Error> {
    let mut target = postgres::moving::Destination::open(to)?;
    let mut source = sqlite::moving::Source::open(from)?;
    let (original, revision) = whole(&from.display(), sqlite::examine(from, &progress)?)?;
    target.begin(now)?;
    copy(&mut source, &mut target, &progress)?;
    let copied = target.commit(revision, &progress)?;
    compare(&to, &original, &copied)?;
    source.close(&moved_to(&to))?;
    target.release()?;
    Ok(copied)
}

/// Move a store from a PostgreSQL database to a new file. `progress` is that of [`migrate_to_postgres`].
pub fn migrate_to_file(from: &Target, to: &Path, progress: impl Fn(u64, u64)) -> Result<Examination, Error> {
    sqlite::moving::make(to, |file| {
        let mut source = postgres::moving::Source::open(from)?;
        let (original, revision) = whole(&from, postgres::examine(from, &progress)?)?;
        let mut target = file.begin(revision.lineage)?;
        copy(&mut source, &mut target, &progress)?;
        let copied = target.commit(&progress)?;
        compare(&to.display(), &original, &copied)?;
        source.close(&moved_to(&file.path().display()))?;
        file.finish()?;
        Ok(copied)
    })
}

/// Take a file that was moved back into use, in a new epoch. Return the end of its history.
pub fn reopen_file(file: &Path, now: Timestamp) -> Result<Revision, Error> {
    sqlite::moving::reopen(file, now)
}

/// Take a PostgreSQL database that was moved back into use, in a new epoch. Return the end of its history.
pub fn reopen_postgres(target: &Target) -> Result<Revision, Error> {
    postgres::moving::reopen(target)
}

/// Return the revision of a store that is whole.
fn whole(name: &dyn std::fmt::Display, examination: Examination) -> Result<(Examination, Revision), Error> {
    match examination.revision.filter(|_| examination.is_whole()) {
        Some(revision) => Ok((examination, revision)),
        None => Err(Error::Broken { path: name.to_string(), problems: examination.problems }),
    }
}

/// Copy the rows of every table, and compare their number.
fn copy(source: &mut impl Source, target: &mut impl Destination, progress: &impl Fn(u64, u64)) -> Result<(), Error> {
    let counts: Result<Vec<u64>, Error> = TABLES.iter().map(|table| source.count(table)).collect();
    let counts = counts?;
    let (total, mut done) = (counts.iter().sum(), 0);
    for (table, count) in TABLES.iter().zip(counts) {
        let filled = source.read(table, &mut |rows: Rows<'_>| {
            target.fill(
                table,
                &mut rows.inspect(|_: &Result<Row, Error>| {
                    done += 1;
                    if done % REPORT_EVERY == 0 {
                        progress(done, total);
                    }
                }),
            )
        })?;
        if filled != count {
            let problem = format!("{} has {filled} rows in the copy, and {count} in the original", table.name);
            return Err(Error::Damaged(problem));
        }
    }
    progress(total, total);
    Ok(())
}

/// Check that the copy is whole, and that it ends as the original does.
fn compare(name: &dyn std::fmt::Display, original: &Examination, copied: &Examination) -> Result<(), Error> {
    let mut problems = copied.problems.clone();
    if (copied.revision, copied.events, &copied.heads) != (original.revision, original.events, &original.heads) {
        problems.push("its revision or its chains differ from those of the original".to_owned());
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Broken { path: name.to_string(), problems }) }
}

fn moved_to(target: &dyn std::fmt::Display) -> String {
    format!(
        "it was moved to `{target}`; use that one, or take this one back into use with `queuegate migrate --reopen`"
    )
}
