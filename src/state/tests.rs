//! The writer's promises, from a caller's point of view.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use tempfile::TempDir;

use super::{
    Ended, Error, Owners, Published, ReplyBatches, RequestKey, State,
    clock::{Clock, SystemClock},
    housekeeping::{FORGET_EVERY, MAX_FORGOTTEN},
    job::Job,
    writer::{REQUEST_LIFE, Writer},
};
use crate::{
    domain::{
        change::{Event, Record},
        command::{Action, Command},
        ids::{Caller, QueueRef, UserRef},
        model::{Queue, QueueKind, SignInChannel, User},
        settings::UnassignedQueueSignIn,
        time::Timestamp,
    },
    store::sqlite,
    telemetry::metrics::{CallLabels, Metrics},
};

/// A clock that signals each call of `now`, and blocks it until the test lets it return.
struct SteppedClock {
    came: Sender<()>,
    told: Mutex<Receiver<()>>,
}

impl Clock for SteppedClock {
    fn now(&self) -> Timestamp {
        self.came.send(()).unwrap();
        self.told.lock().unwrap().recv().unwrap();
        Timestamp::from_unix_ms(0)
    }
}

fn create(organization_id: &str) -> Command {
    let unassigned_queue_sign_in = UnassignedQueueSignIn::Restricted;
    let action = Action::CreateOrganization { display_name: "Acme".to_owned(), unassigned_queue_sign_in };
    Command { organization_id: organization_id.parse().unwrap(), action, actor: None }
}

fn store(folder: &TempDir) -> sqlite::Store {
    sqlite::Store::open(&folder.path().join("queuegate.db"), 7).unwrap()
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new(CallLabels::default()))
}

#[tokio::test]
async fn commits_are_small_while_reads_come() {
    for (asked, most) in [(false, 32), (true, 12)] {
        let folder = tempfile::tempdir().unwrap();
        let ((came, writer_came), (tell, told)) = (mpsc::channel(), mpsc::channel());
        let clock = Arc::new(SteppedClock { came, told: Mutex::new(told) });
        let (state, _ended) = State::start(store(&folder), clock, metrics(), 2).unwrap();
        let replies = ReplyBatches::open();
        let submit = |number: usize| {
            state.submit(&replies, create(&format!("o{number}")), Caller::server(), None, None).unwrap()
        };
        // The writer first looks for something to sweep, and then sleeps until a job comes.
        let mut first = submit(0);
        while first.try_recv().is_err() {
            if writer_came.try_recv().is_ok() {
                tell.send(()).unwrap();
            }
            tokio::task::yield_now().await;
        }
        // While the writer executes one command, the others come.
        let mut commits = state.subscribe();
        let mut waiting = vec![submit(1)];
        writer_came.recv().unwrap();
        waiting.extend((2..=41).map(submit));
        if asked {
            state.borrow_snapshot();
        }
        for _ in 1..=41 {
            tell.send(()).unwrap();
        }
        for answer in waiting {
            answer.await.unwrap().unwrap();
        }
        let mut sizes = Vec::new();
        while sizes.len() < 2 {
            let Published::Batch(batch) = commits.recv().await.unwrap() else { panic!("no batch") };
            sizes.push(batch.len());
        }
        assert_eq!(sizes, [1, most], "asked: {asked}");
    }
}

#[tokio::test]
async fn nothing_is_published_or_answered_before_it_and_all_earlier_batches_are_synced() {
    let folder = tempfile::tempdir().unwrap();
    let (state, owners) = State::load(store(&folder), Arc::new(SystemClock::start()), metrics(), 2).unwrap();
    let Owners { mut writer, queue, syncer, receiver } = owners;
    let replies = ReplyBatches::open();
    // The second repeats the first, so there is nothing to write for it.
    let submit = |id: &str| {
        let command = create("acme");
        let request = Some(RequestKey::new(id.parse().unwrap(), &command));
        state.submit(&replies, command, Caller::server(), request, None).unwrap()
    };
    let mut answers = [submit("one"), submit("one"), submit("other")];
    let mut write = || {
        let Ok(Job::Execute(job)) = queue.recv() else { panic!("no job") };
        writer.run_batch(state.now(), vec![*job.take_up().unwrap()]).unwrap().unwrap()
    };
    let written = [write(), write(), write()];
    assert_eq!(written.each_ref().map(|written| written.state.is_some()), [true, false, false]);
    assert!(writer.sync_queue.is_empty());
    for written in written {
        assert!(writer.sync_queue.hand(written).is_ok());
    }
    tokio::task::yield_now().await;
    assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()));
    assert!(state.snapshot().organization("acme").is_none() && !writer.sync_queue.is_empty());
    // When the writer ends, the batches that it handed over are still concluded.
    let ended = syncer.run(&receiver, thread::spawn(move || writer.finish()));
    assert!(matches!(ended, Some(Ended::Stopped)) && state.snapshot().organization("acme").is_some());
    let [first, again, other] = answers;
    let [first, again] = [first.await.unwrap().unwrap(), again.await.unwrap().unwrap()];
    assert_eq!(first.revision, again.revision);
    assert!(matches!(other.await.unwrap(), Err(Error::Rejected(_))));
}

#[tokio::test]
async fn a_command_that_was_never_taken_up_did_not_happen_and_others_have_an_unknown_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let (state, owners) = State::load(store(&folder), Arc::new(SystemClock::start()), metrics(), 2).unwrap();
    let Owners { writer, queue, .. } = owners;
    let asked = ["taken", "waiting", "late"].map(|id| {
        let state = state.clone();
        tokio::spawn(async move { state.execute(&ReplyBatches::open(), create(id), Caller::server(), None).await })
    });
    while state.shared.metrics.writer_queue.get() < 3 {
        tokio::task::yield_now().await;
    }
    let Ok(Job::Execute(first)) = queue.recv() else { panic!("no job") };
    let id = first.0.as_ref().unwrap().command.organization_id.clone();
    // The writer dies with one command taken up.
    drop((first.take_up(), queue, writer));
    let mut errors = Vec::new();
    for asked in asked {
        errors.push(asked.await.unwrap().unwrap_err());
    }
    let unknown = errors.iter().filter(|error| matches!(error, Error::OutcomeUnknown)).count();
    let stopped = errors.iter().filter(|error| matches!(error, Error::Stopped)).count();
    assert_eq!((unknown, stopped), (1, 2), "{id}: {errors:?}");
    let error = state.execute(&ReplyBatches::open(), create("after"), Caller::server(), None).await.unwrap_err();
    assert!(matches!(error, Error::Stopped), "{error:?}");
}

#[tokio::test]
async fn every_request_id_is_forgotten_after_a_day_however_many_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let (state, owners) = State::load(store(&folder), Arc::new(SystemClock::start()), metrics(), 2).unwrap();
    let Owners { mut writer, queue, .. } = owners;
    let replies = ReplyBatches::open();
    let now = state.now();
    let answers: Vec<_> = (0..MAX_FORGOTTEN * 2 + 1)
        .map(|number| {
            let command = create(&format!("o{number}"));
            let request = Some(RequestKey::new(format!("r{number}").parse().unwrap(), &command));
            state.submit(&replies, command, Caller::server(), request, None).unwrap()
        })
        .collect();
    let jobs = queue.try_iter().map(|job| match job {
        Job::Execute(job) => *job.take_up().unwrap(),
        Job::News | Job::Stop => panic!("an unexpected job"),
    });
    writer.run_batch(now, jobs.collect()).unwrap().unwrap();
    let known = |writer: &Writer, number: usize| {
        let (organization_id, request_id) =
            (format!("o{number}").parse().unwrap(), format!("r{number}").parse().unwrap());
        writer.store.request(&organization_id, &request_id, Timestamp::from_unix_ms(0)).unwrap().is_some()
    };
    let count = |writer: &Writer| (0..answers.len()).filter(|number| known(writer, *number)).count();
    writer.forget(now.plus(REQUEST_LIFE)).unwrap();
    assert_eq!(count(&writer), answers.len(), "a day old, and not older");
    let later = now.plus(REQUEST_LIFE + FORGET_EVERY);
    let mut left = Vec::new();
    loop {
        writer.forget(later).unwrap();
        left.push(count(&writer));
        if !writer.is_forgetting {
            break;
        }
    }
    assert_eq!(left, [MAX_FORGOTTEN + 1, 1, 0]);
}

#[tokio::test]
async fn sessions_of_one_commit_have_ids_that_rise() {
    let folder = tempfile::tempdir().unwrap();
    let (state, owners) = State::load(store(&folder), Arc::new(SystemClock::start()), metrics(), 2).unwrap();
    let Owners { mut writer, queue, .. } = owners;
    let (replies, queue_id) = (ReplyBatches::open(), || "sales".parse().unwrap());
    let create_user = |user_id: &str| Action::CreateUser {
        user: User {
            user_id: user_id.parse().unwrap(),
            display_name: user_id.into(),
            extension: None,
            contact_center_license: true,
            disabled: false,
            login: None,
        },
    };
    let sign_in = |user_id: &str| Action::SignIn {
        user: UserRef::Id(user_id.parse().unwrap()),
        queue: QueueRef::Id(queue_id()),
        channel: SignInChannel::FeatureCode,
        device: String::new(),
    };
    let (display_name, extension, kind) = ("Sales".to_owned(), None, QueueKind::CallQueue);
    let new_queue = Queue { queue_id: queue_id(), display_name, extension, kind };
    let unassigned_queue_sign_in = UnassignedQueueSignIn::Allowed;
    let actions = [
        Action::CreateOrganization { display_name: "Acme".to_owned(), unassigned_queue_sign_in },
        Action::CreateQueue { queue: new_queue },
        create_user("ann"),
        create_user("bob"),
        sign_in("bob"),
        sign_in("ann"),
    ];
    let submit = |action| {
        let command = Command { organization_id: "acme".parse().unwrap(), action, actor: None };
        state.submit(&replies, command, Caller::server(), None, None).unwrap()
    };
    // The writer skips commands whose receivers are dropped.
    let _answers = actions.map(submit);
    let jobs = queue.try_iter().map(|job| match job {
        Job::Execute(job) => *job.take_up().unwrap(),
        Job::News | Job::Stop => panic!("an unexpected job"),
    });
    let written = writer.run_batch(state.now(), jobs.collect()).unwrap().unwrap();
    let (_, records) = written.state.unwrap();
    let started = |record: &Record| match &record.change.event {
        Event::SessionStarted { session, justification: _ } => Some(session.session_id.clone()),
        _ => None,
    };
    let ids: Vec<_> = records.iter().filter_map(started).collect();
    assert!(ids.len() == 2 && ids[0] < ids[1], "{ids:?}");
}
