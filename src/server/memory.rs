//! How large the pages of memory are.
//!
//! A decision about one of a million users waits for memory that no cache holds, and as long again for the place of its page,
//! unless pages are huge and few. But a page is held whole, and an empty server would hold a third more. So huge pages are
//! used if there is much to load.

use std::path::Path;

/// From how large a database on, in bytes: that of a few thousand users.
const MUCH: u64 = 4 << 20;

/// Has this process use huge pages if there is much to load and the system has them, and small ones otherwise. A program's
/// first memory is there before its first line, so for small pages the same process begins anew: call this first.
#[cfg(target_os = "linux")]
pub fn fit_pages_to(database: &Path) {
    use std::{env, fs, os::unix::process::CommandExt, process::Command};

    use rustix::thread::{disable_transparent_huge_pages, transparent_huge_pages_are_disabled};

    let is_much = fs::metadata(database).is_ok_and(|metadata| metadata.len() >= MUCH);
    if is_much || transparent_huge_pages_are_disabled().unwrap_or(true) {
        return;
    }
    let (Ok(()), Ok(program)) = (disable_transparent_huge_pages(true), env::current_exe()) else { return };
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_else(|| program.clone().into());
    // It comes back only if that can't be done. Then this one goes on, in a little more memory.
    let _ = Command::new(program).arg0(name).args(arguments).exec();
}

/// Has the system choose.
#[cfg(not(target_os = "linux"))]
pub fn fit_pages_to(_database: &Path) {}
