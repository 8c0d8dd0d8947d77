//! What the pure functions cost, in organizations of a thousand, a hundred thousand and a million users with ten assignments
//! each: `cargo bench --bench decide`. Every figure is of questions chosen at random: a thousand of them, again and again,
//! and a hundred thousand, which no cache near a processor holds with what they touch.

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

/// The binary's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

/// How many questions there are to one measurement.
const FEW: usize = 1_024;
const MANY: usize = 100_000;

fn now() -> Timestamp {
    Timestamp::from_unix_ms(1_800_000_100_000)
}

/// An organization of so many users.
struct World {
    plan: Plan,
    snapshot: Snapshot,
}

/// A question that is kept.
type Asked = (UserRef, QueueRef, SignInChannel);

impl World {
    fn new(users: usize) -> anyhow::Result<Self> {
        let began = Instant::now();
        let queues = (users / 50).max(20);
        let plan = Plan { organization_id: "bench".parse()?, users, queues, assignments: 10, sessions: users / 10 };
        let mut snapshot = Snapshot::empty(Lineage { store_id: 1, epoch: 1 });
        for change in plan.changes() {
            snapshot.apply(&change?)?;
        }
        eprintln!(
            "{users} users in {queues} queues, {} changes, made in {:?}",
            plan.changes().count(),
            began.elapsed()
        );
        Ok(Self { plan, snapshot })
    }

    fn organization(&self) -> anyhow::Result<&OrganizationState> {
        self.snapshot.organization(self.plan.organization_id.as_str()).context("no organization")
    }

    /// So many users, at random.
    fn chosen(&self, questions: usize) -> Vec<usize> {
        let users = self.plan.users;
        // The same in every run.
        let mut chosen = sample(&mut StdRng::seed_from_u64(13), users, questions.min(users)).into_vec();
        let once = chosen.clone();
        chosen.extend(once.into_iter().cycle().take(questions - chosen.len()));
        chosen
    }

    /// Questions about random users and a queue of theirs.
    fn by_id(&self, questions: usize) -> anyhow::Result<Vec<Asked>> {
        self.questions(questions, |user, queue| Ok((UserRef::Id(user_id(user)?), QueueRef::Id(queue_id(queue)?))))
    }

    /// The same, as dialed.
    fn by_extension(&self, questions: usize) -> anyhow::Result<Vec<Asked>> {
        self.questions(questions, |user, queue| {
            Ok((UserRef::Extension(user_extension(user)?), QueueRef::Extension(queue_extension(queue)?)))
        })
    }

    fn questions(
        &self,
        questions: usize,
        named: impl Fn(usize, usize) -> anyhow::Result<(UserRef, QueueRef)>,
    ) -> anyhow::Result<Vec<Asked>> {
        let chosen = self.chosen(questions).into_iter().enumerate();
        let asked = chosen.map(|(number, chosen)| {
            let (user, queue) = named(chosen, self.plan.queue_of(chosen, 1 + number % 9))?;
            Ok((user, queue, SignInChannel::FeatureCode))
        });
        asked.collect()
    }

    /// The organization after one more change.
    fn after(&self, event: Event) -> anyhow::Result<Snapshot> {
        let mut snapshot = self.snapshot.clone();
        snapshot.apply(&self.change(event))?;
        Ok(snapshot)
    }

    fn change(&self, event: Event) -> Change {
        Change { organization_id: self.plan.organization_id.clone(), event }
    }
}

/// Decides one question after another, and fails if one is not answered as it must be.
fn decisions(
    group: &mut Group<'_>,
    id: BenchmarkId,
    organization: &OrganizationState,
    asked: &[Asked],
    reason: Reason,
) -> anyhow::Result<()> {
    let answer =
        |(user, queue, channel): &Asked| decide(organization, AccessRequest { user, queue, channel: *channel }, now());
    if let Some(other) = asked.iter().map(|asked| answer(asked).reason).find(|other| *other != reason) {
        return Err(anyhow!("{other} where {reason} was to be measured"));
    }
    let mut questions = asked.iter().cycle();
    group.bench_function(id, |bencher| bencher.iter(|| black_box(questions.next().map(answer)).is_some()));
    Ok(())
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

/// The floor: one look into std's map of as many users, and a comparison.
fn lookups(group: &mut Group<'_>, id: BenchmarkId, world: &World, asked: &[Asked]) -> anyhow::Result<()> {
    let plan = &world.plan;
    let queue_of = |number| anyhow::Ok((user_id(number)?, queue_id(plan.queue_of(number, 0))?));
    let map: HashMap<UserId, QueueId> = (0..plan.users).map(queue_of).collect::<Result<_, _>>()?;
    let mut questions = asked.iter().cycle();
    group.bench_function(id, |bencher| {
        bencher.iter(|| {
            let Some((UserRef::Id(user), QueueRef::Id(queue), _)) = questions.next() else { return None };
            Some(black_box(map.get(user))? == queue)
        });
    });
    Ok(())
}

fn decide_by_size(criterion: &mut Criterion, worlds: &[World]) -> anyhow::Result<()> {
    for (questions, name) in [(FEW, "decide, 1,024 questions"), (MANY, "decide, 100,000 questions")] {
        let mut group = criterion.benchmark_group(name);
        for world in worlds {
            let (users, organization) = (world.plan.users, world.organization()?);
            let (by_id, by_extension) = (world.by_id(questions)?, world.by_extension(questions)?);
            lookups(&mut group, BenchmarkId::new("floor: HashMap", users), world, &by_id)?;
            decisions(&mut group, BenchmarkId::new("by id", users), organization, &by_id, Reason::Assigned)?;
            decisions(
                &mut group,
                BenchmarkId::new("by extension", users),
                organization,
                &by_extension,
                Reason::Assigned,
            )?;
        }
    }
    Ok(())
}

/// A queue that isn't one of a user's.
fn other_queue(plan: &Plan, user: usize) -> usize {
    (plan.queue_of(user, 0) + 1) % plan.queues
}

/// Every rule, in the largest organization.
fn decide_by_reason(criterion: &mut Criterion, world: &World) -> anyhow::Result<()> {
    let (plan, users) = (&world.plan, world.plan.users);
    let mut changed = world.snapshot.clone();
    let plain = |number| anyhow::Ok(User { contact_center_license: false, ..user(number)? });
    // Of users beyond the plan's some are disabled, and some have no role.
    for number in users..users + FEW {
        let user = User { disabled: number % 2 == 0, ..plain(number)? };
        changed.apply(&world.change(Event::UserCreated { user }))?;
    }
    let ring_group = Queue { kind: QueueKind::RingGroup, ..queue(plan.queues)? };
    changed.apply(&world.change(Event::QueueCreated { queue: ring_group }))?;
    let restricted = changed.clone();
    let before = *world.organization()?.settings();
    let mut settings: PermissionSettings = before;
    settings.unassigned_queue_sign_in = UnassignedQueueSignIn::Allowed;
    changed.apply(&world.change(Event::SettingsUpdated { before, settings, etag: Etag(2) }))?;
    let (restricted, allowed) =
        [&restricted, &changed].map(|snapshot| snapshot.organization(plan.organization_id.as_str())).into();

    let chosen = world.chosen(FEW);
    let beyond = || (users..users + FEW).cycle();
    let ask = |user: usize, queue: usize| {
        Ok((UserRef::Id(user_id(user)?), QueueRef::Id(queue_id(queue)?), SignInChannel::FeatureCode))
    };
    let all = |asked: &mut dyn Iterator<Item = anyhow::Result<Asked>>| asked.collect::<anyhow::Result<Vec<Asked>>>();
    let cases = [
        (Reason::UnknownUser, all(&mut chosen.iter().map(|user| ask(2 * users + user, 0)))?),
        (Reason::UserDisabled, all(&mut beyond().filter(|user| user % 2 == 0).take(FEW).map(|user| ask(user, 0)))?),
        (Reason::UnknownQueue, all(&mut chosen.iter().map(|user| ask(*user, 2 * plan.queues + user)))?),
        (Reason::QueueKindNotSupported, all(&mut chosen.iter().map(|user| ask(*user, plan.queues)))?),
        (
            Reason::AgentRoleRequired,
            all(&mut beyond().filter(|user| user % 2 == 1).take(FEW).map(|user| {
                let (user, queue, _) = ask(user, 0)?;
                Ok((user, queue, SignInChannel::AgentDashboard))
            }))?,
        ),
        (
            Reason::AlreadySignedIn,
            all(&mut chosen.iter().map(|user| user % plan.sessions).map(|user| ask(user, plan.queue_of(user, 0))))?,
        ),
        (Reason::Assigned, all(&mut chosen.iter().map(|user| ask(*user, plan.queue_of(*user, 1))))?),
        (Reason::UnassignedAllowed, all(&mut chosen.iter().map(|user| ask(*user, other_queue(plan, *user))))?),
        (Reason::UnassignedRestricted, all(&mut chosen.iter().map(|user| ask(*user, other_queue(plan, *user))))?),
    ];
    let mut group = criterion.benchmark_group(format!("decide by reason, {users} users"));
    for (reason, asked) in cases {
        let organization = if reason == Reason::UnassignedAllowed { allowed } else { restricted };
        let organization = organization.context("no organization")?;
        decisions(&mut group, BenchmarkId::from_parameter(reason), organization, &asked, reason)?;
    }
    Ok(())
}

/// Lists of a few, in organizations of every size.
fn lists(criterion: &mut Criterion, worlds: &[World]) -> anyhow::Result<()> {
    let mut group = criterion.benchmark_group("lists");
    for world in worlds {
        let (plan, organization) = (&world.plan, world.organization()?);
        let channel = SignInChannel::FeatureCode;
        let asked = world.by_id(FEW)?;
        let mut users = asked.iter().cycle();
        group.throughput(Throughput::Elements(plan.assignments as u64));
        group.bench_function(BenchmarkId::new("accessible queues, 10", plan.users), |bencher| {
            bencher.iter(|| {
                let (user, ..) = users.next()?;
                Some(accessible_queues(organization, user, channel, now(), None).count())
            });
        });
        let mut queues = asked.iter().cycle();
        let agents =
            eligible_agents(organization, &asked.first().context("no questions")?.1, channel, now(), None).count();
        group.throughput(Throughput::Elements(agents as u64));
        group.bench_function(BenchmarkId::new(format!("eligible agents, {agents}"), plan.users), |bencher| {
            bencher.iter(|| {
                let (_, queue, _) = queues.next()?;
                Some(eligible_agents(organization, queue, channel, now(), None).count())
            });
        });
    }
    Ok(())
}

/// One change on a copy of the state, as the writer makes it, while the state before is still read.
fn changes(criterion: &mut Criterion, worlds: &[World]) -> anyhow::Result<()> {
    let mut group = criterion.benchmark_group("apply");
    for world in worlds {
        let plan = &world.plan;
        let not_signed_in =
            world.chosen(FEW).into_iter().map(|user| plan.sessions + user % (plan.users - plan.sessions));
        let sessions =
            not_signed_in.map(|user| anyhow::Ok(session(&plan.organization_id, user, plan.queue_of(user, 0))?));
        let started = sessions.map(|session| {
            anyhow::Ok(world.change(Event::SessionStarted { session: session?, justification: String::new() }))
        });
        let started = started.collect::<anyhow::Result<Vec<_>>>()?;
        let renamed = world.chosen(FEW).into_iter().map(|number| {
            let before = user(number)?;
            let user = User { display_name: "Renamed".into(), ..before.clone() };
            anyhow::Ok(world.change(Event::UserUpdated { before, user }))
        });
        let renamed = renamed.collect::<anyhow::Result<Vec<_>>>()?;
        for (what, changes) in [("a session that begins", started), ("a user renamed", renamed)] {
            if let Some(change) = changes.first() {
                world.after(change.event.clone())?;
            }
            let mut changes = changes.iter().cycle();
            group.bench_function(BenchmarkId::new(what, plan.users), |bencher| {
                bencher.iter(|| {
                    let mut working = world.snapshot.clone();
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
    let worlds = SIZES.into_iter().map(World::new).collect::<anyhow::Result<Vec<_>>>()?;
    decide_by_size(&mut criterion, &worlds)?;
    decide_by_reason(&mut criterion, worlds.last().context("no sizes")?)?;
    lists(&mut criterion, &worlds)?;
    changes(&mut criterion, &worlds)?;
    criterion.final_summary();
    Ok(())
}
