//! Authenticates callers: compares presented credentials with the token file.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::{
    certificate::CertificateName,
    file::{Entry, Error, TokenFile},
    identity::Identity,
    reading::Reserve,
    secret::Fingerprint,
};
use crate::domain::{ids::Caller, time::Timestamp};

/// The credentials that a caller presents.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'c> {
    /// The `authorization` header.
    pub authorization: Option<&'c [u8]>,
    /// The subject alternative names of the client certificate, which was verified with the connection.
    pub certificate_names: &'c [CertificateName],
}

/// The reasons why credentials are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There are no credentials.
    #[error("credentials are required: send the header `authorization: Bearer TOKEN`, or use a client certificate")]
    Missing,
    /// The header is malformed.
    #[error("the header `authorization` must be `Bearer` and a token")]
    Malformed,
    /// The credentials are unknown or revoked.
    #[error("these credentials are not known to this server; they may have been revoked")]
    Unknown,
    /// The credentials have expired.
    #[error("these credentials have expired; ask the server's operator for new ones")]
    Expired,
}

/// Authenticates callers by the token file.
#[derive(Debug)]
pub struct Authority {
    file: TokenFile,
    known: ArcSwap<Vec<Known>>,
    /// The text that was last read, to skip an unchanged file. Locked during a reload.
    last_read: Mutex<String>,
    reserve: Reserve,
}

/// The caller of a connection's last credentials, which avoids a new search for the same credentials.
#[derive(Debug)]
pub struct Recognized {
    /// `None`: recognized by the connection's certificate.
    fingerprint: Option<Fingerprint>,
    /// The entries that were searched; a changed file replaces them.
    known: Arc<Vec<Known>>,
    identity: Arc<Identity>,
}

#[derive(Debug)]
struct Known {
    entry: Entry,
    identity: Identity,
}

impl Authority {
    /// Open a token file, which must exist and be valid.
    pub fn open(file: TokenFile) -> Result<Self, Error> {
        let authority =
            Self { file, known: ArcSwap::default(), last_read: Mutex::default(), reserve: Reserve::default() };
        authority.refresh(Timestamp::from_unix_ms(0))?;
        Ok(authority)
    }

    /// The token file.
    pub fn file(&self) -> &TokenFile {
        &self.file
    }

    /// Reload the file if it changed, and ends expired credentials. A faulty file changes nothing. Returns the number
    /// of callers, or `None` if the file is unchanged. Reads the disk, so don't call it on an async thread.
    pub fn refresh(&self, now: Timestamp) -> Result<Option<usize>, Error> {
        let mut last_read = self.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        for known in self.known.load().iter().filter(|known| known.identity.is_expired(now)) {
            known.identity.end();
        }
        let path = self.file.path();
        let text = self
            .reserve
            .read_text(path)
            .map_err(|problem| Error::Unreadable { path: path.display().to_string(), problem })?;
        if *last_read == text {
            return Ok(None);
        }
        let entries = self.file.parse_whole(&text)?;
        let before = self.known.load_full();
        let after: Vec<Known> = entries.into_iter().map(|entry| self.known_as(entry, &before)).collect();
        let count = after.len();
        self.known.store(Arc::new(after));
        let after = self.known.load();
        let is_kept = |known: &Known| after.iter().any(|other| other.identity.is_same(&known.identity));
        for gone in before.iter().filter(|known| !is_kept(known)) {
            gone.identity.end();
        }
        *last_read = text;
        Ok(Some(count))
    }

    /// An entry with its identity. An unchanged entry keeps its identity.
    fn known_as(&self, entry: Entry, before: &[Known]) -> Known {
        let same = before.iter().find(|known| known.entry == entry);
        let identity = same.map(|known| known.identity.clone()).unwrap_or_else(|| {
            let Entry { name, sha256: _, certificate: _, scopes, organizations, expires } = entry.clone();
            Identity::new(Caller::named(&name), scopes, organizations, expires)
        });
        Known { entry, identity }
    }

    /// Return the caller with these credentials. A token takes precedence over a certificate: an invalid token is
    /// refused even with a valid certificate.
    pub fn authenticate(
        &self,
        presented: Presented<'_>,
        last: &mut Option<Recognized>,
        now: impl FnOnce() -> Timestamp,
    ) -> Result<Arc<Identity>, Refused> {
        let Presented { authorization, certificate_names } = presented;
        let fingerprint = authorization.map(bearer).transpose()?.map(Fingerprint::of);
        let known = self.known.load();
        let identity = match last {
            Some(last) if Arc::ptr_eq(&last.known, &known) && last.fingerprint == fingerprint => {
                Arc::clone(&last.identity)
            }
            Some(_) | None => {
                let found = match fingerprint {
                    Some(fingerprint) => with_token(&known, fingerprint),
                    None if certificate_names.is_empty() => return Err(Refused::Missing),
                    None => with_certificate(&known, certificate_names),
                };
                // A copy for the connection, so that processors don't share its reference count.
                let identity = Arc::new(found.ok_or(Refused::Unknown)?.identity.clone());
                let known = Arc::clone(&known);
                *last = Some(Recognized { fingerprint, known, identity: Arc::clone(&identity) });
                identity
            }
        };
        if identity.expires() && identity.is_expired(now()) { Err(Refused::Expired) } else { Ok(identity) }
    }
}

/// Return the entry of a token. Compares every entry, even after a match, so that the time reveals nothing.
fn with_token(known: &[Known], presented: Fingerprint) -> Option<&Known> {
    known.iter().fold(None, |found, known| if known.entry.sha256 == Some(presented) { Some(known) } else { found })
}

/// Return the entry whose certificate has one of these names.
fn with_certificate<'k>(known: &'k [Known], names: &[CertificateName]) -> Option<&'k Known> {
    known.iter().find(|known| {
        let name = known.entry.certificate.as_ref();
        name.is_some_and(|name| names.contains(name))
    })
}

/// Extracts the token from an `authorization` header.
fn bearer(authorization: &[u8]) -> Result<&[u8], Refused> {
    let (scheme, token) = authorization.split_at_checked(b"Bearer ".len()).ok_or(Refused::Malformed)?;
    let token = token.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty() { Ok(token) } else { Err(Refused::Malformed) }
}

#[cfg(test)]
mod tests {
    use std::{fs, task::Poll};

    use super::*;
    use crate::auth::Scope;

    fn now() -> Timestamp {
        Timestamp::from_unix_ms(0)
    }

    struct Fixture {
        _folder: tempfile::TempDir,
        authority: Authority,
    }

    /// `pbx` has the token `abc`, `old` the token `old`, which expires at 1 s, `dash` a certificate.
    fn text() -> String {
        let entry = |name: &str, rest: &str| format!("[[token]]\nname = \"{name}\"\n{rest}\n");
        let sha256 = |secret: &str| format!("sha256 = \"{}\"", Fingerprint::of(secret.as_bytes()));
        [
            entry("pbx", &format!("{}\nscopes = [\"check\"]\norganizations = [\"acme\"]", sha256("abc"))),
            entry("old", &format!("{}\nscopes = [\"check\"]\nexpires = 1970-01-01T00:00:01Z", sha256("old"))),
            entry("dash", "certificate = \"dash.example.com\"\nscopes = [\"admin\"]"),
        ]
        .concat()
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        fs::write(&path, text()).unwrap();
        Fixture { _folder: folder, authority: Authority::open(TokenFile::new(path)).unwrap() }
    }

    fn ask(
        authority: &Authority,
        authorization: Option<&str>,
        names: &[&str],
        now: Timestamp,
    ) -> Result<String, Refused> {
        let names: Vec<CertificateName> = names.iter().map(|name| name.parse().unwrap()).collect();
        let presented = Presented { authorization: authorization.map(str::as_bytes), certificate_names: &names };
        authority.authenticate(presented, &mut None, || now).map(|identity| identity.caller().to_string())
    }

    fn has_ended(identity: &Identity) -> bool {
        let mut ended = std::pin::pin!(identity.ended());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        ended.as_mut().poll(&mut context) == Poll::Ready(())
    }

    #[test]
    fn whoever_was_recognized_is_looked_at_anew_with_other_credentials_another_file_and_later() {
        let Fixture { _folder, authority } = fixture();
        let mut last = None;
        let mut ask = |token: &str, now: Timestamp| {
            let authorization = format!("Bearer {token}");
            let presented = Presented { authorization: Some(authorization.as_bytes()), certificate_names: &[] };
            authority.authenticate(presented, &mut last, || now).map(|identity| identity.caller().to_string())
        };
        for _ in 0..2 {
            assert_eq!(ask("abc", now()).unwrap(), "token:pbx");
        }
        assert_eq!(ask("abd", now()), Err(Refused::Unknown));
        assert_eq!(ask("abc", now()).unwrap(), "token:pbx");
        assert_eq!(ask("old", now()).unwrap(), "token:old");
        assert_eq!(ask("old", Timestamp::from_unix_ms(1_000)), Err(Refused::Expired));
        assert_eq!(ask("abc", now()).unwrap(), "token:pbx");
        fs::write(authority.file.path(), text().replace("name = \"pbx\"", "name = \"gone\"")).unwrap();
        authority.refresh(now()).unwrap();
        assert_eq!(ask("abc", now()).unwrap(), "token:gone", "the same token is another's now");
        fs::write(authority.file.path(), "# nobody").unwrap();
        authority.refresh(now()).unwrap();
        assert_eq!(ask("abc", now()), Err(Refused::Unknown), "revoked");
    }

    #[test]
    fn credentials_are_recognized_or_refused() {
        let Fixture { authority, _folder } = &fixture();
        for (authorization, names, expected) in [
            (Some("Bearer abc"), &[][..], Ok("token:pbx")),
            (Some("bearer  abc "), &[], Ok("token:pbx")),
            (Some("Bearer abcd"), &[], Err(Refused::Unknown)),
            (Some("Bearer ABC"), &[], Err(Refused::Unknown)),
            (Some("Bearer ab"), &[], Err(Refused::Unknown)),
            (Some("Bearer "), &[], Err(Refused::Malformed)),
            (Some("Bearer"), &[], Err(Refused::Malformed)),
            (Some(""), &[], Err(Refused::Malformed)),
            (Some("Basic abc"), &[], Err(Refused::Malformed)),
            (Some("abc"), &[], Err(Refused::Malformed)),
            (None, &[], Err(Refused::Missing)),
            (None, &["dash.example.com"], Ok("token:dash")),
            (None, &["other.example.com", "DASH.example.com"], Ok("token:dash")),
            (None, &["xdash.example.com", "pbx", "token:pbx"], Err(Refused::Unknown)),
            (Some("Bearer abc"), &["dash.example.com"], Ok("token:pbx")),
            (Some("Bearer wrong"), &["dash.example.com"], Err(Refused::Unknown)),
        ] {
            let found = ask(authority, authorization, names, now());
            assert_eq!(found, expected.map(str::to_owned), "{authorization:?} {names:?}");
        }
    }

    #[test]
    fn a_token_is_good_until_it_expires() {
        let Fixture { authority, _folder } = &fixture();
        let at = |ms| ask(authority, Some("Bearer old"), &[], Timestamp::from_unix_ms(ms));
        assert_eq!(at(999), Ok("token:old".to_owned()));
        assert_eq!(at(1_000), Err(Refused::Expired));
        let presented = Presented { authorization: Some(b"Bearer old"), certificate_names: &[] };
        let identity = authority.authenticate(presented, &mut None, now).unwrap();
        authority.refresh(Timestamp::from_unix_ms(999)).unwrap();
        assert!(!has_ended(&identity));
        authority.refresh(Timestamp::from_unix_ms(1_000)).unwrap();
        assert!(has_ended(&identity), "the caller's watches would end");
    }

    #[test]
    fn scopes_and_organizations_are_kept_to() {
        let Fixture { authority, _folder } = &fixture();
        let who = |authorization: Option<&'static [u8]>, names: &[CertificateName]| {
            authority.authenticate(Presented { authorization, certificate_names: names }, &mut None, now).unwrap()
        };
        let pbx = who(Some(b"Bearer abc"), &[]);
        let dash = who(None, &["dash.example.com".parse().unwrap()]);
        for &scope in Scope::ALL {
            assert_eq!(pbx.holds(scope), scope == Scope::Check, "{scope}");
            assert!(dash.holds(scope), "admin is all of them: {scope}");
        }
        assert!(pbx.may_use(&"acme".parse().unwrap()) && !pbx.may_use(&"other".parse().unwrap()) && !pbx.may_use_all());
        assert!(dash.may_use(&"other".parse().unwrap()) && dash.may_use_all());
    }

    #[test]
    fn a_changed_file_counts_at_once_and_a_faulty_one_changes_nothing() {
        let Fixture { authority, _folder } = &fixture();
        let presented = |secret| Presented { authorization: Some(secret), certificate_names: &[] };
        let pbx = authority.authenticate(presented(b"Bearer abc"), &mut None, now).unwrap();
        let old = authority.authenticate(presented(b"Bearer old"), &mut None, now).unwrap();
        let path = authority.file.path();
        assert_eq!(authority.refresh(now()).unwrap(), None, "it did not change");

        for faulty in ["[[token]]\nname = \"pbx\"\n", "nonsense", "", "\n \n"] {
            fs::write(path, faulty).unwrap();
            assert!(authority.refresh(now()).is_err());
            assert_eq!(ask(authority, Some("Bearer abc"), &[], now()), Ok("token:pbx".to_owned()));
        }
        fs::remove_file(path).unwrap();
        assert!(authority.refresh(now()).is_err());
        assert_eq!(ask(authority, Some("Bearer abc"), &[], now()), Ok("token:pbx".to_owned()));

        // `pbx` loses its limit to one organization, `dash` is revoked, `old` stays.
        let (rest, _) =
            text().split_once("[[token]]\nname = \"dash\"").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        fs::write(path, rest.replace("organizations = [\"acme\"]", "")).unwrap();
        assert_eq!(authority.refresh(now()).unwrap(), Some(2));
        assert_eq!(ask(authority, None, &["dash.example.com"], now()), Err(Refused::Unknown));
        assert!(authority.authenticate(presented(b"Bearer abc"), &mut None, now).unwrap().may_use_all());
        assert!(has_ended(&pbx), "the rights have changed");
        assert!(!has_ended(&old));
        assert!(old.is_same(&authority.authenticate(presented(b"Bearer old"), &mut None, now).unwrap()));
    }
}
