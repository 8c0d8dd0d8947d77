//! The floors of the cluster: PostgreSQL without a server.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use anyhow::Context;
use queuegate::{
    domain::{
        change::{Change, Event, Origin, Record},
        ids::{Caller, Sequence},
        model::{Basis, Channel, EndReason, Session, SessionEnd},
        time::Timestamp,
    },
    store::postgres::{Commit, Locking, Store},
};
use tokio_postgres::NoTls;

use crate::harness::rounds::median;

/// Return the p50 of an UPDATE of one row, in microseconds.
pub async fn update_p50_us(address: &str, seconds: f64) -> anyhow::Result<f64> {
    let (client, connection) = tokio_postgres::connect(address, NoTls).await?;
    tokio::spawn(connection);
    let table =
        "CREATE TABLE IF NOT EXISTS public.one (n bigint); TRUNCATE public.one; INSERT INTO public.one VALUES (0)";
    client.batch_execute(table).await?;
    let statement = client.prepare("UPDATE public.one SET n = n + 1").await?;
    let (began, mut took) = (Instant::now(), Vec::new());
    while began.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        client.execute(&statement, &[]).await?;
        took.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(&took))
}

/// Return the changes per second of a program that only commits batches of sign-ins and sign-outs, of this size.
pub fn batches(address: &str, size: usize, seconds: f64) -> anyhow::Result<f64> {
    let mut wait = |_: Duration| ControlFlow::Continue(());
    let mut store = Store::new(address.parse()?, 1, String::new())?;
    store.load(|_| {}, &mut wait)?;
    let (began, mut written, mut batch) = (Instant::now(), 0_u64, 0_u64);
    let mut sessions = Vec::new();
    while began.elapsed().as_secs_f64() < seconds {
        if sessions.is_empty() {
            sessions = (0..size).map(|number| session(batch, number)).collect::<anyhow::Result<Vec<_>>>()?;
            commit(&mut store, written, sessions.iter().cloned().map(started), &mut wait)?;
        } else {
            commit(&mut store, written, std::mem::take(&mut sessions).into_iter().map(ended), &mut wait)?;
        }
        written += u64::try_from(size)?;
        batch += 1;
    }
    Ok(written as f64 / began.elapsed().as_secs_f64())
}

fn commit(
    store: &mut Store,
    written: u64,
    events: impl Iterator<Item = Event>,
    wait: &mut dyn FnMut(Duration) -> ControlFlow<()>,
) -> anyhow::Result<()> {
    let organization_id = "bare".parse().ok().context("an id")?;
    let record = |(event, sequence)| Record {
        sequence: Sequence(sequence),
        time: Timestamp::from_unix_ms(1_800_000_000_000),
        origin: Origin { caller: Caller::server(), actor: None },
        change: Change { organization_id: Clone::clone(&organization_id), event },
    };
    let records: Vec<Record> = events.zip(written + 1..).map(record).collect();
    let committed = store.commit((&records, &[]), Locking::None, |_| {}, wait)?;
    anyhow::ensure!(committed == Commit::Done, "the bare commit ended with {committed:?}");
    Ok(())
}

fn session(batch: u64, number: usize) -> anyhow::Result<Session> {
    Ok(Session {
        session_id: format!("s{batch}-{number}").parse().ok().context("an id")?,
        user_id: format!("user{number}").parse().ok().context("an id")?,
        queue_id: "queue".parse().ok().context("an id")?,
        channel: Channel::FeatureCode,
        basis: Basis::Assigned,
        signed_in_by: format!("user{number}").parse().ok().context("an id")?,
        sign_in_time: Timestamp::from_unix_ms(1_800_000_000_000),
        expire_time: None,
        device: String::new(),
        end: None,
    })
}

fn started(session: Session) -> Event {
    Event::SessionStarted { session, justification: String::new() }
}

fn ended(mut session: Session) -> Event {
    session.end = Some(SessionEnd { time: Timestamp::from_unix_ms(1_800_000_000_001), reason: EndReason::SignedOut });
    Event::SessionEnded { session, supervisor_id: None, justification: String::new() }
}
