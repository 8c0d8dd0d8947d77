//! The journal as calls and the replay share it.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use tracing::error;

use super::{
    entry::JournalEntry,
    error::Error,
    file::{Durability, JournalFile},
};
use crate::agi::key_locks::MemberKey;

/// The pending operations.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    file: Arc<Mutex<JournalFile>>,
    added: Arc<Notify>,
}

impl Journal {
    /// Open the file, or create it.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { file: Arc::new(Mutex::new(JournalFile::open(path)?)), added: Arc::default() })
    }

    /// Add a pending operation, and sync it. It replaces an earlier one of the same member.
    pub(crate) async fn add(&self, entry: JournalEntry) {
        self.write(move |file| file.add(entry, Durability::Synced)).await;
        self.added.notify_one();
    }

    /// Add an operation that becomes pending if this process is killed before it removes the operation. It isn't
    /// synced.
    pub(crate) async fn add_unsynced(&self, entry: JournalEntry) {
        self.write(move |file| file.add(entry, Durability::Unsynced)).await;
    }

    /// Remove the pending operation of a member, if it has one.
    pub(crate) async fn remove(&self, key: &MemberKey) {
        if self.get(key).is_none() {
            return;
        }
        let key = key.clone();
        self.write(move |file| file.remove(&key)).await;
    }

    /// Return the pending operation of a member, or `None`.
    pub(crate) fn get(&self, key: &MemberKey) -> Option<JournalEntry> {
        locked(&self.file).entries.get(key).cloned()
    }

    /// Return all pending operations.
    pub(crate) fn entries(&self) -> Vec<JournalEntry> {
        locked(&self.file).entries.values().cloned().collect()
    }

    /// Wait until an operation is added.
    pub(crate) async fn added(&self) {
        self.added.notified().await;
    }

    async fn write(&self, change: impl FnOnce(&mut JournalFile) + Send + 'static) {
        let file = Arc::clone(&self.file);
        let written = tokio::task::spawn_blocking(move || change(&mut locked(&file))).await;
        if let Err(error) = written {
            error!(%error, "the journal can't be written");
        }
    }
}

fn locked(file: &Mutex<JournalFile>) -> MutexGuard<'_, JournalFile> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agi::journal::{PendingAction, file::COMPACT_ABOVE_BYTES},
        domain::ids::QueueRef,
    };

    fn entry(interface: &str, action: PendingAction) -> JournalEntry {
        JournalEntry {
            organization: "acme".parse().unwrap(),
            user: "101".parse().unwrap(),
            queue: QueueRef::Extension("801".parse().unwrap()),
            pbx_queue: "801".to_owned(),
            interface: interface.to_owned(),
            action,
        }
    }

    fn undo() -> PendingAction {
        PendingAction::UndoSignIn { request_ids: vec!["r1".to_owned()] }
    }

    #[tokio::test]
    async fn pending_operations_survive_a_restart_and_a_crash_within_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = Journal::open(&path).unwrap();
        for interface in ["PJSIP/101", "PJSIP/102", "PJSIP/103"] {
            journal.add(entry(interface, PendingAction::SignOut)).await;
        }
        journal.add(entry("PJSIP/103", undo())).await;
        journal.remove(&MemberKey::new("801", "PJSIP/102")).await;
        journal.remove(&MemberKey::new("801", "PJSIP/999")).await;
        journal.add_unsynced(entry("PJSIP/105", undo())).await;
        journal.remove(&MemberKey::new("801", "PJSIP/105")).await;
        let expected = [entry("PJSIP/101", PendingAction::SignOut), entry("PJSIP/103", undo())];
        assert_eq!(journal.entries(), expected);
        assert!(matches!(Journal::open(&path), Err(Error::InUse(_))));
        drop(journal);

        let text = std::fs::read_to_string(&path).unwrap();
        for end in 0..text.len() {
            std::fs::write(&path, &text[..end]).unwrap();
            Journal::open(&path).unwrap();
        }
        std::fs::write(&path, format!("{text}{{\"Owed\":")).unwrap();
        let journal = Journal::open(&path).unwrap();
        assert_eq!(journal.entries(), expected);
        journal.add(entry("PJSIP/104", PendingAction::SignOut)).await;
        drop(journal);
        assert_eq!(Journal::open(&path).unwrap().entries().len(), 3);
    }

    /// An upgrade keeps the pending operations.
    #[test]
    fn a_journal_of_an_earlier_version_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let key = r#""queue":{"Extension":"801"},"pbx_queue":"801""#;
        let sign_out = format!(
            r#"{{"Owed":{{"organization":"acme","user":"101",{key},"interface":"PJSIP/101","what":"SignOut"}}}}"#
        );
        let undo_sign_in = format!(
            r#"{{"Owed":{{"organization":"acme","user":"101",{key},"interface":"PJSIP/103","what":{{"Undo":{{"request_ids":["r1"]}}}}}}}}"#
        );
        let done = r#"{"Paid":{"pbx_queue":"801","interface":"PJSIP/101"}}"#;
        std::fs::write(&path, format!("{sign_out}\n{undo_sign_in}\n{done}\n")).unwrap();
        assert_eq!(Journal::open(&path).unwrap().entries(), [entry("PJSIP/103", undo())]);
    }

    #[tokio::test]
    async fn another_file_is_refused_and_a_large_one_is_compacted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        std::fs::write(&path, "hello\n").unwrap();
        assert!(matches!(Journal::open(&path), Err(Error::NotOurs { line: 1, .. })));
        std::fs::write(&path, "").unwrap();
        let journal = Journal::open(&path).unwrap();
        // One operation stays pending, as when the queuegate of one organization is down for days.
        journal.add(entry("PJSIP/101", PendingAction::SignOut)).await;
        let mut largest = 0;
        for _ in 0..3_000 {
            journal.add_unsynced(entry("PJSIP/102", undo())).await;
            journal.remove(&MemberKey::new("801", "PJSIP/102")).await;
            largest = largest.max(std::fs::metadata(&path).unwrap().len());
        }
        assert!((COMPACT_ABOVE_BYTES / 2..COMPACT_ABOVE_BYTES + 1_000).contains(&largest), "{largest}");
        assert!(matches!(Journal::open(&path), Err(Error::InUse(_))), "the journal is still locked");
        drop(journal);
        assert_eq!(Journal::open(&path).unwrap().entries(), [entry("PJSIP/101", PendingAction::SignOut)]);
    }
}
