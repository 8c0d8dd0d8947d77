//! The actions that the audit log names.

use crate::domain::named_enum::named_enum;

named_enum!(
    /// An action that was carried out or refused.
    AuditAction, "an audit action, such as SIGN_IN" {
        /// Create the organization.
        CreateOrganization = "CREATE_ORGANIZATION",
        /// Change the organization's attributes.
        UpdateOrganization = "UPDATE_ORGANIZATION",
        /// Delete the organization.
        DeleteOrganization = "DELETE_ORGANIZATION",
        /// Change the permission settings.
        UpdateSettings = "UPDATE_SETTINGS",
        /// Create a user.
        CreateUser = "CREATE_USER",
        /// Change a user.
        UpdateUser = "UPDATE_USER",
        /// Delete a user.
        DeleteUser = "DELETE_USER",
        /// Create a queue.
        CreateQueue = "CREATE_QUEUE",
        /// Change a queue.
        UpdateQueue = "UPDATE_QUEUE",
        /// Delete a queue.
        DeleteQueue = "DELETE_QUEUE",
        /// Give a user a role.
        AssignRole = "ASSIGN_ROLE",
        /// Take a role from a user.
        UnassignRole = "UNASSIGN_ROLE",
        /// Import a directory. Only refusals have this action; an accepted import has an event for each change.
        ImportDirectory = "IMPORT_DIRECTORY",
        /// Sign in as a user.
        SignIn = "SIGN_IN",
        /// Sign out as a user.
        SignOut = "SIGN_OUT",
        /// Sign a user in as a supervisor.
        SupervisorSignIn = "SUPERVISOR_SIGN_IN",
        /// Sign a user out as a supervisor.
        SupervisorSignOut = "SUPERVISOR_SIGN_OUT",
        /// End a session for another reason: it expired, or its user, queue, organization or assignment was removed.
        EndSession = "END_SESSION",
        /// Cut the beginning off the audit log, after archiving it.
        CutAuditLog = "CUT_AUDIT_LOG",
        /// Set a user's PIN.
        SetPin = "SET_PIN",
        /// Clear a user's PIN.
        ClearPin = "CLEAR_PIN",
        /// Compare a PIN with a user's.
        VerifyPin = "VERIFY_PIN",
    }
);
