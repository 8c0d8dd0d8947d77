//! What queuegate is still to be told: sign-outs that were taken while it couldn't be reached, and sign-ins whose callers
//! were told that they failed though nobody knows.
//!
//! They stand in a file, a line for each that is owed and one for each that is paid. INVARIANT: what is owed is on disk
//! before the caller is told; a line that was cut off by a crash was told to nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::{error, warn};

use super::places::Key;
use crate::domain::ids::{Extension, OrganizationId, QueueRef};

/// When a file is written anew with what is still owed, in bytes, and how many times that it must have then.
const LARGE: u64 = 64 * 1024;
const TIMES: u64 = 4;

/// How many sign-ins whose outcome nobody knows are told apart for one phone on one queue.
pub(super) const MOST_REQUESTS: usize = 16;

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be read or written.
    #[error("`{}`: {problem}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why not.
        problem: std::io::Error,
    },
    /// Another process uses it.
    #[error("`{}` is used by another process; give this one its own --journal", .0.display())]
    InUse(PathBuf),
    /// It is something else.
    #[error("`{}`: line {line} is not what this program writes", file.display())]
    NotOurs {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
    },
}

/// What is owed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Debt {
    pub organization: OrganizationId,
    pub user: Extension,
    pub queue: QueueRef,
    /// The names on the PBX.
    pub pbx_queue: String,
    pub interface: String,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum What {
    /// The caller signed out.
    SignOut,
    /// The caller was told that they aren't signed in, or is told nothing yet. One of these requests may have signed them in
    /// all the same.
    Undo { request_ids: Vec<String> },
}

impl What {
    /// For the log.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::SignOut => "a sign-out",
            Self::Undo { .. } => "the undoing of a sign-in that may have been carried out",
        }
    }
}

impl Debt {
    pub(super) fn key(&self) -> Key {
        Key::new(&self.pbx_queue, &self.interface)
    }
}

#[derive(Serialize, Deserialize)]
enum Entry {
    Owed(Debt),
    Paid { pbx_queue: String, interface: String },
}

/// All that is owed, at most one thing for each phone on each queue: the last.
#[derive(Debug, Clone)]
pub(super) struct Debts {
    book: Arc<Mutex<Book>>,
    news: Arc<Notify>,
}

#[derive(Debug)]
struct Book {
    path: PathBuf,
    file: File,
    owed: BTreeMap<Key, Debt>,
    /// For whom something is noted that need not outlive more than this process.
    noted: BTreeSet<Key>,
    /// How large the file is, and how large it was when it was last written anew, in bytes.
    length: u64,
    least: u64,
    /// Whether the file ends with a part of an entry, which could not be cut off yet.
    is_torn: bool,
}

/// What entries are appended to.
trait Log {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()>;
    fn cut(&mut self, length: u64) -> std::io::Result<()>;
}

impl Log for File {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.write_all(bytes)
    }

    fn cut(&mut self, length: u64) -> std::io::Result<()> {
        self.set_len(length)
    }
}

/// Appends an entry to a log of this length, whole or not at all. INVARIANT: nothing is written behind a part of an entry, such
/// as a full disk leaves, because the two would be one line that makes no sense.
fn append_whole(log: &mut impl Log, length: &mut u64, is_torn: &mut bool, entry: &[u8]) -> std::io::Result<()> {
    if *is_torn {
        log.cut(*length)?;
        *is_torn = false;
    }
    if let Err(error) = log.append(entry) {
        *is_torn = log.cut(*length).is_err();
        return Err(error);
    }
    *length += u64::try_from(entry.len()).unwrap_or(0);
    Ok(())
}

/// What an entry has to outlive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outlives {
    /// The machine's failure: it is synced.
    Machine,
    /// This process.
    Process,
}

impl Debts {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let io = |problem| Error::Io { file: path.to_owned(), problem };
        let mut file = locked_file(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(io)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut owed = BTreeMap::new();
        for (index, line) in text.get(..whole).unwrap_or_default().lines().enumerate() {
            let entry = serde_json::from_str(line);
            match entry.map_err(|_| Error::NotOurs { file: path.to_owned(), line: index + 1 })? {
                Entry::Owed(debt) => drop(owed.insert(debt.key(), debt)),
                Entry::Paid { pbx_queue, interface } => drop(owed.remove(&Key::new(&pbx_queue, &interface))),
            }
        }
        // A new file's name is to outlive the machine's failure too.
        sync_folder_of(path).map_err(io)?;
        if whole < text.len() {
            // Cut off by a crash.
            file.set_len(u64::try_from(whole).unwrap_or(0)).map_err(io)?;
        }
        let length = u64::try_from(whole).unwrap_or(0);
        let book = Book { path: path.to_owned(), file, owed, noted: BTreeSet::new(), length, least: 0, is_torn: false };
        Ok(Self { book: Arc::new(Mutex::new(book)), news: Arc::default() })
    }

    /// Notes a debt, instead of what was owed for the same phone and queue before.
    pub(super) async fn owe(&self, debt: Debt) {
        self.write(move |book| {
            book.append(&Entry::Owed(debt.clone()), Outlives::Machine);
            book.noted.remove(&debt.key());
            book.owed.insert(debt.key(), debt);
            book.shrink();
        })
        .await;
        self.news.notify_one();
    }

    /// Notes what will be owed if this process is killed before it is settled. It costs no sync.
    pub(super) async fn note(&self, debt: Debt) {
        self.write(move |book| {
            book.append(&Entry::Owed(debt.clone()), Outlives::Process);
            book.noted.insert(debt.key());
            book.owed.insert(debt.key(), debt);
        })
        .await;
    }

    /// Crosses out what is owed for a phone and a queue, if anything is.
    pub(super) async fn settle(&self, key: &Key) {
        if self.of(key).is_none() {
            return;
        }
        let key = key.clone();
        self.write(move |book| {
            if let Some(debt) = book.owed.remove(&key) {
                let outlives = if book.noted.remove(&key) { Outlives::Process } else { Outlives::Machine };
                book.append(&Entry::Paid { pbx_queue: debt.pbx_queue, interface: debt.interface }, outlives);
                book.shrink();
            }
        })
        .await;
    }

    /// What is owed for a phone and a queue.
    pub(super) fn of(&self, key: &Key) -> Option<Debt> {
        self.book().owed.get(key).cloned()
    }

    /// Everything that is owed.
    pub(super) fn all(&self) -> Vec<Debt> {
        self.book().owed.values().cloned().collect()
    }

    /// Waits for another debt.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    async fn write(&self, change: impl FnOnce(&mut Book) + Send + 'static) {
        let book = Arc::clone(&self.book);
        let written = tokio::task::spawn_blocking(move || change(&mut locked(&book))).await;
        if let Err(error) = written {
            error!(%error, "the journal could not be written");
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        locked(&self.book)
    }
}

fn locked(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Book {
    /// A failure leaves the debt in memory, where it counts until this process ends.
    fn append(&mut self, entry: &Entry, outlives: Outlives) {
        let written = serde_json::to_string(entry).map_err(std::io::Error::other).and_then(|line| {
            let Self { file, length, is_torn, .. } = self;
            append_whole(file, length, is_torn, format!("{line}\n").as_bytes())?;
            match outlives {
                Outlives::Machine => self.file.sync_data(),
                Outlives::Process => Ok(()),
            }
        });
        if let Err(error) = written {
            error!(file = %self.path.display(), %error, "the journal could not be written; a restart would forget what is owed");
        }
    }

    /// INVARIANT: the file is at most a few times as large as what is owed, however long something stays owed.
    fn shrink(&mut self) {
        if self.length <= LARGE || self.length <= self.least.saturating_mul(TIMES) {
            return;
        }
        if let Err(error) = self.write_anew() {
            // It is tried again when it has grown.
            self.least = self.length;
            warn!(file = %self.path.display(), %error, "the journal could not be shortened");
        }
    }

    /// Writes what is owed into another file, which then takes this one's place. A crash leaves one or the other.
    fn write_anew(&mut self) -> Result<(), Error> {
        let io = |file: &Path, problem| Error::Io { file: file.to_owned(), problem };
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let new = PathBuf::from(name);
        let mut text = String::new();
        for debt in self.owed.values() {
            let line = serde_json::to_string(&Entry::Owed(debt.clone()));
            text.push_str(&line.map_err(|error| io(&new, error.into()))?);
            text.push('\n');
        }
        // What a crash left there was never in force.
        let mut file = locked_file(&new)?;
        file.set_len(0).map_err(|problem| io(&new, problem))?;
        file.write_all(text.as_bytes()).map_err(|problem| io(&new, problem))?;
        file.sync_all().map_err(|problem| io(&new, problem))?;
        std::fs::rename(&new, &self.path).map_err(|problem| io(&self.path, problem))?;
        self.file = file;
        self.is_torn = false;
        self.length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.least = self.length;
        sync_folder_of(&self.path).map_err(|problem| io(&self.path, problem))
    }
}

/// Opens a file that no other process uses, or makes it.
fn locked_file(path: &Path) -> Result<File, Error> {
    let io = |problem| Error::Io { file: path.to_owned(), problem };
    let file = File::options().read(true).append(true).create(true).open(path).map_err(io)?;
    file.try_lock().map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => Error::InUse(path.to_owned()),
        std::fs::TryLockError::Error(problem) => io(problem),
    })?;
    Ok(file)
}

/// Makes sure that a file's name outlives the machine's failure.
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so much room.
    struct Disk {
        bytes: Vec<u8>,
        room: usize,
        can_cut: bool,
    }

    impl Log for Disk {
        fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
            let fits = bytes.len().min(self.room - self.bytes.len());
            self.bytes.extend_from_slice(&bytes[..fits]);
            if fits < bytes.len() { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }

        fn cut(&mut self, length: u64) -> std::io::Result<()> {
            if !self.can_cut {
                return Err(std::io::ErrorKind::Other.into());
            }
            self.bytes.truncate(usize::try_from(length).unwrap());
            Ok(())
        }
    }

    #[test]
    fn a_part_of_an_entry_that_a_full_disk_leaves_never_joins_the_next_one() {
        for can_cut in [true, false] {
            let mut disk = Disk { bytes: Vec::new(), room: 8, can_cut };
            let (mut length, mut is_torn) = (0, false);
            let mut append =
                |disk: &mut Disk, entry: &[u8]| append_whole(disk, &mut length, &mut is_torn, entry).is_ok();
            assert!(append(&mut disk, b"first\n"));
            assert!(!append(&mut disk, b"second\n"));
            // There is room again.
            disk.room = 100;
            assert_eq!(
                append(&mut disk, b"third\n"),
                can_cut,
                "nothing is written behind a part that can't be cut off"
            );
            disk.can_cut = true;
            assert!(append(&mut disk, b"fourth\n"));
            let text = String::from_utf8(disk.bytes).unwrap();
            assert_eq!(text, if can_cut { "first\nthird\nfourth\n" } else { "first\nfourth\n" });
        }
    }

    fn debt(interface: &str, what: What) -> Debt {
        Debt {
            organization: "acme".parse().unwrap(),
            user: "101".parse().unwrap(),
            queue: QueueRef::Extension("801".parse().unwrap()),
            pbx_queue: "801".to_owned(),
            interface: interface.to_owned(),
            what,
        }
    }

    #[tokio::test]
    async fn what_is_owed_outlives_a_restart_and_a_crash_in_the_middle_of_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let undo = What::Undo { request_ids: vec!["r1".to_owned()] };
        let debts = Debts::open(&path).unwrap();
        for interface in ["PJSIP/101", "PJSIP/102", "PJSIP/103"] {
            debts.owe(debt(interface, What::SignOut)).await;
        }
        debts.owe(debt("PJSIP/103", undo.clone())).await;
        debts.settle(&Key::new("801", "PJSIP/102")).await;
        debts.settle(&Key::new("801", "PJSIP/999")).await;
        debts.note(debt("PJSIP/105", undo.clone())).await;
        debts.settle(&Key::new("801", "PJSIP/105")).await;
        let expected = [debt("PJSIP/101", What::SignOut), debt("PJSIP/103", undo)];
        assert_eq!(debts.all(), expected);
        assert!(matches!(Debts::open(&path), Err(Error::InUse(_))));
        drop(debts);

        let text = std::fs::read_to_string(&path).unwrap();
        for end in 0..text.len() {
            std::fs::write(&path, &text[..end]).unwrap();
            Debts::open(&path).unwrap();
        }
        std::fs::write(&path, format!("{text}{{\"Owed\":")).unwrap();
        let debts = Debts::open(&path).unwrap();
        assert_eq!(debts.all(), expected);
        debts.owe(debt("PJSIP/104", What::SignOut)).await;
        drop(debts);
        assert_eq!(Debts::open(&path).unwrap().all().len(), 3);
    }

    #[tokio::test]
    async fn a_file_that_is_something_else_is_refused_and_a_large_one_is_shortened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        std::fs::write(&path, "hello\n").unwrap();
        assert!(matches!(Debts::open(&path), Err(Error::NotOurs { line: 1, .. })));
        std::fs::write(&path, "").unwrap();
        let debts = Debts::open(&path).unwrap();
        // Something stays owed all the while, as it does when one organization's queuegate is down for days.
        debts.owe(debt("PJSIP/101", What::SignOut)).await;
        let mut most = 0;
        for _ in 0..3_000 {
            debts.note(debt("PJSIP/102", What::Undo { request_ids: vec!["r1".to_owned()] })).await;
            debts.settle(&Key::new("801", "PJSIP/102")).await;
            most = most.max(std::fs::metadata(&path).unwrap().len());
        }
        assert!((LARGE / 2..LARGE + 1_000).contains(&most), "{most}");
        assert!(matches!(Debts::open(&path), Err(Error::InUse(_))), "it is still this one's");
        drop(debts);
        assert_eq!(Debts::open(&path).unwrap().all(), [debt("PJSIP/101", What::SignOut)]);
    }
}
