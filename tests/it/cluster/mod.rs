//! Several equal nodes over one PostgreSQL. Without PostgreSQL, each test says that it is skipped.

mod campaign;
mod examine;
mod faults;
mod limits;
mod migrate;
mod nodes;
pub mod postgres;
mod proxy;
mod same_tests;

use postgres::Postgres;
