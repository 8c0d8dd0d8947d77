//! Adds a request id to a change that has none, so that it can be repeated on another server with one outcome.

use prost::{DecodeError, Message, bytes::Bytes};
use uuid::Uuid;

use crate::rpc::proto;

/// The length of the prefix of a message in gRPC: whether it is compressed, and its size.
const PREFIX: usize = 5;

/// Each method that takes a request id, and its message. A stream's request id is in its first message.
macro_rules! changes {
    ($($path:literal => $message:ident,)*) => {
        /// Set the request id of the message, unless it has one.
        fn with_id(path: &str, message: &[u8]) -> Result<Option<Vec<u8>>, DecodeError> {
            match path {
                $($path => {
                    let mut message = proto::$message::decode(message)?;
                    if message.request_id.is_empty() {
                        message.request_id = Uuid::now_v7().to_string();
                    }
                    Ok(Some(message.encode_to_vec()))
                })*
                _ => Ok(None),
            }
        }

        #[cfg(test)]
        const CHANGES: &[&str] = &[$($path),*];
    };
}

changes! {
    "/queuegate.v1.AuditService/CutAuditLog" => CutAuditLogRequest,
    "/queuegate.v1.DirectoryService/AssignRole" => AssignRoleRequest,
    "/queuegate.v1.DirectoryService/ClearPin" => ClearPinRequest,
    "/queuegate.v1.DirectoryService/CreateOrganization" => CreateOrganizationRequest,
    "/queuegate.v1.DirectoryService/CreateQueue" => CreateQueueRequest,
    "/queuegate.v1.DirectoryService/CreateUser" => CreateUserRequest,
    "/queuegate.v1.DirectoryService/DeleteOrganization" => DeleteOrganizationRequest,
    "/queuegate.v1.DirectoryService/DeleteQueue" => DeleteQueueRequest,
    "/queuegate.v1.DirectoryService/DeleteUser" => DeleteUserRequest,
    "/queuegate.v1.DirectoryService/ImportDirectory" => ImportDirectoryRequest,
    "/queuegate.v1.DirectoryService/SetPin" => SetPinRequest,
    "/queuegate.v1.DirectoryService/UnassignRole" => UnassignRoleRequest,
    "/queuegate.v1.DirectoryService/UpdateOrganization" => UpdateOrganizationRequest,
    "/queuegate.v1.DirectoryService/UpdateQueue" => UpdateQueueRequest,
    "/queuegate.v1.DirectoryService/UpdateUser" => UpdateUserRequest,
    "/queuegate.v1.PermissionService/UpdatePermissionSettings" => UpdatePermissionSettingsRequest,
    "/queuegate.v1.QueueAccessService/SignIn" => SignInRequest,
    "/queuegate.v1.QueueAccessService/SignOut" => SignOutRequest,
    "/queuegate.v1.QueueAccessService/SupervisorSignIn" => SupervisorSignInRequest,
    "/queuegate.v1.QueueAccessService/SupervisorSignOut" => SupervisorSignOutRequest,
}

/// Return the body of a request with a request id, if its method takes one. The messages of this crate's clients aren't
/// compressed; any other body stays as it is.
pub(super) fn with_request_id(path: &str, body: Bytes) -> Bytes {
    with_id_in_first(path, &body).unwrap_or(body)
}

fn with_id_in_first(path: &str, body: &[u8]) -> Option<Bytes> {
    let (prefix, messages) = body.split_first_chunk::<PREFIX>()?;
    let [0, size @ ..] = *prefix else { return None };
    let (first, rest) = messages.split_at_checked(usize::try_from(u32::from_be_bytes(size)).ok()?)?;
    let first = with_id(path, first).ok()??;
    let size = u32::try_from(first.len()).ok()?;
    Some([&[0_u8][..], &size.to_be_bytes(), &first, rest].concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::methods::METHODS;

    #[test]
    fn every_method_that_may_change_the_state_takes_a_request_id() {
        // Two comparisons of a PIN are two guesses.
        let is_repeatable = |path: &&str| !path.ends_with("/VerifyPin");
        let changes = METHODS.iter().filter(|method| method.work.may_change()).map(|method| method.path);
        assert_eq!(CHANGES, changes.filter(is_repeatable).collect::<Vec<_>>());
    }

    #[test]
    fn a_change_gets_an_id_unless_it_has_one_and_the_rest_stays() {
        let framed = |message: Vec<u8>| {
            let size = u32::try_from(message.len()).unwrap();
            [&[0_u8][..], &size.to_be_bytes(), &message].concat()
        };
        let path = "/queuegate.v1.DirectoryService/ImportDirectory";
        let message = |document: &str, request_id: &str| proto::ImportDirectoryRequest {
            document: document.into(),
            request_id: request_id.into(),
            ..Default::default()
        };
        let (first, second) = (message("a", ""), framed(message("b", "").encode_to_vec()));
        let body = [framed(first.encode_to_vec()), second.clone()].concat();
        let sent = with_request_id(path, body.clone().into());
        let length = sent.len() - second.len();
        let changed = proto::ImportDirectoryRequest::decode(&sent[PREFIX..length]).unwrap();
        assert_eq!(message("a", &changed.request_id), changed);
        assert_eq!((changed.request_id.len(), &sent[length..]), (36, &*second));

        let named = Bytes::from(framed(message("a", "mine").encode_to_vec()));
        assert_eq!(with_request_id(path, named.clone()), named);
        // Neither a read nor a truncated message is changed.
        assert_eq!(with_request_id("/queuegate.v1.QueueAccessService/GetSession", named.clone()), named);
        for length in 0..named.len() {
            assert_eq!(with_request_id(path, named.slice(..length)), named[..length]);
        }
    }
}
