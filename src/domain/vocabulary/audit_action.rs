//! The actions that the audit log names.

use crate::domain::named_enum::named_enum;

named_enum!(
    /// What somebody did, or was refused.
    AuditAction, "an audit action, such as SIGN_IN" {
        /// Created the organization.
        CreateOrganization = "CREATE_ORGANIZATION",
        /// Changed the organization's attributes.
        UpdateOrganization = "UPDATE_ORGANIZATION",
        /// Deleted the organization.
        DeleteOrganization = "DELETE_ORGANIZATION",
        /// Changed the permission settings.
        UpdateSettings = "UPDATE_SETTINGS",
        /// Created a user.
        CreateUser = "CREATE_USER",
        /// Changed a user.
        UpdateUser = "UPDATE_USER",
        /// Deleted a user.
        DeleteUser = "DELETE_USER",
        /// Created a queue.
        CreateQueue = "CREATE_QUEUE",
        /// Changed a queue.
        UpdateQueue = "UPDATE_QUEUE",
        /// Deleted a queue.
        DeleteQueue = "DELETE_QUEUE",
        /// Gave a user a role.
        AssignRole = "ASSIGN_ROLE",
        /// Took a role from a user.
        UnassignRole = "UNASSIGN_ROLE",
        /// Imported a directory: only when refused, since what an import does is recorded singly.
        ImportDirectory = "IMPORT_DIRECTORY",
        /// A user signed in.
        SignIn = "SIGN_IN",
        /// A user signed out.
        SignOut = "SIGN_OUT",
        /// A supervisor signed a user in.
        SupervisorSignIn = "SUPERVISOR_SIGN_IN",
        /// A supervisor signed a user out.
        SupervisorSignOut = "SUPERVISOR_SIGN_OUT",
        /// A session ended otherwise: it expired, or with its user, queue, organization or assignment.
        EndSession = "END_SESSION",
        /// Cut the beginning of the audit log, after archiving it.
        CutAuditLog = "CUT_AUDIT_LOG",
    }
);
