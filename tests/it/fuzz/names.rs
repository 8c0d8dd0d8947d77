//! Fuzz tests of ids, extensions, revisions, settings and similar texts: parsing and printing gives the same text.

use std::{fmt::Display, str::FromStr};

use queuegate::domain::{
    ids::{Caller, Extension, OrganizationId, QueueId, RequestId, Revision, SessionId, UserId},
    model::{QueueKind, Role},
    settings::{Switch, UnassignedQueueSignIn},
    vocabulary::{AuditAction, Permission},
};

use super::mutate::{Mutator, Shown, share};

/// Whether the text is valid. If so, no other text has the same meaning.
fn is<T: FromStr + Display>(text: &str) -> bool
where
    T::Err: Display,
{
    match text.parse::<T>() {
        Ok(value) => {
            assert_eq!(value.to_string(), text, "{}", std::any::type_name::<T>());
            true
        }
        Err(malformed) => {
            let said = malformed.to_string();
            assert!(said.len() < 1_500 && !said.contains(char::is_control), "{said:?}");
            false
        }
    }
}

#[test]
fn a_name_that_is_read_is_printed_as_it_was_written() {
    let corpus = [
        "acme",
        "anna.berg_2-x",
        "7",
        "0801",
        "123456789012345",
        "00000000000000aa-00000001-0000000000000004",
        "ffffffffffffffff-ffffffff-ffffffffffffffff",
        "01a200f6ce8075398ad37daad079e459",
        "supervisor.limit_to_assigned_queues",
        "agent.create_custom_tags",
        "RESTRICTED",
        "SIGN_IN_AGENTS",
        "CONTACT_ADMIN",
        "CALL_QUEUE",
        "SESSION_STARTED",
        "ip:127.0.0.1",
    ];
    let readers: &[fn(&str) -> bool] = &[
        is::<OrganizationId>,
        is::<UserId>,
        is::<QueueId>,
        is::<SessionId>,
        is::<Extension>,
        is::<RequestId>,
        is::<Caller>,
        is::<Revision>,
        is::<Switch>,
        is::<UnassignedQueueSignIn>,
        is::<Permission>,
        is::<AuditAction>,
        is::<Role>,
        is::<QueueKind>,
    ];
    let mut inputs = Mutator::new(1, corpus);
    let mut read = vec![0; readers.len()];
    let tried = share(20);
    for _ in 0..tried {
        let text = inputs.text();
        let _shown = Shown(text.as_bytes());
        for (reader, read) in readers.iter().zip(&mut read) {
            *read += usize::from(reader(&text));
        }
    }
    // Only invalid inputs, or only valid ones, would prove little.
    assert!(read.iter().all(|read| *read > 0 && *read < tried), "{read:?}");
    println!("names: {tried} texts, each read in {} ways", readers.len());
}
