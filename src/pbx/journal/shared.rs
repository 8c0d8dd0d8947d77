//! The journal as calls and the replay share it.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use tracing::error;

use super::{
    database::{Database, Durability},
    entry::JournalEntry,
    error::Error,
};
use crate::pbx::key_locks::MemberKey;

/// The pending operations.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    database: Arc<Mutex<Database>>,
    added: Arc<Notify>,
}

impl Journal {
    /// Open the file, or create it.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { database: Arc::new(Mutex::new(Database::open(path)?)), added: Arc::default() })
    }

    /// Add a pending operation, and sync it. It replaces an earlier one of the same member.
    pub(crate) async fn add(&self, entry: JournalEntry) {
        self.write(move |database| database.add(entry, Durability::Synced)).await;
        self.added.notify_one();
    }

    /// Add an operation that becomes pending if this process is killed before it removes the operation. It isn't
    /// synced.
    pub(crate) async fn add_unsynced(&self, entry: JournalEntry) {
        self.write(move |database| database.add(entry, Durability::Unsynced)).await;
    }

    /// Remove the pending operation of a member, if it has one.
    pub(crate) async fn remove(&self, key: &MemberKey) {
        if self.get(key).is_none() {
            return;
        }
        let key = key.clone();
        self.write(move |database| database.remove(&key)).await;
    }

    /// Return the pending operation of a member, or `None`.
    pub(crate) fn get(&self, key: &MemberKey) -> Option<JournalEntry> {
        locked(&self.database).entries.get(key).cloned()
    }

    /// Return all pending operations.
    pub(crate) fn entries(&self) -> Vec<JournalEntry> {
        locked(&self.database).entries.values().cloned().collect()
    }

    /// Wait until an operation is added.
    pub(crate) async fn added(&self) {
        self.added.notified().await;
    }

    async fn write(&self, change: impl FnOnce(&mut Database) + Send + 'static) {
        let database = Arc::clone(&self.database);
        let written = tokio::task::spawn_blocking(move || change(&mut locked(&database))).await;
        if let Err(error) = written {
            error!(%error, "the journal can't be written");
        }
    }
}

fn locked(database: &Mutex<Database>) -> MutexGuard<'_, Database> {
    database.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::ids::QueueRef, pbx::journal::PendingAction};

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
    async fn pending_operations_survive_a_restart() {
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
        // A crash may have cut off the last line.
        let text = format!("{sign_out}\n{undo_sign_in}\n{done}\n{{\"Owed\":");
        std::fs::write(&path, &text).unwrap();
        assert_eq!(Journal::open(&path).unwrap().entries(), [entry("PJSIP/103", undo())]);
        assert_eq!(Journal::open(&path).unwrap().entries(), [entry("PJSIP/103", undo())], "now it is a database");
        for end in 0..text.len() {
            std::fs::write(&path, &text[..end]).unwrap();
            Journal::open(&path).unwrap();
        }
    }

    #[tokio::test]
    async fn another_file_is_refused_and_the_journal_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        for foreign in ["hello\n", "hello", "{}\n"] {
            std::fs::write(&path, foreign).unwrap();
            assert!(matches!(Journal::open(&path), Err(Error::NotOurs(_))), "{foreign}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), foreign);
        }
        std::fs::remove_file(&path).unwrap();
        rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE other (x)").unwrap();
        assert!(matches!(Journal::open(&path), Err(Error::NotOurs(_))));
        std::fs::write(&path, "").unwrap();
        let journal = Journal::open(&path).unwrap();
        // One operation stays pending, as when the queuegate of one organization is down for days.
        journal.add(entry("PJSIP/101", PendingAction::SignOut)).await;
        for _ in 0..3_000 {
            journal.add_unsynced(entry("PJSIP/102", undo())).await;
            journal.remove(&MemberKey::new("801", "PJSIP/102")).await;
        }
        let sizes = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
        let size: u64 = sizes.sum();
        assert!(size < 5 << 20, "{size} bytes");
        assert!(matches!(Journal::open(&path), Err(Error::InUse(_))));
        drop(journal);
        assert_eq!(Journal::open(&path).unwrap().entries(), [entry("PJSIP/101", PendingAction::SignOut)]);
    }
}
