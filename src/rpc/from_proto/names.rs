//! The users and queues that requests name, by id or by extension.

use super::{
    super::{error::Error, proto},
    values::*,
};
use crate::domain::{
    command::QueueSelection,
    ids::{QueueRef, UserRef},
};

/// The `oneof user` of a request. Every request type has its own.
pub trait NamesUser {
    fn user_ref(self) -> Result<UserRef, Error>;
}

/// The `oneof queue` of a request. Every request type has its own.
pub trait NamesQueue {
    fn queue_ref(self) -> Result<QueueRef, Error>;
}

macro_rules! names_user {
    ($($message:ident)+) => {$(
        impl NamesUser for proto::$message::User {
            fn user_ref(self) -> Result<UserRef, Error> {
                match self {
                    Self::UserId(id) => required("user_id", &id).map(UserRef::Id),
                    Self::UserExtension(extension) => required("user_extension", &extension).map(UserRef::Extension),
                }
            }
        }
    )+};
}

macro_rules! names_queue {
    ($($message:ident)+) => {$(
        impl NamesQueue for proto::$message::Queue {
            fn queue_ref(self) -> Result<QueueRef, Error> {
                match self {
                    Self::QueueId(id) => required("queue_id", &id).map(QueueRef::Id),
                    Self::QueueExtension(extension) => required("queue_extension", &extension).map(QueueRef::Extension),
                }
            }
        }
    )+};
}

macro_rules! names_supervisor {
    ($($message:ident)+) => {$(
        impl NamesUser for proto::$message::Supervisor {
            fn user_ref(self) -> Result<UserRef, Error> {
                match self {
                    Self::SupervisorId(id) => required("supervisor_id", &id).map(UserRef::Id),
                    Self::SupervisorExtension(extension) => {
                        required("supervisor_extension", &extension).map(UserRef::Extension)
                    }
                }
            }
        }
    )+};
}

names_user!(check_queue_access_request check_queue_access_item list_accessible_queues_request sign_in_request
    sign_out_request supervisor_sign_in_request supervisor_sign_out_request get_session_request list_sessions_request
    watch_sessions_request get_user_request assign_role_request unassign_role_request list_role_assignments_request
    check_permission_request check_permission_item list_user_permissions_request list_audit_events_request set_pin_request clear_pin_request
    verify_pin_request
    create_console_link_request);
names_queue!(check_queue_access_request check_queue_access_item list_eligible_agents_request sign_in_request
    sign_out_request supervisor_sign_in_request supervisor_sign_out_request get_session_request list_sessions_request
    watch_sessions_request get_queue_request assign_role_request unassign_role_request list_role_assignments_request
    check_permission_request check_permission_item list_user_permissions_request list_audit_events_request
    list_users_request);
names_supervisor!(supervisor_sign_in_request supervisor_sign_out_request);

pub fn user(user: Option<impl NamesUser>) -> Result<UserRef, Error> {
    optional_user(user)?.ok_or_else(|| Error::invalid("user_id", &"is required, or user_extension"))
}

pub fn optional_user(user: Option<impl NamesUser>) -> Result<Option<UserRef>, Error> {
    user.map(NamesUser::user_ref).transpose()
}

pub fn supervisor(supervisor: Option<impl NamesUser>) -> Result<UserRef, Error> {
    optional_user(supervisor)?.ok_or_else(|| Error::invalid("supervisor_id", &"is required, or supervisor_extension"))
}

pub fn queue(queue: Option<impl NamesQueue>) -> Result<QueueRef, Error> {
    optional_queue(queue)?.ok_or_else(|| Error::invalid("queue_id", &"is required, or queue_extension"))
}

/// Read a queue, or `all_queues`: a field with the name `field` that stands for several queues.
pub fn queue_selection(queue: Option<impl NamesQueue>, field: &str, all_queues: bool) -> Result<QueueSelection, Error> {
    match (optional_queue(queue)?, all_queues) {
        (Some(queue), false) => Ok(QueueSelection::One(queue)),
        (None, true) => Ok(QueueSelection::All),
        (Some(_), true) => Err(Error::invalid(field, &"must be false if a queue is given")),
        (None, false) => Err(Error::invalid("queue_id", &format_args!("is required, or queue_extension, or {field}"))),
    }
}

pub fn optional_queue(queue: Option<impl NamesQueue>) -> Result<Option<QueueRef>, Error> {
    queue.map(NamesQueue::queue_ref).transpose()
}
