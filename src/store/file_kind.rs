//! What kind of file a path leads to, found out without opening it: to open a device or a pipe may act on it, or wait for ever.

use std::{
    fs::FileType,
    os::unix::fs::FileTypeExt,
    path::Path,
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use super::error::{Error, unopenable};

/// How long a file system may take to say what a file is.
const PATIENCE: Duration = Duration::from_millis(800);

/// Refuses what isn't a regular file, and a path about which the file system doesn't answer. A path that leads nowhere yet
/// is not refused.
pub fn refuse_special(path: &Path) -> Result<(), Error> {
    let (sender, receiver) = sync_channel(1);
    let asked = path.to_owned();
    // It may wait for ever, and is then left behind.
    let asking = thread::Builder::new().name("stat".to_owned()).spawn(move || {
        // Nobody waits any more if this takes too long.
        let _ = sender.send(asked.metadata().map(|found| found.file_type()));
    });
    asking.map_err(|error| unopenable(path, &error))?;
    match receiver.recv_timeout(PATIENCE) {
        Ok(Ok(kind)) if !kind.is_file() => Err(unopenable(path, &format_args!("it is {}", name(kind)))),
        // What else is wrong shows when it is opened.
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
