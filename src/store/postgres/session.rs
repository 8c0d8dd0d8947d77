//! A connection to the primary, with its prepared statements.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_postgres::{
    AsyncMessage, Client, Connection, NoTls, Notification, Statement,
    error::{Severity, SqlState},
};
use tracing::warn;

use super::{
    error::{described, refused},
    target::Target,
};
use crate::store::error::Error;

/// The settings of every session. An operator's defaults must not weaken a commit, and a session that stops in the
/// middle of a transaction must not keep it open for long. The lock on the head has a shorter limit of its own.
/// A session whose client is gone ends, even while it waits for the lock: otherwise each retry of a node would leave one
/// behind.
const SETTINGS: &str = "SET search_path = queuegate; SET synchronous_commit = 'on'; \
                        SET idle_in_transaction_session_timeout = '60s'; SET plan_cache_mode = 'force_generic_plan'; \
                        SET client_connection_check_interval = '1s'; SET statement_timeout = 0; SET lock_timeout = 0; SET client_min_messages = 'warning'; \
                        SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; \
                        SET standard_conforming_strings = on";

/// The number of prepared statements above which all are forgotten.
const MAX_STATEMENTS: usize = 256;

/// A connection to the primary. Drop closes it at once, even if it waits for an answer.
pub(super) struct Session {
    pub client: Client,
    driver: JoinHandle<()>,
    statements: HashMap<String, Statement>,
    warnings: Arc<AtomicU64>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // By itself, the driver would wait for the answers that are still due.
        self.driver.abort();
    }
}

impl Session {
    /// Connect to the host that takes writes. A task of the present runtime drives the connection.
    pub async fn connect(target: &Target, purpose: &str) -> Result<Self, Error> {
        let (session, _) = Self::connect_and_listen(target, purpose).await?;
        Ok(session)
    }

    /// Connect like [`Self::connect`], and also return the receiver of notifications. It ends with the connection.
    pub async fn connect_and_listen(
        target: &Target,
        purpose: &str,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Notification>), Error> {
        let config = target.config(purpose)?;
        let warnings = Arc::new(AtomicU64::new(0));
        let (sender, notifications) = mpsc::unbounded_channel();
        let failed = |error: tokio_postgres::Error| not_connected(target, &error);
        let (client, driver) = match target.tls()? {
            Some(tls) => {
                let (client, connection) = config.connect(tls).await.map_err(failed)?;
                (client, tokio::spawn(drive(connection, Arc::clone(&warnings), sender)))
            }
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
                (client, tokio::spawn(drive(connection, Arc::clone(&warnings), sender)))
            }
        };
        let session = Self { client, driver, statements: HashMap::new(), warnings };
        session.client.batch_execute(SETTINGS).await.map_err(|error| not_connected(target, &error))?;
        Ok((session, notifications))
    }

    /// Prepare a statement, or return the prepared one.
    pub async fn prepare(&mut self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        if self.statements.len() >= MAX_STATEMENTS {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Return the number of warnings so far. A warning during a commit means that its outcome is unknown: PostgreSQL
    /// reports success with a warning if the wait for a synchronous standby was cancelled.
    pub fn warnings(&self) -> u64 {
        self.warnings.load(Ordering::Relaxed)
    }
}

/// Drive a connection to its end.
async fn drive<S, T>(
    mut connection: Connection<S, T>,
    warnings: Arc<AtomicU64>,
    notifications: mpsc::UnboundedSender<Notification>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            AsyncMessage::Notice(notice) if notice.parsed_severity() == Some(Severity::Warning) => {
                warnings.fetch_add(1, Ordering::Relaxed);
                warn!(message = notice.message(), code = notice.code().code(), "warning from PostgreSQL");
            }
            AsyncMessage::Notification(notification) => {
                // Only a listener has a receiver.
                let _ = notifications.send(notification);
            }
            _ => {}
        }
    }
}

/// Convert an error of a connection attempt. If the configuration is wrong, trying again doesn't help.
fn not_connected(target: &Target, error: &tokio_postgres::Error) -> Error {
    let Some(found) = error.as_db_error() else { return Error::Unreachable(described(error)) };
    let advice = match found.code() {
        code if *code == SqlState::INVALID_CATALOG_NAME => "create the database, or correct its name in --database",
        code if *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "correct the user in --database, or the password in --database-password-file"
        }
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE => "grant the user this right",
        _ => return Error::Unreachable(described(error)),
    };
    refused(&target.to_string(), &format_args!("{}; {advice}", described(error)))
}
