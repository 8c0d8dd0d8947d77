//! The token file: TOML with an entry for each caller. The server reads it, and `queuegate token` edits it and
//! preserves comments.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml_edit::{ArrayOfTables, Datetime, DocumentMut, Item, Table, value};

use super::{
    certificate::CertificateName,
    identity::Scope,
    secret::{Fingerprint, without_secrets},
};
use crate::domain::{
    ids::{CallerName, OrganizationId},
    time::Timestamp,
};

/// The key of the entries in TOML.
const TOKEN: &str = "token";

/// The first lines of a new file.
const HEADING: &str = "\
# The callers of this queuegate server, with an entry for each. `queuegate token new` adds an entry and prints its token
# once; this file contains only the SHA-256 of the token. The server reloads this file whenever it changes.

";

/// One caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The caller's name in the audit log.
    pub name: CallerName,
    /// The hash of the caller's token.
    pub sha256: Option<Fingerprint>,
    /// The subject alternative name (DNS name, URI, e-mail or IP address) of the caller's client certificate.
    pub certificate: Option<CertificateName>,
    /// The caller's scopes.
    pub scopes: BTreeSet<Scope>,
    /// The organizations that the caller may use. `None`: all.
    pub organizations: Option<BTreeSet<OrganizationId>>,
    /// The time at which the credentials expire. `None`: never.
    pub expires: Option<Timestamp>,
}

/// The errors of a token file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error("can't read the token file `{path}`: {problem}")]
    Unreadable {
        /// The file.
        path: String,
        /// The cause.
        problem: std::io::Error,
    },
    /// The file can't be written.
    #[error("can't write the token file `{path}`: {problem}")]
    Unwritable {
        /// The file.
        path: String,
        /// The cause.
        problem: std::io::Error,
    },
    /// The content is invalid.
    #[error("token file `{path}`: {problem}")]
    Faulty {
        /// The file.
        path: String,
        /// The problem and its remedy.
        problem: String,
    },
    /// The name is in use.
    #[error("token file `{path}` has a token `{name}` already; revoke it first, or choose another name")]
    Taken {
        /// The file.
        path: String,
        /// The name.
        name: CallerName,
    },
    /// The token doesn't exist.
    #[error("token file `{path}` has no token `{name}`; `queuegate token list` lists its tokens")]
    Unknown {
        /// The file.
        path: String,
        /// The name.
        name: CallerName,
    },
}

/// The file's format.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    token: Vec<WrittenEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntry {
    name: String,
    sha256: Option<String>,
    certificate: Option<String>,
    scopes: Vec<String>,
    organizations: Option<Vec<String>>,
    expires: Option<Datetime>,
}

/// The token file and its operations.
#[derive(Debug, Clone)]
pub struct TokenFile(PathBuf);

impl TokenFile {
    /// The file at this path, which may not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Read all callers.
    pub fn read(&self) -> Result<Vec<Entry>, Error> {
        let text = fs::read_to_string(&self.0);
        let text = text.map_err(|problem| Error::Unreadable { path: self.name(), problem })?;
        self.parse(&text)
    }

    /// Parse the file's text for a running server. An empty file is refused: it is still being written or was
    /// truncated, and must lock nobody out.
    pub(super) fn parse_whole(&self, text: &str) -> Result<Vec<Entry>, Error> {
        if text.trim().is_empty() {
            return Err(self.faulty("it is empty; to allow no callers, leave a comment in it"));
        }
        self.parse(text)
    }

    /// Add a caller. Creates a missing file, readable only by its owner.
    pub fn add(&self, entry: &Entry) -> Result<(), Error> {
        let lock = self.lock()?;
        let (heading, mut document) = match fs::read_to_string(&self.0) {
            Ok(text) => ("", self.document(&text)?),
            Err(error) if error.kind() == ErrorKind::NotFound => (HEADING, DocumentMut::new()),
            Err(problem) => return Err(Error::Unreadable { path: self.name(), problem }),
        };
        if self.parse(&document.to_string())?.iter().any(|other| other.name == entry.name) {
            return Err(Error::Taken { path: self.name(), name: entry.name.clone() });
        }
        let tokens = document.entry(TOKEN).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
        let tokens = tokens.as_array_of_tables_mut().ok_or_else(|| self.faulty("write each token as [[token]]"))?;
        tokens.push(table(entry));
        let written = self.replace(&format!("{heading}{document}"));
        drop(lock);
        written
    }

    /// Remove a caller.
    pub fn remove(&self, name: &CallerName) -> Result<(), Error> {
        let lock = self.lock()?;
        let text = fs::read_to_string(&self.0);
        let text = text.map_err(|problem| Error::Unreadable { path: self.name(), problem })?;
        self.parse(&text)?;
        let mut document = self.document(&text)?;
        let tokens = document.get_mut(TOKEN).and_then(Item::as_array_of_tables_mut);
        let is_named = |table: &Table| table.get("name").and_then(Item::as_str) == Some(name.as_str());
        let found = tokens.and_then(|tokens| {
            let index = tokens.iter().position(is_named)?;
            Some((index, tokens))
        });
        let (index, tokens) = found.ok_or_else(|| Error::Unknown { path: self.name(), name: name.clone() })?;
        let above = tokens.get(index).map(above).unwrap_or_default();
        tokens.remove(index);
        // Comments above the entry stay if an empty line separates them from it.
        let kept = above.rsplit_once("\n\n").map(|(kept, _)| format!("{kept}\n\n")).unwrap_or_default();
        match tokens.get_mut(index) {
            Some(next) => {
                let prefix = format!("{kept}{}", self::above(next).trim_start_matches('\n'));
                next.decor_mut().set_prefix(prefix);
            }
            None => {
                let trailing = format!("{kept}{}", document.trailing().as_str().unwrap_or_default());
                document.set_trailing(trailing);
            }
        }
        let text = document.to_string();
        // A server refuses an empty file.
        let written = self.replace(if text.trim().is_empty() { HEADING } else { &text });
        drop(lock);
        written
    }

    /// The folder of the file. A new text is written there and then renamed.
    fn folder(&self) -> &Path {
        self.0.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }

    fn faulty(&self, problem: &str) -> Error {
        Error::Faulty { path: self.name(), problem: without_secrets(problem) }
    }

    fn document(&self, text: &str) -> Result<DocumentMut, Error> {
        text.parse().map_err(|error: toml_edit::TomlError| {
            self.faulty(&format!("line {}: {}", line(text, error.span()), error.message()))
        })
    }

    /// Parse a text. Errors name the entry, and never contain a secret.
    pub fn parse(&self, text: &str) -> Result<Vec<Entry>, Error> {
        let written: Written = toml_edit::de::from_str(text)
            .map_err(|error| self.faulty(&format!("line {}: {}", line(text, error.span()), error.message())))?;
        let mut entries = Vec::new();
        let mut taken = BTreeMap::new();
        for (index, written) in written.token.into_iter().enumerate() {
            let of = format!("token {} (`{}`)", index + 1, written.name);
            let entry = entry(written).map_err(|problem| self.faulty(&format!("{of}: {problem}")))?;
            let keys = [
                Some(format!("name `{}`", entry.name)),
                entry.sha256.map(|sha256| format!("sha256 {sha256}")),
                entry.certificate.as_ref().map(|certificate| format!("certificate `{certificate}`")),
            ];
            for key in keys.into_iter().flatten() {
                if let Some(other) = taken.insert(key.clone(), index + 1) {
                    return Err(self.faulty(&format!("{of}: {key} is that of token {other} too")));
                }
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Serializes concurrent edits. Locks the folder, because the file itself is replaced.
    fn lock(&self) -> Result<File, Error> {
        let locked = File::open(self.folder()).and_then(|folder| folder.lock().map(|()| folder));
        locked.map_err(|problem| Error::Unwritable { path: self.name(), problem })
    }

    /// Replace the file atomically. It keeps its owner's and group's access.
    fn replace(&self, text: &str) -> Result<(), Error> {
        let folder = self.folder();
        let written = || {
            let mut new = tempfile::NamedTempFile::new_in(folder)?;
            new.write_all(text.as_bytes())?;
            if let Ok(old) = fs::metadata(&self.0) {
                use std::os::unix::fs::MetadataExt;
                new.as_file().set_permissions(old.permissions())?;
                std::os::unix::fs::chown(new.path(), Some(old.uid()), Some(old.gid()))?;
            }
            new.as_file().sync_all()?;
            new.persist(&self.0).map_err(|error| error.error)?;
            Ok(())
        };
        written().map_err(|problem| Error::Unwritable { path: self.name(), problem })
    }
}

fn entry(written: WrittenEntry) -> Result<Entry, String> {
    let WrittenEntry { name, sha256, certificate, scopes, organizations, expires } = written;
    let name = name.parse().map_err(|error| format!("name {error}"))?;
    let sha256 = sha256.map(|text| text.parse()).transpose().map_err(|error| format!("sha256 {error}"))?;
    if sha256.is_none() && certificate.as_ref().is_none_or(String::is_empty) {
        return Err("needs a sha256 (of a token) or a certificate (a subject alternative name)".to_owned());
    }
    let certificate = certificate.and_then(|name| name.parse().ok());
    let scopes = scopes.iter().map(|scope| scope.parse());
    let scopes: BTreeSet<Scope> = scopes.collect::<Result<_, _>>().map_err(|error| format!("scopes {error}"))?;
    if scopes.is_empty() {
        return Err(format!(
            "scopes must have at least one of {}",
            Scope::ALL.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ")
        ));
    }
    let organizations = organizations.map(|ids| ids.iter().map(|id| id.parse()).collect::<Result<BTreeSet<_>, _>>());
    let organizations = organizations.transpose().map_err(|error| format!("organizations {error}"))?;
    if organizations.as_ref().is_some_and(BTreeSet::is_empty) {
        return Err("organizations must name at least one, or be left out for all".to_owned());
    }
    let expires = expires.map(|time| {
        let instant = time.to_string().parse::<jiff::Timestamp>();
        instant.map(|instant| Timestamp::from_unix_ms(instant.as_millisecond()))
    });
    let expires =
        expires.transpose().map_err(|_| "expires must be a time with a zone, such as 2027-01-01T00:00:00Z")?;
    Ok(Entry { name, sha256, certificate, scopes, organizations, expires })
}

fn table(entry: &Entry) -> Table {
    let Entry { name, sha256, certificate, scopes, organizations, expires } = entry;
    let mut table = Table::new();
    table.insert("name", value(name.as_str()));
    if let Some(sha256) = sha256 {
        table.insert("sha256", value(sha256.to_string()));
    }
    if let Some(certificate) = certificate {
        table.insert("certificate", value(certificate.to_string()));
    }
    table.insert("scopes", value(scopes.iter().map(|scope| scope.as_str()).collect::<toml_edit::Array>()));
    if let Some(organizations) = organizations {
        let organizations: toml_edit::Array = organizations.iter().map(OrganizationId::as_str).collect();
        table.insert("organizations", value(organizations));
    }
    let expires = expires.and_then(|time| jiff::Timestamp::from_millisecond(time.unix_ms()).ok());
    if let Some(expires) = expires.and_then(|time| time.to_string().parse::<Datetime>().ok()) {
        table.insert("expires", value(expires));
    }
    table
}

/// The text between an entry and the previous one.
fn above(table: &Table) -> String {
    table.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default().to_owned()
}

/// The line of a position in a text, from 1.
fn line(text: &str, span: Option<std::ops::Range<usize>>) -> usize {
    let start = span.map_or(0, |span| span.start);
    text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn parse(text: &str) -> Result<Vec<Entry>, String> {
        TokenFile::new("tokens.toml").parse(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_names_callers_with_their_scopes_and_organizations() {
        let entries = parse(&format!(
            "[[token]]\nname = \"pbx\"\nsha256 = \"{SHA256}\"\nscopes = [\"check\", \"sign-in\"]\n\
             organizations = [\"acme\"]\nexpires = 2027-01-01T01:00:00+01:00\n\n\
             [[token]]\nname = \"dashboard\"\ncertificate = \"dash.example.com\"\nscopes = [\"admin\"]\n"
        ))
        .unwrap();
        let [pbx, dashboard] = entries.as_slice() else { panic!("{entries:?}") };
        assert_eq!(pbx.scopes, BTreeSet::from([Scope::Check, Scope::SignIn]));
        assert_eq!(pbx.organizations, Some(BTreeSet::from(["acme".parse().unwrap()])));
        assert_eq!(pbx.expires, Some(Timestamp::from_unix_ms(1_798_761_600_000)));
        assert!(pbx.sha256 == Some(Fingerprint::of(b"abc")) && pbx.certificate.is_none());
        assert_eq!(dashboard.certificate, "dash.example.com".parse().ok());
        assert!(dashboard.organizations.is_none() && dashboard.expires.is_none() && dashboard.sha256.is_none());
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_and_no_secret_repeated() {
        let with =
            |rest: &str| format!("[[token]]\nname = \"pbx\"\nsha256 = \"{SHA256}\"\nscopes = [\"check\"]\n{rest}");
        for (text, says) in [
            ("[[token]]\nname = 1".to_owned(), "line 2: "),
            ("[[token]\n".to_owned(), "line 1: "),
            ("[[tokens]]\n".to_owned(), "unknown field `tokens`"),
            (with("orgs = []\n"), "unknown field `orgs`"),
            (with("organizations = []\n"), "organizations must name at least one, or be left out for all"),
            (with("organizations = [\"A\"]\n"), "organizations must be 1 to 64"),
            (with("expires = 2027-01-01\n"), "expires must be a time with a zone"),
            (with("").replace("\"check\"", ""), "scopes must have at least one of check, sign-in"),
            (with("").replace("check", "fly"), "scopes must be check, sign-in"),
            (with("").replace("pbx", "P B X"), "name must be 1 to 64"),
            (with("").replace(SHA256, "qgt_secret"), "sha256 must be the SHA-256 of a token"),
            (
                "[[token]]\nname = \"a\"\nscopes = [\"check\"]\n".to_owned(),
                "needs a sha256 (of a token) or a certificate",
            ),
            ("[[token]]\nname = \"a\"\ncertificate=\"\"\nscopes = [\"check\"]\n".to_owned(), "needs a sha256"),
            (with(&with("")), "token 2 (`pbx`): name `pbx` is that of token 1 too"),
            (with(&with("").replace("pbx", "b")), &format!("sha256 {SHA256} is that of token 1 too")),
            ("[[token]]\nname = \"a\"\nscopes = \"qgt_secret\"\n".to_owned(), "line 3"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
            assert!(error.starts_with("token file `tokens.toml`: ") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_file_that_makes_no_sense_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::new(folder.path().join("tokens.toml"));
        let entry = Entry {
            name: "pbx".parse().unwrap(),
            sha256: Some(Fingerprint::of(b"abc")),
            certificate: None,
            scopes: BTreeSet::from([Scope::Check]),
            organizations: None,
            expires: None,
        };
        for text in [&b"nonsense"[..], b"# not UTF-8: \xff"] {
            fs::write(file.path(), text).unwrap();
            assert!(file.add(&entry).is_err() && file.remove(&entry.name).is_err());
            assert_eq!(fs::read(file.path()).unwrap(), text);
        }
    }

    #[test]
    fn who_edits_the_file_holds_its_folder() {
        for (path, folder) in [("tokens.toml", "."), ("a/tokens.toml", "a"), ("/a/b/tokens.toml", "/a/b")] {
            assert_eq!(TokenFile::new(path).folder(), Path::new(folder));
        }
        let folder = tempfile::tempdir().unwrap();
        let held = TokenFile::new(folder.path().join("tokens.toml")).lock().unwrap();
        let other = File::open(folder.path()).unwrap();
        assert!(matches!(other.try_lock(), Err(fs::TryLockError::WouldBlock)));
        drop(held);
        assert!(other.try_lock().is_ok());
    }

    #[test]
    fn editing_keeps_what_people_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::new(folder.path().join("tokens.toml"));
        let entry = |name: &str| Entry {
            name: name.parse().unwrap(),
            sha256: Some(Fingerprint::of(name.as_bytes())),
            certificate: None,
            scopes: BTreeSet::from([Scope::Check]),
            organizations: Some(BTreeSet::from(["acme".parse().unwrap()])),
            expires: Some(Timestamp::from_unix_ms(1_798_761_600_000)),
        };
        file.add(&entry("one")).unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        fs::write(file.path(), format!("{text}# a comment\n")).unwrap();
        file.add(&entry("two")).unwrap();
        assert!(matches!(file.add(&entry("two")), Err(Error::Taken { .. })));
        file.remove(&"one".parse().unwrap()).unwrap();
        assert!(matches!(file.remove(&"one".parse().unwrap()), Err(Error::Unknown { .. })));
        let [two] = &file.read().unwrap()[..] else { panic!() };
        assert_eq!((two.name.as_str(), two.expires), ("two", Some(Timestamp::from_unix_ms(1_798_761_600_000))));
        assert!(two.sha256 == Some(Fingerprint::of(b"two")) && two.organizations.is_some());
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(file.path()).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(file.path()).unwrap();
        assert!(text.starts_with(HEADING) && text.contains("# a comment"), "{text}");
        file.remove(&"two".parse().unwrap()).unwrap();
        assert!(file.read().unwrap().is_empty() && fs::read_to_string(file.path()).unwrap().starts_with(HEADING));
        assert!(matches!(TokenFile::new(folder.path().join("none")).read(), Err(Error::Unreadable { .. })));
    }
}
