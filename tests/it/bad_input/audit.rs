//! Invalid requests to AuditService, rpc by rpc, and their errors.

use tonic::Code;

use super::{Case, FIELD};

pub const CASES: &[Case] = &[
    // Empty requests: the error names the first missing field. ListOrganizations has no required field.
    ("AuditService/ListAuditEvents", "{}", Code::InvalidArgument, FIELD, "organization_id"),
    ("AuditService/WatchAuditEvents", "{}", Code::InvalidArgument, FIELD, "organization_id"),
    ("AuditService/VerifyAuditLog", "{}", Code::InvalidArgument, FIELD, "organization_id"),
    ("AuditService/GetAuditLogHead", "{}", Code::InvalidArgument, FIELD, "organization_id"),
    ("AuditService/ExportAuditLog", "{}", Code::InvalidArgument, FIELD, "organization_id"),
    ("AuditService/CutAuditLog", "{}", Code::InvalidArgument, FIELD, "organization_id"),
    // Requests with one missing field.
    (
        "AuditService/ListAuditEvents",
        r#"{"organization_id":"acme","user_id":"Anna"}"#,
        Code::InvalidArgument,
        FIELD,
        "user_id",
    ),
    (
        "AuditService/ListAuditEvents",
        r#"{"organization_id":"acme","queue_extension":"x"}"#,
        Code::InvalidArgument,
        FIELD,
        "queue_extension",
    ),
    (
        "AuditService/ListAuditEvents",
        r#"{"organization_id":"acme","actor_user_id":"Anna"}"#,
        Code::InvalidArgument,
        FIELD,
        "actor_user_id",
    ),
    (
        "AuditService/ListAuditEvents",
        r#"{"organization_id":"acme","action":99}"#,
        Code::InvalidArgument,
        FIELD,
        "action",
    ),
    (
        "AuditService/ListAuditEvents",
        r#"{"organization_id":"acme","page_size":-1}"#,
        Code::InvalidArgument,
        FIELD,
        "page_size",
    ),
    (
        "AuditService/ListAuditEvents",
        r#"{"organization_id":"acme","page_token":"e30"}"#,
        Code::InvalidArgument,
        FIELD,
        "page_token",
    ),
    (
        "AuditService/ListAuditEvents",
        r#"{"organization_id":"nobody"}"#,
        Code::NotFound,
        "NOT_FOUND",
        "queuegate.v1.Organization nobody",
    ),
    (
        "AuditService/WatchAuditEvents",
        r#"{"organization_id":"acme","start_revision":"x"}"#,
        Code::InvalidArgument,
        FIELD,
        "start_revision",
    ),
    (
        "AuditService/WatchAuditEvents",
        r#"{"organization_id":"acme","start_revision":"0000000000000001-00000001-0000000000000001"}"#,
        Code::InvalidArgument,
        FIELD,
        "start_revision",
    ),
    (
        "AuditService/WatchAuditEvents",
        r#"{"organization_id":"nobody"}"#,
        Code::NotFound,
        "NOT_FOUND",
        "queuegate.v1.Organization nobody",
    ),
    (
        "AuditService/VerifyAuditLog",
        r#"{"organization_id":"acme","expected_hash":"00"}"#,
        Code::InvalidArgument,
        FIELD,
        "expected_revision",
    ),
    (
        "AuditService/VerifyAuditLog",
        r#"{"organization_id":"acme","expected_revision":"x"}"#,
        Code::InvalidArgument,
        FIELD,
        "expected_revision",
    ),
    (
        "AuditService/VerifyAuditLog",
        r#"{"organization_id":"nobody"}"#,
        Code::NotFound,
        "NOT_FOUND",
        "queuegate.v1.Organization nobody",
    ),
    (
        "AuditService/GetAuditLogHead",
        r#"{"organization_id":"nobody"}"#,
        Code::NotFound,
        "NOT_FOUND",
        "queuegate.v1.Organization nobody",
    ),
    (
        "AuditService/ExportAuditLog",
        r#"{"organization_id":"nobody"}"#,
        Code::NotFound,
        "NOT_FOUND",
        "queuegate.v1.Organization nobody",
    ),
    ("AuditService/CutAuditLog", r#"{"organization_id":"acme"}"#, Code::InvalidArgument, FIELD, "through_revision"),
    (
        "AuditService/CutAuditLog",
        r#"{"organization_id":"acme","through_revision":"0000000000000001-00000001-0000000000000001",
            "through_hash":"0000000000000000000000000000000000000000000000000000000000000000"}"#,
        Code::InvalidArgument,
        FIELD,
        "through_revision",
    ),
    (
        "AuditService/ListAuditEvents",
        r#"{"organization_id":"acme","page_token":"eyJyZXZpc2lvbiI6IngifQ"}"#,
        Code::InvalidArgument,
        FIELD,
        "page_token",
    ),
];
