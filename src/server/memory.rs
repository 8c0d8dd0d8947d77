//! How large the pages of memory are.
//!
//! A decision about one of a million users waits for memory that no cache holds, and as long again for the place of its page,
//! unless pages are huge and few. But a page is held whole, and a server with little in it would hold half as much again.
//! So a program begins with small ones, and uses huge ones if there is much to load.

use std::{fs, path::Path};

/// From how large a database on, in bytes: that of a few thousand users.
const MUCH: u64 = 4 << 20;

/// Has this process use small pages until there is much to load.
pub fn begin_with_small_pages() {
    use_huge_pages(false);
}

/// Has this process use huge pages, if the system has them, or not: as fits what is to be loaded.
pub(super) fn fit_pages_to(database: &Path) {
    use_huge_pages(fs::metadata(database).is_ok_and(|metadata| metadata.len() >= MUCH));
}

#[cfg(target_os = "linux")]
fn use_huge_pages(wanted: bool) {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(!wanted) {
        tracing::debug!(%error, "the size of pages can't be chosen");
    }
}

#[cfg(not(target_os = "linux"))]
fn use_huge_pages(_wanted: bool) {}
