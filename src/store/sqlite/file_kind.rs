//! The kind of a file, determined without opening it: opening a device or a pipe may have an effect or block forever.

use std::{
    fs::FileType,
    os::unix::fs::FileTypeExt,
    path::Path,
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use super::error::unopenable;
use crate::store::error::Error;

/// The time limit for the file system's answer.
const PATIENCE: Duration = Duration::from_millis(800);

/// Refuse a path to anything except a regular file, and a path about which the file system doesn't answer. A path
/// without a file is not refused.
pub fn refuse_special(path: &Path) -> Result<(), Error> {
    let (sender, receiver) = sync_channel(1);
    let asked = path.to_owned();
    // The thread may block forever, and is then abandoned.
    let asking = thread::Builder::new().name("stat".to_owned()).spawn(move || {
        // After the time limit, the receiver is gone.
        let _ = sender.send(asked.metadata().map(|found| found.file_type()));
    });
    asking.map_err(|error| unopenable(path, &error))?;
    match receiver.recv_timeout(PATIENCE) {
        Ok(Ok(kind)) if !kind.is_file() => Err(unopenable(path, &format_args!("it is {}", name(kind)))),
        // Opening the file reports other errors.
        Ok(_) => Ok(()),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            Err(unopenable(path, &"the file system doesn't answer; check the mount, or give another --database"))
        }
    }
}

fn name(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a folder; name a file in it"
    } else if kind.is_fifo() {
        "a named pipe; name a file"
    } else if kind.is_socket() {
        "a socket; name a file"
    } else {
        "a device; name a file"
    }
}
