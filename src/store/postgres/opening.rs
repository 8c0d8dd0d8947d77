//! The first steps on a connection to the primary: the checks of the server, and the epoch after a failover.

use tracing::{info, warn};

use super::{
    error::{of_statement, refused},
    head::new_nonce,
    schema::TIMELINE,
    session::Session,
    target::Target,
};
use crate::store::error::Error;

/// Return the database's time, in milliseconds since 1970.
pub(super) async fn database_time(session: &Session) -> Result<i64, Error> {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    session.client.query_one(sql, &[]).await.map(|row| row.get(0)).map_err(|error| of_statement(&error))
}

/// Refuse a connection pooler in transaction mode: it would give each transaction another session, without this one's
/// settings and prepared statements. Two connections to a pooler get the same session in turn.
pub(super) async fn refuse_transaction_pooling(target: &Target, session: &Session) -> Result<(), Error> {
    const NAME: &str = "queuegate.connection";
    let probe = Session::connect(target, "probe").await?;
    let read = async |of: &Session| {
        let sql = format!("SELECT pg_backend_pid(), current_setting('{NAME}', true)");
        let row = of.client.query_one(&sql, &[]).await?;
        Ok::<(i32, Option<String>), tokio_postgres::Error>((row.get(0), row.get(1)))
    };
    let look = async {
        session.client.batch_execute(&format!("SET {NAME} = 'writer'")).await?;
        let (own_process, _) = read(session).await?;
        probe.client.batch_execute(&format!("SET {NAME} = 'probe'")).await?;
        let (process, _) = read(&probe).await?;
        let (_, own_name) = read(session).await?;
        Ok::<bool, tokio_postgres::Error>(process == own_process || own_name.as_deref() != Some("writer"))
    };
    // A pooler may also refuse a statement that was prepared in another session.
    if look.await.unwrap_or(true) {
        let problem = "a connection pooler in transaction mode is in between (PgBouncer's pool_mode); give the address of \
                       PostgreSQL itself, or set pool_mode = session";
        return Err(refused(&target.to_string(), &problem));
    }
    Ok(())
}

/// Return the store's id, and warn about settings that lose acknowledged changes.
pub(super) async fn identity(target: &Target, session: &Session) -> Result<u64, Error> {
    let sql = "SELECT store_id, current_setting('synchronous_standby_names'), current_setting('fsync') FROM store";
    let row = session.client.query_one(sql, &[]).await.map_err(|error| of_statement(&error))?;
    let (id, standbys, fsync): (String, String, String) = (row.get(0), row.get(1), row.get(2));
    if standbys.is_empty() {
        warn!("PostgreSQL has no synchronous standby (synchronous_standby_names): a failover may lose changes");
    }
    if fsync == "off" {
        warn!("PostgreSQL doesn't sync its files (fsync = off): a power failure may lose everything");
    }
    let unreadable = |_| refused(&target.to_string(), &"store.store_id is not 16 hexadecimal digits");
    u64::from_str_radix(&id, 16).map_err(unreadable)
}

/// Begin a new epoch if PostgreSQL is on another timeline than the head: a standby was promoted, or a backup was
/// restored to an earlier time. So no revision is given twice for different changes.
pub(super) async fn raise_epoch_after_failover(session: &mut Session) -> Result<(), Error> {
    let nonce = new_nonce();
    let sql = format!(
        "WITH head AS (UPDATE head SET epoch = epoch + 1, timeline = {TIMELINE}, nonce = $1 \
         WHERE timeline <> {TIMELINE} RETURNING epoch, sequence, timeline) \
         INSERT INTO epoch SELECT epoch, sequence, timeline, (extract(epoch FROM clock_timestamp()) * 1000)::bigint \
         FROM head RETURNING epoch, start_sequence"
    );
    let raised = session.client.query_opt(&sql, &[&nonce]).await.map_err(|error| of_statement(&error))?;
    if let Some(row) = raised {
        let (epoch, sequence): (i64, i64) = (row.get(0), row.get(1));
        info!(epoch, sequence, "PostgreSQL is on another timeline; a new epoch begins");
    }
    Ok(())
}
