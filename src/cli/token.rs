//! The callers of a server: `queuegate token new`, `list` and `revoke`.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::{args::Wrong, exit::Outcome, print};
use crate::{
    auth::{Entry, Scope, Secret, TokenFile},
    domain::{
        ids::{CallerName, OrganizationId},
        time::Timestamp,
    },
    state::clock::{Clock, SystemClock},
};

/// Arguments of `token`.
#[derive(Subcommand)]
pub(super) enum Token {
    /// Add a caller. Prints their token, once only.
    New(New),
    /// List the callers.
    List(List),
    /// Revoke a caller's access. A running server applies it within seconds.
    Revoke(Revoke),
}

/// Arguments of `token new`.
#[derive(Args)]
pub(super) struct New {
    /// The caller's name in the audit log: 1 to 64 of a-z 0-9 . _ -
    name: CallerName,
    /// A scope of the caller: check, sign-in, supervise, settings, directory, audit or admin (all). Repeat it for more.
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<Scope>,
    /// An organization that the caller may use. Repeat it for more. Absent: all.
    #[arg(long = "organization", short, value_name = "ID")]
    organizations: Vec<OrganizationId>,
    /// Time until the token expires, such as 90d.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    expires_in: Option<Duration>,
    /// Identify the caller by a client certificate instead: one of its subject alternative names (DNS name, URI,
    /// e-mail, IP address).
    #[arg(long, value_name = "NAME")]
    certificate: Option<String>,
    #[command(flatten)]
    file: Tokens,
}

/// Arguments of `token list`.
#[derive(Args)]
pub(super) struct List {
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: Tokens,
}

/// Arguments of `token revoke`.
#[derive(Args)]
pub(super) struct Revoke {
    /// The caller's name.
    name: CallerName,
    #[command(flatten)]
    file: Tokens,
}

/// The file of the callers.
#[derive(Args)]
struct Tokens {
    /// The token file of the server.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_TOKENS", default_value = "tokens.toml")]
    tokens: PathBuf,
}

impl Token {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::New(new) => new.run(),
            Self::List(list) => list.run(),
            Self::Revoke(Revoke { name, file }) => {
                TokenFile::new(file.tokens).remove(&name)?;
                print::line(&format!("{name} is revoked"))?;
                Ok(Outcome::Done)
            }
        }
    }
}

impl New {
    fn run(self) -> anyhow::Result<Outcome> {
        let Self { name, scopes, organizations, expires_in, certificate, file } = self;
        let secret = match &certificate {
            Some(name) if name.trim().is_empty() => {
                return Err(Wrong("--certificate: must not be empty".to_owned()).into());
            }
            Some(_) => None,
            None => Some(Secret::generate()?),
        };
        let organizations: BTreeSet<OrganizationId> = organizations.into_iter().collect();
        let entry = Entry {
            name: name.clone(),
            sha256: secret.as_ref().map(Secret::fingerprint),
            certificate: certificate.and_then(|name| name.parse().ok()),
            scopes: scopes.into_iter().collect(),
            organizations: Some(organizations).filter(|organizations| !organizations.is_empty()),
            // Whole seconds are enough and easier to read in the file.
            expires: expires_in.map(|life| SystemClock::start().now().plus(life)).map(whole_seconds),
        };
        TokenFile::new(&file.tokens).add(&entry)?;
        match secret {
            Some(secret) => {
                // The token alone on standard output, so that it can be piped.
                print::line(secret.reveal())?;
                anstream::eprintln!("This is the token of {name}. It is not stored anywhere: save it now.");
            }
            None => print::line(&format!("{name} is added, identified by the certificate"))?,
        }
        Ok(Outcome::Done)
    }
}

impl List {
    fn run(self) -> anyhow::Result<Outcome> {
        let Self { json, file } = self;
        let entries = TokenFile::new(file.tokens).read()?;
        let now = SystemClock::start().now();
        if json {
            let entries = entries.iter().map(|entry| {
                serde_json::json!({
                    "name": entry.name,
                    "known_by": known_by(entry),
                    "scopes": scopes(entry),
                    "organizations": entry.organizations,
                    "expires": entry.expires.map(time),
                })
            });
            print::line(&format!("{:#}", serde_json::Value::Array(entries.collect())))?;
            return Ok(Outcome::Done);
        }
        if entries.is_empty() {
            print::line("there are no callers; add one with `queuegate token new`")?;
            return Ok(Outcome::Done);
        }
        let rows = entries.iter().map(|entry| {
            let organizations = entry.organizations.as_ref().map_or("all".to_owned(), |organizations| {
                organizations.iter().map(OrganizationId::as_str).collect::<Vec<_>>().join(" ")
            });
            let expires = entry.expires.map_or("never".to_owned(), |expires| {
                let ended = if expires <= now { " (expired)" } else { "" };
                format!("{}{ended}", time(expires))
            });
            [entry.name.to_string(), known_by(entry), scopes(entry).join(" "), organizations, expires]
        });
        print::table(["NAME", "KNOWN BY", "SCOPES", "ORGANIZATIONS", "EXPIRES"], rows)?;
        Ok(Outcome::Done)
    }
}

fn known_by(entry: &Entry) -> String {
    let certificate = entry.certificate.as_ref().map(|name| format!("certificate {name}"));
    entry.sha256.map(|_| "token".to_owned()).into_iter().chain(certificate).collect::<Vec<_>>().join(", ")
}

fn scopes(entry: &Entry) -> Vec<&'static str> {
    entry.scopes.iter().map(|scope| scope.as_str()).collect()
}

fn time(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.unix_ms())
        .map_or_else(|_| time.unix_ms().to_string(), |time| time.to_string())
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_unix_ms(time.unix_ms() - time.unix_ms().rem_euclid(1_000))
}
