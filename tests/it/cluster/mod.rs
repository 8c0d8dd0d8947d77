//! Several equal nodes over one PostgreSQL. Without PostgreSQL, each test says that it is skipped.

mod examine;
mod migrate;
mod nodes;
mod postgres;
mod same_tests;

use postgres::Postgres;
