//! Invalid requests to ConsoleService, and their errors.

use tonic::Code;

use super::{Case, FIELD};

pub const CASES: &[Case] = &[
    ("ConsoleService/CreateConsoleLink", "{}", Code::InvalidArgument, FIELD, "organization_id"),
    ("ConsoleService/CreateConsoleLink", r#"{"organization_id":"acme"}"#, Code::InvalidArgument, FIELD, "user_id"),
    (
        "ConsoleService/CreateConsoleLink",
        r#"{"organization_id":"acme","user_extension":"x"}"#,
        Code::InvalidArgument,
        FIELD,
        "user_extension",
    ),
    // This server has no console.
    (
        "ConsoleService/CreateConsoleLink",
        r#"{"organization_id":"acme","user_id":"anna"}"#,
        Code::FailedPrecondition,
        "CONSOLE_OFF",
        "",
    ),
];
