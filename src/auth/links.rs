//! One-time links into the console. Each names a person, is valid for five minutes, and is used once.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::secret::{Fingerprint, Secret};
use crate::domain::{
    ids::{OrganizationId, UserId},
    time::Timestamp,
};

/// How long a link is valid.
const VALID_FOR: Duration = Duration::from_secs(5 * 60);

/// The most links that are kept. Then the oldest is forgotten.
const MOST_LINKS: usize = 1_024;

/// The links that nobody has used yet.
pub struct Links {
    /// The console's address, such as `https://pbx.example.com/queuegate`.
    address: String,
    unused: Mutex<Vec<Link>>,
}

struct Link {
    fingerprint: Fingerprint,
    organization_id: OrganizationId,
    user_id: UserId,
    expires: Timestamp,
}

impl Links {
    /// Create links to the console at `address`.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), unused: Mutex::default() }
    }

    /// Create a link for a person. Return its address and the end of its validity.
    pub fn create(
        &self,
        organization_id: OrganizationId,
        user_id: UserId,
        now: Timestamp,
    ) -> Result<(String, Timestamp), getrandom::Error> {
        let secret = Secret::generate()?;
        let expires = now.plus(VALID_FOR);
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        unused.retain(|link| link.expires > now);
        if unused.len() >= MOST_LINKS {
            unused.remove(0);
        }
        unused.push(Link { fingerprint: secret.fingerprint(), organization_id, user_id, expires });
        Ok((format!("{}/enter?link={}", self.address, secret.reveal()), expires))
    }

    /// Return the person of a link that is still valid, and leave it valid.
    pub fn look(&self, secret: &str, now: Timestamp) -> Option<(OrganizationId, UserId)> {
        let unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        let index = place(&unused, secret, now)?;
        unused.get(index).map(|link| (link.organization_id.clone(), link.user_id.clone()))
    }

    /// Use a link: return its person once.
    pub fn redeem(&self, secret: &str, now: Timestamp) -> Option<(OrganizationId, UserId)> {
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        let index = place(&unused, secret, now)?;
        let link = unused.remove(index);
        Some((link.organization_id, link.user_id))
    }
}

fn place(unused: &[Link], secret: &str, now: Timestamp) -> Option<usize> {
    let presented = Fingerprint::of(secret.as_bytes());
    unused.iter().position(|link| link.fingerprint == presented && link.expires > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_ms(seconds * 1_000)
    }

    fn create(links: &Links, user: &str, now: Timestamp) -> String {
        let (link, expires) = links.create("acme".parse().unwrap(), user.parse().unwrap(), now).unwrap();
        assert_eq!(expires, now.plus(VALID_FOR));
        link.strip_prefix("http://127.0.0.1:8080/enter?link=").unwrap().to_owned()
    }

    #[test]
    fn a_link_is_used_once_and_within_five_minutes() {
        let links = Links::new("http://127.0.0.1:8080");
        let (first, second) = (create(&links, "petra", at(0)), create(&links, "sam", at(1)));
        assert_eq!(links.redeem("qgt_other", at(2)), None);
        let petra = Some(("acme".parse().unwrap(), "petra".parse().unwrap()));
        assert_eq!(links.look(&first, at(2)), petra);
        assert_eq!(links.redeem(&first, at(2)), petra);
        assert_eq!(links.redeem(&first, at(2)), None, "used");
        assert_eq!(links.redeem(&second, at(301)), None, "expired");
    }

    #[test]
    fn the_oldest_link_is_forgotten_when_there_are_too_many() {
        let links = Links::new("http://127.0.0.1:8080");
        let first = create(&links, "petra", at(0));
        for _ in 0..MOST_LINKS {
            create(&links, "sam", at(1));
        }
        assert_eq!(links.look(&first, at(2)), None);
        assert_eq!(links.unused.lock().unwrap().len(), MOST_LINKS);
    }
}
