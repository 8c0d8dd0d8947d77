//! The files of Asterisk's configuration folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    reader::{Files, Found},
    wildcards::{alternatives, fits, has_wildcards},
};

/// A folder. The names of its files are relative to it.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Return the folder of a file.
    pub fn of(file: &Path) -> Self {
        Self(file.parent().map(Path::to_owned).unwrap_or_default())
    }

    fn paths(&self, pattern: &str) -> Vec<PathBuf> {
        let mut paths = vec![if pattern.starts_with('/') { PathBuf::from("/") } else { self.0.clone() }];
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            if has_wildcards(part) {
                paths = paths.iter().flat_map(|path| fitting(path, part)).collect();
            } else {
                paths.iter_mut().for_each(|path| path.push(part));
            }
        }
        paths
    }
}

impl Files for Folder {
    fn matching(&self, pattern: &str) -> Result<Vec<Found>, String> {
        let mut found = Vec::new();
        for path in alternatives(pattern).iter().flat_map(|pattern| self.paths(pattern)) {
            // Asterisk reads regular files only.
            if !path.is_file() {
                continue;
            }
            let bytes = fs::read(&path).map_err(|error| format!("can't read `{}`: {error}", path.display()))?;
            let name = path.strip_prefix(&self.0).unwrap_or(&path);
            found.push(Found { name: name.to_string_lossy().into_owned(), bytes });
        }
        Ok(found)
    }
}

/// Return the entries of a folder whose names fit a pattern, in order.
fn fitting(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let folder_read = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let names = |entries: fs::ReadDir| entries.map(|entry| entry.map(|entry| entry.file_name())).collect();
    let names: io::Result<Vec<_>> = fs::read_dir(folder_read).and_then(names);
    let mut names = names.unwrap_or_default();
    names.retain(|name| name.to_str().is_some_and(|name| fits(pattern, name)));
    names.sort();
    names.iter().map(|name| folder.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_patterns_in_order() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("queues.d/folder.conf")).unwrap();
        for name in ["queues.d/b.conf", "queues.d/a.conf", "queues.d/.c.conf", "x.txt", "y.txt"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let files = Folder::of(&folder.path().join("queues.conf"));
        let names = |pattern: &str| -> Vec<String> {
            files.matching(pattern).unwrap().into_iter().map(|found| found.name).collect()
        };
        assert_eq!(names("queues.d/*.conf"), ["queues.d/a.conf", "queues.d/b.conf"]);
        assert_eq!(names("*/[b-z].conf"), ["queues.d/b.conf"]);
        assert_eq!(names("{y,x}.txt"), ["y.txt", "x.txt"]);
        assert_eq!(names(folder.path().join("?.txt").to_str().unwrap()), ["x.txt", "y.txt"]);
        for pattern in ["missing", "missing/*", "queues.d", "z*"] {
            assert!(names(pattern).is_empty(), "{pattern}");
        }
    }
}
