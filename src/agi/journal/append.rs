//! Appends whole lines to a file, even if the disk is full.

use std::{fs::File, io::Write};

/// A file that lines are appended to.
pub(super) trait Append {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()>;
    fn truncate(&mut self, length: u64) -> std::io::Result<()>;
}

impl Append for File {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.write_all(bytes)
    }

    fn truncate(&mut self, length: u64) -> std::io::Result<()> {
        self.set_len(length)
    }
}

/// The length of a file, and whether its last line is whole.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Length {
    /// The length of the whole lines, in bytes.
    pub bytes: u64,
    /// Whether the file ends with a part of a line that could not be truncated yet.
    pub is_torn: bool,
}

impl Length {
    /// Return the length of a file with whole lines only.
    pub(super) fn of(text: &str) -> Self {
        Self { bytes: u64::try_from(text.len()).unwrap_or(u64::MAX), is_torn: false }
    }
}

/// Append a line, or leave the file as it was.
///
/// INVARIANT: nothing is appended to a part of a line, such as a full disk leaves. The two would be one malformed line.
pub(super) fn append_line(file: &mut impl Append, length: &mut Length, line: &[u8]) -> std::io::Result<()> {
    if length.is_torn {
        file.truncate(length.bytes)?;
        length.is_torn = false;
    }
    if let Err(error) = file.append(line) {
        length.is_torn = file.truncate(length.bytes).is_err();
        return Err(error);
    }
    length.bytes += u64::try_from(line.len()).unwrap_or(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with limited space.
    struct Disk {
        bytes: Vec<u8>,
        space: usize,
        can_truncate: bool,
    }

    impl Append for Disk {
        fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
            let fits = bytes.len().min(self.space - self.bytes.len());
            self.bytes.extend_from_slice(&bytes[..fits]);
            if fits < bytes.len() { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }

        fn truncate(&mut self, length: u64) -> std::io::Result<()> {
            if !self.can_truncate {
                return Err(std::io::ErrorKind::Other.into());
            }
            self.bytes.truncate(usize::try_from(length).unwrap());
            Ok(())
        }
    }

    #[test]
    fn a_part_of_a_line_that_a_full_disk_leaves_never_joins_the_next_line() {
        for can_truncate in [true, false] {
            let mut disk = Disk { bytes: Vec::new(), space: 8, can_truncate };
            let mut length = Length::default();
            let mut append = |disk: &mut Disk, line: &[u8]| append_line(disk, &mut length, line).is_ok();
            assert!(append(&mut disk, b"first\n"));
            assert!(!append(&mut disk, b"second\n"));
            // There is space again.
            disk.space = 100;
            assert_eq!(
                append(&mut disk, b"third\n"),
                can_truncate,
                "nothing is appended to a part of a line that can't be truncated"
            );
            disk.can_truncate = true;
            assert!(append(&mut disk, b"fourth\n"));
            let text = String::from_utf8(disk.bytes).unwrap();
            assert_eq!(text, if can_truncate { "first\nthird\nfourth\n" } else { "first\nfourth\n" });
        }
    }
}
