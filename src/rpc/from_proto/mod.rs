//! Converts messages to domain values. A malformed field is an [`Error::Invalid`](super::error::Error::Invalid) that
//! names it.

mod all;
mod values;
mod names;
mod patch;

pub(super) use self::{
    all::all,
    names::{NamesQueue, NamesUser, optional_queue, optional_user, queue, queue_selection, supervisor, user},
    patch::{Mask, queue_patch, settings_patch, user_patch},
    values::{
        at_least, audit_action, channel, device, expected_etag, if_missing, justification, name, new_queue, new_user,
        optional, optional_penalty, optional_queue_kind, optional_role, organization, organization_id, permission, pin,
        queue_mismatch, required, role, text_prefix, time, ttl, unassigned_queue_sign_in,
    },
};
