//! The cost of the pure functions: `cargo bench --bench decide`.
//!
//! The organizations have a thousand, a hundred thousand and a million users, each with ten assignments. Requests are
//! chosen at random. A thousand repeated requests find their data in the processor's caches, and a hundred thousand
//! don't.

#[path = "shared/organization.rs"]
mod organization;

use std::{
    collections::HashMap,
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use criterion::{BenchmarkId, Criterion, Throughput};
use organization::{Plan, queue, queue_extension, queue_id, session, user, user_extension, user_id};
use queuegate::domain::{
    change::{Change, Event},
    decide::{AccessRequest, decide},
    ids::{Lineage, QueueId, QueueRef, UserId, UserRef},
    list::{accessible_queues, eligible_agents},
    model::{Queue, QueueKind, SignInChannel, User},
    settings::{Etag, PermissionSettings, UnassignedQueueSignIn},
    snapshot::{OrganizationState, Snapshot},
    time::Timestamp,
    vocabulary::Reason,
};
use rand::{SeedableRng, rngs::StdRng, seq::index::sample};

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The numbers of users.
const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

/// The number of requests whose data fits into the caches.
const FEW: usize = 1_024;

/// The number of requests whose data doesn't.
const MANY: usize = 100_000;

fn now() -> Timestamp {
    Timestamp::from_unix_ms(1_800_000_100_000)
}

/// An organization in memory, and the plan by which it was made.
struct TestOrganization {
    plan: Plan,
    snapshot: Snapshot,
}

/// A request in owned form.
type OwnedRequest = (UserRef, QueueRef, SignInChannel);

impl TestOrganization {
    fn new(users: usize) -> anyhow::Result<Self> {
        let start = Instant::now();
        let queues = (users / 50).max(20);
        let plan = Plan { organization_id: "bench".parse()?, users, queues, assignments: 10, sessions: users / 10 };
        let mut snapshot = Snapshot::empty(Lineage { store_id: 1, epoch: 1 });
        for change in plan.changes() {
            snapshot.apply(&change?)?;
        }
        eprintln!(
            "created {users} users and {queues} queues with {} changes in {:?}",
            plan.changes().count(),
            start.elapsed()
        );
        Ok(Self { plan, snapshot })
    }

    fn state(&self) -> anyhow::Result<&OrganizationState> {
        self.snapshot.organization(self.plan.organization_id.as_str()).context("no organization")
    }

    /// Choose users at random, the same ones in every run. Users repeat if there are too few.
    fn chosen(&self, count: usize) -> Vec<usize> {
        let users = self.plan.users;
        let mut chosen = sample(&mut StdRng::seed_from_u64(13), users, count.min(users)).into_vec();
        let once = chosen.clone();
        chosen.extend(once.into_iter().cycle().take(count - chosen.len()));
        chosen
    }

    /// Choose random users, and one queue of each, by id.
    fn by_id(&self, count: usize) -> anyhow::Result<Vec<OwnedRequest>> {
        self.requests(count, |user, queue| Ok((UserRef::Id(user_id(user)?), QueueRef::Id(queue_id(queue)?))))
    }

    /// Choose the same users and queues by extension, as a PBX does.
    fn by_extension(&self, count: usize) -> anyhow::Result<Vec<OwnedRequest>> {
        self.requests(count, |user, queue| {
            Ok((UserRef::Extension(user_extension(user)?), QueueRef::Extension(queue_extension(queue)?)))
        })
    }

    fn requests(
        &self,
        count: usize,
        named: impl Fn(usize, usize) -> anyhow::Result<(UserRef, QueueRef)>,
    ) -> anyhow::Result<Vec<OwnedRequest>> {
        let chosen = self.chosen(count).into_iter().enumerate();
        let requests = chosen.map(|(number, chosen)| {
            let (user, queue) = named(chosen, self.plan.queue_of(chosen, 1 + number % 9))?;
            Ok((user, queue, SignInChannel::FeatureCode))
        });
        requests.collect()
    }

    /// Return the state after one more change.
    fn after(&self, event: Event) -> anyhow::Result<Snapshot> {
        let mut snapshot = self.snapshot.clone();
        snapshot.apply(&self.change(event))?;
        Ok(snapshot)
    }

    fn change(&self, event: Event) -> Change {
        Change { organization_id: self.plan.organization_id.clone(), event }
    }
}

/// Measure decisions, all of which must have this reason.
fn decisions(
    group: &mut Group<'_>,
    id: BenchmarkId,
    state: &OrganizationState,
    requests: &[OwnedRequest],
    reason: Reason,
) -> anyhow::Result<()> {
    let answer =
        |(user, queue, channel): &OwnedRequest| decide(state, AccessRequest { user, queue, channel: *channel }, now());
    if let Some(other) = requests.iter().map(|request| answer(request).reason).find(|other| *other != reason) {
        return Err(anyhow!("a decision has the reason {other} instead of {reason}"));
    }
    let mut cycle = requests.iter().cycle();
    group.bench_function(id, |bencher| bencher.iter(|| black_box(cycle.next().map(answer)).is_some()));
    Ok(())
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

/// Measure the floor: one lookup in std's HashMap of the same users, and a comparison.
fn lookups(
    group: &mut Group<'_>,
    id: BenchmarkId,
    organization: &TestOrganization,
    requests: &[OwnedRequest],
) -> anyhow::Result<()> {
    let plan = &organization.plan;
    let queue_of = |number| anyhow::Ok((user_id(number)?, queue_id(plan.queue_of(number, 0))?));
    let map: HashMap<UserId, QueueId> = (0..plan.users).map(queue_of).collect::<Result<_, _>>()?;
    let mut cycle = requests.iter().cycle();
    group.bench_function(id, |bencher| {
        bencher.iter(|| {
            let Some((UserRef::Id(user), QueueRef::Id(queue), _)) = cycle.next() else { return None };
            Some(black_box(map.get(user))? == queue)
        });
    });
    Ok(())
}

/// Measure decisions in organizations of every size.
fn decide_by_size(criterion: &mut Criterion, organizations: &[TestOrganization]) -> anyhow::Result<()> {
    for (count, name) in [(FEW, "decide, 1,024 questions"), (MANY, "decide, 100,000 questions")] {
        let mut group = criterion.benchmark_group(name);
        for organization in organizations {
            let (users, state) = (organization.plan.users, organization.state()?);
            let (by_id, by_extension) = (organization.by_id(count)?, organization.by_extension(count)?);
            lookups(&mut group, BenchmarkId::new("floor: HashMap", users), organization, &by_id)?;
            decisions(&mut group, BenchmarkId::new("by id", users), state, &by_id, Reason::Assigned)?;
            decisions(&mut group, BenchmarkId::new("by extension", users), state, &by_extension, Reason::Assigned)?;
        }
    }
    Ok(())
}

/// Return a queue to which a user isn't assigned.
fn other_queue(plan: &Plan, user: usize) -> usize {
    (plan.queue_of(user, 0) + 1) % plan.queues
}

/// Measure decisions of each reason.
fn decide_by_reason(criterion: &mut Criterion, organization: &TestOrganization) -> anyhow::Result<()> {
    let (plan, users) = (&organization.plan, organization.plan.users);
    let mut changed = organization.snapshot.clone();
    let plain = |number| anyhow::Ok(User { contact_center_license: false, ..user(number)? });
    // Half of the users outside the plan are disabled, and the others have no role.
    for number in users..users + FEW {
        let user = User { disabled: number % 2 == 0, ..plain(number)? };
        changed.apply(&organization.change(Event::UserCreated { user }))?;
    }
    let ring_group = Queue { kind: QueueKind::RingGroup, ..queue(plan.queues)? };
    changed.apply(&organization.change(Event::QueueCreated { queue: ring_group }))?;
    let restricted = changed.clone();
    let before = *organization.state()?.settings();
    let mut settings: PermissionSettings = before;
    settings.unassigned_queue_sign_in = UnassignedQueueSignIn::Allowed;
    changed.apply(&organization.change(Event::SettingsUpdated { before, settings, etag: Etag(2) }))?;
    let (restricted, allowed) =
        [&restricted, &changed].map(|snapshot| snapshot.organization(plan.organization_id.as_str())).into();

    let chosen = organization.chosen(FEW);
    let beyond = || (users..users + FEW).cycle();
    let request = |user: usize, queue: usize| {
        Ok((UserRef::Id(user_id(user)?), QueueRef::Id(queue_id(queue)?), SignInChannel::FeatureCode))
    };
    let all = |requests: &mut dyn Iterator<Item = anyhow::Result<OwnedRequest>>| {
        requests.collect::<anyhow::Result<Vec<OwnedRequest>>>()
    };
    let cases = [
        (Reason::UnknownUser, all(&mut chosen.iter().map(|user| request(2 * users + user, 0)))?),
        (Reason::UserDisabled, all(&mut beyond().filter(|user| user % 2 == 0).take(FEW).map(|user| request(user, 0)))?),
        (Reason::UnknownQueue, all(&mut chosen.iter().map(|user| request(*user, 2 * plan.queues + user)))?),
        (Reason::QueueKindNotSupported, all(&mut chosen.iter().map(|user| request(*user, plan.queues)))?),
        (
            Reason::AgentRoleRequired,
            all(&mut beyond().filter(|user| user % 2 == 1).take(FEW).map(|user| {
                let (user, queue, _) = request(user, 0)?;
                Ok((user, queue, SignInChannel::AgentDashboard))
            }))?,
        ),
        (
            Reason::AlreadySignedIn,
            all(&mut chosen.iter().map(|user| user % plan.sessions).map(|user| request(user, plan.queue_of(user, 0))))?,
        ),
        (Reason::Assigned, all(&mut chosen.iter().map(|user| request(*user, plan.queue_of(*user, 1))))?),
        (Reason::UnassignedAllowed, all(&mut chosen.iter().map(|user| request(*user, other_queue(plan, *user))))?),
        (Reason::UnassignedRestricted, all(&mut chosen.iter().map(|user| request(*user, other_queue(plan, *user))))?),
    ];
    let mut group = criterion.benchmark_group(format!("decide by reason, {users} users"));
    for (reason, requests) in cases {
        let state = if reason == Reason::UnassignedAllowed { allowed } else { restricted };
        let state = state.context("no organization")?;
        decisions(&mut group, BenchmarkId::from_parameter(reason), state, &requests, reason)?;
    }
    Ok(())
}

/// Measure short lists, in organizations of every size.
fn lists(criterion: &mut Criterion, organizations: &[TestOrganization]) -> anyhow::Result<()> {
    let mut group = criterion.benchmark_group("lists");
    for organization in organizations {
        let (plan, state) = (&organization.plan, organization.state()?);
        let channel = SignInChannel::FeatureCode;
        let requests = organization.by_id(FEW)?;
        let mut users = requests.iter().cycle();
        group.throughput(Throughput::Elements(plan.assignments as u64));
        group.bench_function(BenchmarkId::new("accessible queues, 10", plan.users), |bencher| {
            bencher.iter(|| {
                let (user, ..) = users.next()?;
                Some(accessible_queues(state, user, channel, now(), None).count())
            });
        });
        let mut queues = requests.iter().cycle();
        let agents = eligible_agents(state, &requests.first().context("no requests")?.1, channel, now(), None).count();
        group.throughput(Throughput::Elements(agents as u64));
        group.bench_function(BenchmarkId::new(format!("eligible agents, {agents}"), plan.users), |bencher| {
            bencher.iter(|| {
                let (_, queue, _) = queues.next()?;
                Some(eligible_agents(state, queue, channel, now(), None).count())
            });
        });
    }
    Ok(())
}

/// Measure one change on a copy of the state. Like the writer, this keeps the state of before the change for readers.
fn changes(criterion: &mut Criterion, organizations: &[TestOrganization]) -> anyhow::Result<()> {
    let mut group = criterion.benchmark_group("apply");
    for organization in organizations {
        let plan = &organization.plan;
        let not_signed_in =
            organization.chosen(FEW).into_iter().map(|user| plan.sessions + user % (plan.users - plan.sessions));
        let sessions =
            not_signed_in.map(|user| anyhow::Ok(session(&plan.organization_id, user, plan.queue_of(user, 0))?));
        let started = sessions.map(|session| {
            anyhow::Ok(organization.change(Event::SessionStarted { session: session?, justification: String::new() }))
        });
        let started = started.collect::<anyhow::Result<Vec<_>>>()?;
        let renamed = organization.chosen(FEW).into_iter().map(|number| {
            let before = user(number)?;
            let user = User { display_name: "Renamed".into(), ..before.clone() };
            anyhow::Ok(organization.change(Event::UserUpdated { before, user }))
        });
        let renamed = renamed.collect::<anyhow::Result<Vec<_>>>()?;
        for (name, changes) in [("a session that begins", started), ("a user renamed", renamed)] {
            if let Some(change) = changes.first() {
                organization.after(change.event.clone())?;
            }
            let mut changes = changes.iter().cycle();
            group.bench_function(BenchmarkId::new(name, plan.users), |bencher| {
                bencher.iter(|| {
                    let mut working = organization.snapshot.clone();
                    changes.next().is_some_and(|change| working.apply(change).is_ok())
                });
            });
        }
    }
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1_500))
        .sample_size(30)
        .configure_from_args();
    let organizations = SIZES.into_iter().map(TestOrganization::new).collect::<anyhow::Result<Vec<_>>>()?;
    decide_by_size(&mut criterion, &organizations)?;
    decide_by_reason(&mut criterion, organizations.last().context("no sizes")?)?;
    lists(&mut criterion, &organizations)?;
    changes(&mut criterion, &organizations)?;
    criterion.final_summary();
    Ok(())
}
