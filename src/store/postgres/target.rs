//! The address of a PostgreSQL database: a connection string, and a password from a file.

use std::{fmt, fs, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use tokio_postgres::config::{Config, Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::error::refused;
use crate::store::error::Error;

/// The longest time to connect to one host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest time for which sent data may stay without an acknowledgement.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);

/// The address of a PostgreSQL database. Its text has no password.
#[derive(Clone)]
pub struct Target {
    config: Box<Config>,
    encryption: Encryption,
    root_certificate: Option<PathBuf>,
    password_file: Option<PathBuf>,
    pass_file: Option<PathBuf>,
    shown: String,
}

/// Whether connections are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    /// By TLS, and the server's certificate and name are verified.
    Verified,
    /// Not at all.
    Off,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Return whether a database is named by a connection string of PostgreSQL instead of a path.
pub fn is_connection_string(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

impl FromStr for Target {
    type Err = Error;

    /// Read a connection string such as `postgres://queuegate@db1,db2/queuegate?sslmode=verify-full`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (address, parameters) = text.split_once('?').unwrap_or((text, ""));
        let shown = without_password(address);
        let refuse = |problem: &dyn fmt::Display| refused(&shown, problem);
        let (mut mode, mut root_certificate, mut pass_file) = (None, None, None);
        let (mut hosts, mut ports) = (None, "5432");
        let mut others = Vec::new();
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("host", value)) => hosts = Some(value),
                Some(("port", value)) => ports = value,
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => root_certificate = Some(PathBuf::from(value)),
                Some(("passfile", value)) => pass_file = Some(PathBuf::from(value)),
                Some(("target_session_attrs", "read-write")) => {}
                Some(("target_session_attrs", _)) => {
                    return Err(refuse(&"target_session_attrs must be `read-write`, because every node writes"));
                }
                _ => others.push(parameter),
            }
        }
        let address = match hosts {
            Some(hosts) => with_hosts(address, hosts, ports).ok_or_else(|| {
                refuse(&"port must be one number for all hosts, or one for each; name hosts in one place only")
            })?,
            None => address.to_owned(),
        };
        let plain = if others.is_empty() { address } else { format!("{address}?{}", others.join("&")) };
        let mut config: Config = plain.parse().map_err(|error: tokio_postgres::Error| {
            let causes = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            refuse(&format_args!(
                "{causes}; a connection string looks like `postgres://queuegate@db1,db2/queuegate?sslmode=verify-full`"
            ))
        })?;
        if config.get_hosts().is_empty() {
            return Err(refuse(&"it names no host"));
        }
        let encryption = match mode {
            Some("verify-full" | "verify-ca" | "require") => Encryption::Verified,
            Some("disable") => Encryption::Off,
            // Without a mode, only connections within this machine are plain.
            None if config.get_hosts().iter().all(is_local) => Encryption::Off,
            None => Encryption::Verified,
            Some(mode) => {
                let problem = format!("sslmode `{mode}` is not supported; give `verify-full`, or `disable`");
                return Err(refuse(&problem));
            }
        };
        config
            .ssl_mode(if encryption == Encryption::Verified { SslMode::Require } else { SslMode::Disable })
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .keepalives_idle(TCP_TIMEOUT)
            .keepalives_interval(Duration::from_secs(1))
            .keepalives_retries(3)
            .tcp_user_timeout(TCP_TIMEOUT);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_dbname().is_none() {
            config.dbname("queuegate");
        }
        if config.get_user().is_none() {
            config.user("queuegate");
        }
        let pass_file = pass_file.or_else(|| std::env::var_os("PGPASSFILE").map(PathBuf::from));
        Ok(Self { config: Box::new(config), encryption, root_certificate, password_file: None, pass_file, shown })
    }
}

impl Target {
    /// Take the password from this file. It is read at each connection, so that it can be changed.
    #[must_use]
    pub fn with_password_file(mut self, password_file: Option<PathBuf>) -> Self {
        self.password_file = password_file;
        self
    }

    /// Return the parameters of a connection, named `purpose` in the database's list of sessions.
    pub(super) fn config(&self, purpose: &str) -> Result<Config, Error> {
        let mut config = Config::clone(&self.config);
        config.application_name(format!("queuegate {purpose}"));
        let read = |path: &PathBuf| {
            let unreadable = |error| refused(&self.shown, &format_args!("can't read `{}`: {error}", path.display()));
            fs::read_to_string(path).map_err(unreadable)
        };
        if let Some(path) = &self.password_file {
            config.password(read(path)?.trim_end_matches(['\r', '\n']));
        } else if let (Some(path), None) = (&self.pass_file, config.get_password()) {
            let wanted = [config.get_dbname(), config.get_user()].map(Option::unwrap_or_default);
            let host = config.get_hosts().first().map(host_name).unwrap_or_default();
            let port = config.get_ports().first().map_or_else(|| "5432".to_owned(), u16::to_string);
            let [database, user] = wanted;
            if let Some(password) = password_of(&read(path)?, [&host, &port, database, user]) {
                config.password(password);
            }
        }
        Ok(config)
    }

    /// Return the maker of TLS connections, or `None` for plain ones.
    pub(super) fn tls(&self) -> Result<Option<MakeRustlsConnect>, Error> {
        if self.encryption == Encryption::Off {
            return Ok(None);
        }
        let refuse = |problem: &dyn fmt::Display| refused(&self.shown, problem);
        let Some(path) = &self.root_certificate else {
            let system = MakeRustlsConnect::with_native_certs();
            let (tls, _) = system.map_err(|errors| {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                refuse(&format_args!("the system's certificate authorities can't be read: {}", errors.join("; ")))
            })?;
            return Ok(Some(tls));
        };
        let unreadable = |error: &dyn fmt::Display| refuse(&format_args!("sslrootcert `{}`: {error}", path.display()));
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))? {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
        if roots.is_empty() {
            return Err(unreadable(&"it has no certificate"));
        }
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = versions.map_err(|error| refuse(&error))?.with_root_certificates(roots).with_no_client_auth();
        Ok(Some(MakeRustlsConnect::new(config)))
    }
}

/// Return whether connections to a host stay on this machine.
fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
    }
}

fn host_name(host: &Host) -> String {
    match host {
        Host::Unix(_) => "localhost".to_owned(),
        Host::Tcp(name) => name.clone(),
    }
}

/// Return an address with these hosts, which its parameters name. `None` if they don't fit.
fn with_hosts(address: &str, hosts: &str, ports: &str) -> Option<String> {
    let (scheme, rest) = address.split_once("://")?;
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let (hosts, ports): (Vec<&str>, Vec<&str>) = (hosts.split(',').collect(), ports.split(',').collect());
    if !host.is_empty() || (ports.len() > 1 && ports.len() != hosts.len()) {
        return None;
    }
    let named: Vec<String> = hosts
        .iter()
        .zip(ports.iter().cycle())
        .map(|(host, port)| format!("{}:{port}", host.replace('/', "%2F")))
        .collect();
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    Some(format!("{scheme}://{user}{}/{database}", named.join(",")))
}

/// Return an address without the password in it.
fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    match rest.rsplit_once('@') {
        Some((user, hosts)) => format!("{scheme}://{}@{hosts}", user.split(':').next().unwrap_or_default()),
        None => address.to_owned(),
    }
}

/// Return the password for host, port, database and user from a file in the format of `.pgpass`.
fn password_of(file: &str, wanted: [&str; 4]) -> Option<String> {
    file.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields_of(line);
        let [host, port, database, user, password] = fields.as_slice() else { return None };
        let named = [host, port, database, user];
        let fits = named.iter().zip(wanted).all(|(named, wanted)| *named == "*" || *named == wanted);
        fits.then(|| password.clone())
    })
}

/// Split a line at its colons. A backslash makes the next character part of a field.
fn fields_of(line: &str) -> Vec<String> {
    let (mut fields, mut escaped) = (vec![String::new()], false);
    for character in line.chars() {
        match (character, escaped) {
            ('\\', false) => {
                escaped = true;
                continue;
            }
            (':', false) => fields.push(String::new()),
            _ => fields.last_mut().into_iter().for_each(|field| field.push(character)),
        }
        escaped = false;
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_is_encrypted_unless_it_stays_on_the_machine_or_says_otherwise() {
        let of = |text: &str| text.parse::<Target>().map(|target| target.encryption).map_err(|error| error.to_string());
        for (text, encryption) in [
            ("postgres://db1,db2/queuegate", Encryption::Verified),
            ("postgres://db1,localhost/queuegate", Encryption::Verified),
            ("postgres://localhost/queuegate", Encryption::Off),
            ("postgres://127.0.0.1:5433/queuegate", Encryption::Off),
            ("postgres:///queuegate?host=/run/postgresql", Encryption::Off),
            ("postgresql://db1/queuegate?sslmode=disable", Encryption::Off),
            ("postgres://localhost/queuegate?sslmode=require", Encryption::Verified),
        ] {
            assert_eq!(of(text), Ok(encryption), "{text}");
        }
        for (text, problem) in [
            ("postgres://db1/q?sslmode=prefer", "sslmode `prefer`"),
            ("postgres://db1/q?target_session_attrs=any", "target_session_attrs"),
            ("postgres://db1/q?colour=red", "colour"),
            ("postgres:///q", "no host"),
        ] {
            assert!(of(text).is_err_and(|error| error.contains(problem)), "{text}: {:?}", of(text));
        }
    }

    #[test]
    fn hosts_and_ports_may_be_parameters() {
        let of = |text: &str| {
            let target: Target = text.parse().unwrap();
            (target.config.get_hosts().iter().map(host_text).collect::<Vec<_>>(), target.config.get_ports().to_vec())
        };
        fn host_text(host: &Host) -> String {
            match host {
                Host::Unix(path) => path.display().to_string(),
                Host::Tcp(name) => name.clone(),
            }
        }
        let two = || vec!["/run/a".to_owned(), "/run/b".to_owned()];
        assert_eq!(of("postgres:///q?host=/run/a,/run/b"), (two(), vec![5432, 5432]));
        assert_eq!(of("postgres://ann@/q?host=/run/a,/run/b&port=1,2"), (two(), vec![1, 2]));
        assert_eq!(of("postgres://db1:7,db2/q"), (vec!["db1".to_owned(), "db2".to_owned()], vec![7, 5432]));
        for wrong in ["postgres:///q?host=/a,/b&port=1,2,3", "postgres://db1/q?host=/a"] {
            assert!(wrong.parse::<Target>().is_err_and(|error| error.to_string().contains("port")), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let target: Target = "postgres://ann:secret@db1/queuegate?sslmode=disable".parse().unwrap();
        assert_eq!(format!("{target} {target:?}"), "postgres://ann@db1/queuegate postgres://ann@db1/queuegate");
        let wrong = "postgres://ann:secret@db1/queuegate?colour=red".parse::<Target>().unwrap_err();
        assert!(!format!("{wrong} {wrong:?}").contains("secret"));
    }

    #[test]
    fn a_password_file_names_host_port_database_and_user() {
        let file = "# ours\ndb1:5432:other:ann:no\ndb1:*:queuegate:ann:a\\:b\\\\c\n*:*:*:*:all\n";
        assert_eq!(password_of(file, ["db1", "5432", "queuegate", "ann"]), Some("a:b\\c".to_owned()));
        assert_eq!(password_of(file, ["db2", "5432", "queuegate", "ann"]), Some("all".to_owned()));
        assert_eq!(password_of("db1:1:q:u:p", ["db1", "2", "q", "u"]), None);
    }
}
