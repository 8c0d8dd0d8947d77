//! Invalid requests to PermissionService, rpc by rpc, and their errors.

use tonic::Code;

use super::{Case, FIELD};

pub const CASES: &[Case] = &[
    // Empty requests: the error names the first missing field. ListOrganizations has no required field.
    ("PermissionService/GetPermissionSettings", "{}", Code::InvalidArgument, FIELD, "organization_id"),
    ("PermissionService/UpdatePermissionSettings", "{}", Code::InvalidArgument, FIELD, "organization_id"),
    ("PermissionService/PreviewPermissionSettings", "{}", Code::InvalidArgument, FIELD, "organization_id"),
    ("PermissionService/CheckPermission", "{}", Code::InvalidArgument, FIELD, "organization_id"),
    ("PermissionService/BatchCheckPermissions", "{}", Code::InvalidArgument, FIELD, "organization_id"),
    ("PermissionService/ListUserPermissions", "{}", Code::InvalidArgument, FIELD, "organization_id"),
    // Requests with one missing field.
    (
        "PermissionService/UpdatePermissionSettings",
        r#"{"organization_id":"acme"}"#,
        Code::InvalidArgument,
        FIELD,
        "settings",
    ),
    (
        "PermissionService/UpdatePermissionSettings",
        r#"{"organization_id":"acme","settings":{"organization_id":"other"}}"#,
        Code::InvalidArgument,
        FIELD,
        "settings.organization_id",
    ),
    (
        "PermissionService/UpdatePermissionSettings",
        r#"{"organization_id":"acme","settings":{"supervisor":{"view_queue_settings":false}}}"#,
        Code::InvalidArgument,
        FIELD,
        "settings.supervisor.view_queue_settings",
    ),
    (
        "PermissionService/UpdatePermissionSettings",
        r#"{"organization_id":"acme","settings":{},"update_mask":"supervisor.viewSkill"}"#,
        Code::InvalidArgument,
        FIELD,
        "update_mask",
    ),
    (
        "PermissionService/UpdatePermissionSettings",
        r#"{"organization_id":"acme","settings":{"organization":{"unassigned_queue_sign_in":8}}}"#,
        Code::InvalidArgument,
        FIELD,
        "settings.organization.unassigned_queue_sign_in",
    ),
    (
        "PermissionService/UpdatePermissionSettings",
        r#"{"organization_id":"acme","settings":{"etag":"stale"}}"#,
        Code::Aborted,
        "STALE_ETAG",
        "",
    ),
    (
        "PermissionService/PreviewPermissionSettings",
        r#"{"organization_id":"acme","settings":{"supervisor":{"view_queue_settings":false}}}"#,
        Code::InvalidArgument,
        FIELD,
        "settings.supervisor.view_queue_settings",
    ),
    (
        "PermissionService/PreviewPermissionSettings",
        r#"{"organization_id":"acme","settings":{"etag":"stale"}}"#,
        Code::Aborted,
        "STALE_ETAG",
        "",
    ),
    (
        "PermissionService/UpdatePermissionSettings",
        r#"{"organization_id":"acme","settings":{"etag":"stale"},"validate_only":true}"#,
        Code::Aborted,
        "STALE_ETAG",
        "",
    ),
    (
        "PermissionService/CheckPermission",
        r#"{"organization_id":"acme","user_id":"anna"}"#,
        Code::InvalidArgument,
        FIELD,
        "permission",
    ),
    (
        "PermissionService/CheckPermission",
        r#"{"organization_id":"acme","user_id":"anna","permission":99}"#,
        Code::InvalidArgument,
        FIELD,
        "permission",
    ),
    (
        "PermissionService/CheckPermission",
        r#"{"organization_id":"acme","permission":"PERMISSION_VIEW_SKILLS"}"#,
        Code::InvalidArgument,
        FIELD,
        "user_id",
    ),
    (
        "PermissionService/CheckPermission",
        r#"{"organization_id":"acme","user_id":"anna","permission":"PERMISSION_SERVE_QUEUE"}"#,
        Code::InvalidArgument,
        FIELD,
        "queue_id",
    ),
    (
        "PermissionService/CheckPermission",
        r#"{"organization_id":"acme","user_id":"anna","permission":"PERMISSION_VIEW_SKILLS","queue_extension":"801"}"#,
        Code::InvalidArgument,
        FIELD,
        "queue_extension",
    ),
    (
        "PermissionService/CheckPermission",
        r#"{"organization_id":"nobody","user_id":"anna","permission":"PERMISSION_VIEW_SKILLS"}"#,
        Code::NotFound,
        "NOT_FOUND",
        "queuegate.v1.Organization nobody",
    ),
    ("PermissionService/BatchCheckPermissions", r#"{"organization_id":"acme"}"#, Code::InvalidArgument, FIELD, "items"),
    (
        "PermissionService/ListUserPermissions",
        r#"{"organization_id":"acme","user_id":"anna","queue_id":"Sales"}"#,
        Code::InvalidArgument,
        FIELD,
        "queue_id",
    ),
    // Unknown ids, and ids that already exist.
    (
        "PermissionService/GetPermissionSettings",
        r#"{"organization_id":"nobody"}"#,
        Code::NotFound,
        "NOT_FOUND",
        "queuegate.v1.Organization nobody",
    ),
];
