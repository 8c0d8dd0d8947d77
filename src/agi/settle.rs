//! Tells queuegate what it is owed, as soon as it can be told.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{
    ask::Failure,
    debts::{Debt, What},
    desk::Desk,
};

/// How long telling may take.
const TELLING: Duration = Duration::from_secs(5);

/// How long is waited before the next try, and how long at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// How often it is said that something can't be settled.
const REMINDER: Duration = Duration::from_secs(60);

/// Settles what is owed, for ever.
pub(super) async fn run(desk: Arc<Desk>) {
    for Debt { organization, user, queue, interface, what, .. } in desk.debts.all() {
        info!(%organization, %user, queue = queue.name(), interface, what = what.as_str(), "this is owed from before");
    }
    let mut pause = PAUSES.0;
    let mut told = Instant::now();
    loop {
        let owed = desk.debts.all();
        let mut left = None;
        for debt in &owed {
            if let Err(failure) = pay(&desk, debt).await {
                let is_of_all = failure.is_of_all();
                left = Some((debt, failure));
                if is_of_all {
                    break;
                }
            }
        }
        if let Some((Debt { organization, user, queue, what, .. }, failure)) = left {
            // At once, and then now and then, so that whoever looks finds it near the end of the log.
            if pause == PAUSES.0 || told.elapsed() >= REMINDER {
                told = Instant::now();
                let (owed, why) = (owed.len(), failure.why());
                warn!(
                    owed, %organization, %user, queue = queue.name(), what = what.as_str(), reason = why.reason, error = why.text,
                    "queuegate can't be told what it is owed; it is tried again"
                );
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        } else {
            pause = PAUSES.0;
            desk.debts.news().await;
        }
    }
}

async fn pay(desk: &Desk, debt: &Debt) -> Result<(), Failure> {
    let key = debt.key();
    let held = desk.places.hold(&key).await;
    if desk.debts.of(&key).as_ref() != Some(debt) {
        // The caller has dialed again meanwhile.
        held.unchanged();
        return Ok(());
    }
    let Debt { organization, user, queue, pbx_queue, interface: _, what } = debt;
    let by = Instant::now() + TELLING;
    let told = match what {
        What::SignOut => desk.questions.sign_out(organization, user, queue, by).await.map(drop),
        What::Undo { request_ids } => undo(desk, debt, request_ids, by).await,
    };
    match told {
        Ok(()) => info!(%organization, %user, queue = queue.name(), what = what.as_str(), "what was owed is settled"),
        Err(failure) if failure.is_final() => {
            let reason = &failure.why().reason;
            error!(%organization, %user, queue = queue.name(), what = what.as_str(), reason, "what was owed can't be settled, and is given up");
        }
        Err(failure) => {
            held.unchanged();
            return Err(failure);
        }
    }
    desk.debts.settle(&key).await;
    desk.doubts.about(pbx_queue);
    Ok(())
}

/// Ends the session that one of these requests made, if one did: the same request has the same outcome.
async fn undo(desk: &Desk, debt: &Debt, request_ids: &[String], by: Instant) -> Result<(), Failure> {
    let Debt { organization, user, queue, pbx_queue: _, interface, what: _ } = debt;
    let mut is_made = false;
    for request_id in request_ids {
        is_made |= desk.questions.sign_in(organization, user, queue, interface, request_id, by).await?.created;
    }
    if is_made { desk.questions.sign_out(organization, user, queue, by).await.map(drop) } else { Ok(()) }
}
