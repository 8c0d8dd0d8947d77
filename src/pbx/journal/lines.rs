//! The text file that earlier versions kept: a line for each operation that became pending, and one for each that was
//! done.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::entry::JournalEntry;
use crate::pbx::key_locks::MemberKey;

/// A line.
#[derive(Deserialize)]
enum Record {
    /// The operation is pending. It replaces an earlier one of the same member.
    #[serde(rename = "Owed")]
    Pending(JournalEntry),
    /// The member has no pending operation any more.
    #[serde(rename = "Paid")]
    Done { pbx_queue: String, interface: String },
}

/// Return the pending operations of a file, or `None` if it isn't a journal. A crash may have cut off the last line.
pub(super) fn read(text: &[u8]) -> Option<BTreeMap<MemberKey, JournalEntry>> {
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut pending = BTreeMap::new();
    for line in std::str::from_utf8(text.get(..end)?).ok()?.lines() {
        match serde_json::from_str(line).ok()? {
            Record::Pending(entry) => drop(pending.insert(entry.key(), entry)),
            Record::Done { pbx_queue, interface } => drop(pending.remove(&MemberKey::new(&pbx_queue, &interface))),
        }
    }
    // A file without a whole line could be any text.
    (end > 0 || text.starts_with(b"{")).then_some(pending)
}
