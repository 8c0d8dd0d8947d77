//! Arguments that several commands share.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use tonic::metadata::MetadataValue;

use crate::{
    client::{self, Client, Credentials},
    domain::language::Language,
    rpc::proto,
    store::{
        self,
        postgres::{Target, is_connection_string},
    },
};

/// An invalid argument that clap can't detect.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Wrong(pub String);

/// The server and the output format.
#[derive(Args, Clone)]
pub(super) struct Server {
    /// The server's address. Of several equal servers: all their addresses, separated by commas.
    #[arg(
        long = "server",
        value_name = "ADDRESSES",
        env = "QUEUEGATE_SERVER",
        default_value = "http://127.0.0.1:50051"
    )]
    pub addresses: String,
    /// A file with the caller's bearer token. QUEUEGATE_TOKEN may hold the token itself instead.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// An authority of the server's certificate (PEM), besides the system's.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_CA")]
    ca: Option<PathBuf>,
    /// The caller's client certificate (PEM).
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_CLIENT_CERTIFICATE", requires = "client_key")]
    client_certificate: Option<PathBuf>,
    /// The client certificate's private key (PEM).
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_CLIENT_KEY", requires = "client_certificate")]
    client_key: Option<PathBuf>,
    /// Print JSON for machines.
    #[arg(long)]
    pub json: bool,
}

/// The server, the organization, and the output format.
#[derive(Args, Clone)]
pub(super) struct Common {
    #[command(flatten)]
    pub server: Server,
    /// The organization's id.
    #[arg(long, short, value_name = "ID", env = "QUEUEGATE_ORGANIZATION")]
    pub organization: String,
}

/// The id of a change.
#[derive(Args)]
pub(super) struct Retry {
    /// Make a retry safe: repeating the command with the same id changes nothing.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    pub request_id: String,
}

/// The acting user of a change.
#[derive(Args)]
pub(super) struct Acting {
    /// The user on whose behalf you change it, who must have the permission. Absent: no user.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "USER_ID")]
    pub actor: String,
    #[command(flatten)]
    pub explanations: Explanations,
}

/// The language of explanations.
#[derive(Args, Clone)]
pub(super) struct Explanations {
    /// The language of explanations: en, de, it, fr, es, pt or nl. Absent: the language of LC_ALL, LC_MESSAGES or LANG.
    #[arg(long, value_name = "LANGUAGE", env = "QUEUEGATE_LANGUAGE")]
    language: Option<Language>,
}

impl Explanations {
    /// Return a client whose calls are explained in the language.
    pub(super) fn of(&self, client: Client) -> Client {
        let language = self.language.unwrap_or_else(|| of_locale(|variable| std::env::var(variable).ok()));
        client.accepting(MetadataValue::from_static(language.code()))
    }
}

/// Return the language of the locale for messages, by POSIX: the first variable that isn't empty counts. English if it
/// has no explanations in that language.
fn of_locale(variable: impl Fn(&str) -> Option<String>) -> Language {
    let mut locales = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(variable);
    let locale = locales.find(|locale| !locale.is_empty());
    locale.and_then(|locale| Language::of_locale(&locale)).unwrap_or_default()
}

impl Server {
    pub(super) async fn connect(&self) -> anyhow::Result<Client> {
        Ok(Client::connect_as(&self.addresses, self.credentials()?).await?)
    }

    /// Return a client without connecting; the server may start later.
    pub(super) fn prepare(&self) -> anyhow::Result<Client> {
        Ok(Client::prepare_as(&self.addresses, self.credentials()?)?)
    }

    fn credentials(&self) -> anyhow::Result<Credentials> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| Wrong(format!("can't read `{}`: {error}", path.display())))
        };
        let token = match &self.token_file {
            Some(path) => Some(String::from_utf8(read(path)?).map_err(|_| client::Error::Token)?),
            // Never an argument, because every user of the machine can read arguments.
            None => std::env::var("QUEUEGATE_TOKEN").ok().filter(|token| !token.is_empty()),
        };
        let certificate = match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
            _ => None,
        };
        let ca = self.ca.as_ref().map(read).transpose()?;
        Ok(Credentials { token, ca, certificate })
    }
}

impl Common {
    pub(super) async fn connect(&self) -> anyhow::Result<Client> {
        self.server.connect().await
    }
}

/// Parse a host name or IP address and a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().map_err(|error| format!("{error}; write it as HOST:PORT"))?.next();
    found.ok_or_else(|| "no such host".to_owned())
}

/// Parse the path of a database file. Refuses names with a special meaning in SQLite.
pub(super) fn database(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("must name a file".to_owned());
    }
    if text == ":memory:" {
        return Err(
            "in-memory databases are not supported; name a file, or `./:memory:` for a file of that name".to_owned()
        );
    }
    if text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:")) {
        return Err(format!("must be a path and not a URI; name the file, or `./{text}` for a file of that name"));
    }
    Ok(text.into())
}

/// Parse the database of a server: the path of a file, or a connection string of PostgreSQL.
pub(super) fn server_database(text: &str) -> Result<ServerDatabase, String> {
    if is_connection_string(text) {
        return text.parse().map(ServerDatabase::Shared).map_err(|error: store::Error| error.to_string());
    }
    database(text).map(ServerDatabase::File)
}

/// The database of a server, as its flag names it.
#[derive(Debug, Clone)]
pub(super) enum ServerDatabase {
    /// A file.
    File(PathBuf),
    /// A PostgreSQL database.
    Shared(Target),
}

/// The channel on which the user signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Channel {
    /// Dialing *13 and the queue's number.
    FeatureCode,
    /// The agent dashboard.
    AgentDashboard,
}

impl From<Channel> for i32 {
    fn from(channel: Channel) -> Self {
        match channel {
            Channel::FeatureCode => proto::Channel::FeatureCode.into(),
            Channel::AgentDashboard => proto::Channel::AgentDashboard.into(),
        }
    }
}

/// A user or a queue: an id, or `ext:` and an extension.
#[derive(Debug, Clone)]
pub(super) enum Name {
    Id(String),
    Extension(String),
}

impl Name {
    /// A hint for an unknown name: a number is usually an extension, not an id.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Id(id) if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(format!("an extension is written ext:{id}"))
            }
            Self::Id(_) | Self::Extension(_) => None,
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => f.write_str(id),
            Self::Extension(extension) => write!(f, "ext:{extension}"),
        }
    }
}

impl std::str::FromStr for Name {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.strip_prefix("ext:") {
            Some(extension) => Self::Extension(extension.to_owned()),
            None => Self::Id(text.to_owned()),
        })
    }
}

/// Converts a [`Name`] to a request's own `oneof`.
macro_rules! one_of {
    ($name:expr, $module:ident :: User) => {
        one_of!($name, $crate::rpc::proto::$module::User, UserId, UserExtension)
    };
    ($name:expr, $module:ident :: Queue) => {
        one_of!($name, $crate::rpc::proto::$module::Queue, QueueId, QueueExtension)
    };
    ($name:expr, $module:ident :: Supervisor) => {
        one_of!($name, $crate::rpc::proto::$module::Supervisor, SupervisorId, SupervisorExtension)
    };
    ($name:expr, $one_of:path, $id:ident, $extension:ident) => {{
        use $one_of as OneOf;
        match $name {
            $crate::cli::args::Name::Id(id) => OneOf::$id(id),
            $crate::cli::args::Name::Extension(extension) => OneOf::$extension(extension),
        }
    }};
}
pub(super) use one_of;

/// Calls a list method for every page, and returns one response with the items of all pages. A number limits the pages.
macro_rules! all_pages {
    ($client:ident.$service:ident.$method:ident($request:expr), $items:ident) => {
        all_pages!($client.$service.$method($request), $items, usize::MAX)
    };
    ($client:ident.$service:ident.$method:ident($request:expr), $items:ident, $limit:expr) => {{
        let mut request = $request;
        request.page_size = 1_000;
        let mut items = Vec::new();
        let mut pages = 0_usize;
        loop {
            let mut page = $client.$service.$method(request.clone()).await?.into_inner();
            pages += 1;
            items.append(&mut page.$items);
            request.page_token = std::mem::take(&mut page.next_page_token);
            if request.page_token.is_empty() || pages >= $limit {
                page.$items = items;
                break page;
            }
        }
    }};
}
pub(super) use all_pages;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_locale_variable_that_is_not_empty_counts() {
        for (all, messages, lang, expected) in [
            ("", "", "", Language::English),
            ("", "", "de_CH.UTF-8", Language::German),
            ("", "fr_FR", "de_CH.UTF-8", Language::French),
            ("C", "fr_FR", "de_CH.UTF-8", Language::English),
            ("it_IT@euro", "C", "C", Language::Italian),
            ("ja_JP.UTF-8", "fr_FR", "de_CH.UTF-8", Language::English),
        ] {
            let variable = |name: &str| match name {
                "LC_ALL" => Some(all.to_owned()),
                "LC_MESSAGES" => Some(messages.to_owned()).filter(|_| !messages.is_empty()),
                "LANG" => Some(lang.to_owned()),
                other => panic!("{other}"),
            };
            assert_eq!(of_locale(variable), expected, "{all} {messages} {lang}");
        }
    }
}
