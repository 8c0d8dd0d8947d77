//! What servers and callers need before they meet: a folder, a token, certificates, and an organization to ask about.

#[path = "../shared/organization.rs"]
pub mod organization;

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context, bail};
use organization::{Plan, queue_extension, queue_id, user_extension, user_id};
use queuegate::{
    domain::model::{Queue, User},
    rpc::proto::{
        BatchCheckQueueAccessRequest, Channel, CheckQueueAccessItem, CheckQueueAccessRequest, SignInRequest,
        SignOutRequest, check_queue_access_item as item, check_queue_access_request as check, sign_in_request,
        sign_out_request,
    },
};
use rand::{SeedableRng, rngs::StdRng, seq::index};
use tempfile::TempDir;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{
    Options,
    call::{self, CheckCall},
    process::Process,
};

/// The organization that is asked about.
pub const ORGANIZATION: &str = "bench";

/// How many queues a user is assigned to.
pub const ASSIGNMENTS: usize = 10;

/// How many different questions there are: far more than fit a processor's nearest caches with what they touch.
pub const QUESTIONS: usize = 4_096;

/// How many questions a batch may hold.
pub const BATCH: usize = 1_000;

/// What a run has.
pub struct Setup {
    pub folder: TempDir,
    pub program: PathBuf,
    pub token: String,
    pub tls: Option<Tls>,
    pub flags: Vec<String>,
    pub pin: bool,
}

/// A certificate for this machine, and how to believe it.
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client: Arc<ClientConfig>,
}

impl Setup {
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        Self::of(options, &options.program)
    }

    /// The same, of another program.
    pub fn of(options: &Options, program: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(&options.folder).context("can't make a folder for the databases")?;
        let tls = if options.tls { Some(Tls::new(&folder)?) } else { None };
        let mut setup = Self {
            program: program.to_owned(),
            token: String::new(),
            tls,
            flags: options.flags.clone(),
            pin: options.pin,
            folder,
        };
        let tokens = setup.tokens();
        let made = setup.command(["token", "new", "bench", "--scope", "admin", "--tokens"], [&tokens])?;
        setup.token = made.trim().to_owned();
        Ok(setup)
    }

    /// Starts the program on a database with an organization. It was started anew after the import, whose memory isn't in
    /// its peak.
    pub fn queuegate(&self, database: &str, plan: &Plan) -> anyhow::Result<Process> {
        let database = self.folder.path().join(database);
        let server = Process::queuegate(self, &database)?;
        self.import(&server, plan)?;
        server.stop()?;
        Process::queuegate(self, &database)
    }

    /// The token file.
    pub fn tokens(&self) -> PathBuf {
        self.folder.path().join("tokens.toml")
    }

    /// Makes an organization of a server by an import.
    pub fn import(&self, server: &Process, plan: &Plan) -> anyhow::Result<()> {
        let organization_id = plan.organization_id.as_str();
        let file = self.folder.path().join("organization.yaml");
        fs::write(&file, document(plan)?)?;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://{}", server.address());
        let mut arguments = vec!["import".into(), file.into_os_string()];
        arguments.extend(["--server", &address, "--organization", organization_id].map(Into::into));
        if let Some(tls) = &self.tls {
            arguments.extend(["--ca".into(), tls.certificate.clone().into_os_string()]);
        }
        self.command(Vec::<String>::new(), arguments).map(drop)
    }

    /// Runs a command of the program, and says what it printed.
    fn command<A: AsRef<std::ffi::OsStr>, B: AsRef<std::ffi::OsStr>>(
        &self,
        first: impl IntoIterator<Item = A>,
        then: impl IntoIterator<Item = B>,
    ) -> anyhow::Result<String> {
        let ran = Command::new(&self.program).args(first).args(then).env("QUEUEGATE_TOKEN", &self.token).output()?;
        if !ran.status.success() {
            bail!("{}: {}", self.program.display(), String::from_utf8_lossy(&ran.stderr));
        }
        Ok(String::from_utf8(ran.stdout)?)
    }
}

impl Tls {
    fn new(folder: &TempDir) -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
        fs::write(&certificate, made.cert.pem())?;
        fs::write(&key, made.signing_key.serialize_pem())?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&certificate)?)?;
        let mut client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { certificate, key, client: Arc::new(client) })
    }
}

/// An organization with so many users, a queue for every hundred of them, and ten queues for every user.
pub fn plan(users: usize) -> anyhow::Result<Plan> {
    let queues = (users / 100).max(ASSIGNMENTS);
    Ok(Plan { organization_id: ORGANIZATION.parse()?, users, queues, assignments: ASSIGNMENTS, sessions: 0 })
}

/// The same as a document.
fn document(plan: &Plan) -> anyhow::Result<String> {
    let Plan { organization_id, users, queues, assignments, sessions: _ } = plan;
    let mut text = format!(
        "organization: {{ organization_id: {organization_id}, display_name: A contact center }}\n\
         settings: {{ organization: {{ unassigned_queue_sign_in: RESTRICTED }} }}\nqueues:\n"
    );
    for number in 0..*queues {
        let Queue { queue_id, display_name, .. } = organization::queue(number)?;
        let extension = queue_extension(number)?;
        writeln!(
            text,
            "  - {{ queue_id: {queue_id}, display_name: {display_name}, extension: {extension}, kind: CALL_QUEUE }}"
        )?;
    }
    text.push_str("users:\n");
    for number in 0..*users {
        let User { user_id, display_name, .. } = organization::user(number)?;
        let agent_of: Vec<String> = (0..*assignments)
            .map(|assignment| Ok(queue_id(plan.queue_of(number, assignment))?.to_string()))
            .collect::<anyhow::Result<_>>()?;
        writeln!(
            text,
            "  - {{ user_id: {user_id}, display_name: {display_name}, extension: {}, \
             contact_center_license: true, agent_of: [{}] }}",
            user_extension(number)?,
            agent_of.join(", ")
        )?;
    }
    Ok(text)
}

/// Users at random, the same in every run, none twice while there are enough.
pub fn random_users(users: usize, amount: usize) -> impl Iterator<Item = usize> {
    let chosen = index::sample(&mut StdRng::seed_from_u64(13), users, amount.min(users)).into_vec();
    chosen.into_iter().cycle().take(amount)
}

/// Questions about random users and queues of theirs, by extension, as a PBX asks when *13 is dialed.
pub fn check_questions(plans: &[Plan]) -> anyhow::Result<Vec<CheckCall>> {
    let chosen =
        plans.iter().map(|plan| random_users(plan.users, QUESTIONS / plans.len() + 1).map(move |user| (plan, user)));
    let requests = chosen.flatten().enumerate().map(|(number, (plan, user))| {
        let queue = plan.queue_of(user, 1 + number % (plan.assignments - 1));
        anyhow::Ok(CheckQueueAccessRequest {
            organization_id: plan.organization_id.to_string(),
            user: Some(check::User::UserExtension(user_extension(user)?.to_string())),
            queue: Some(check::Queue::QueueExtension(queue_extension(queue)?.to_string())),
            channel: Channel::FeatureCode.into(),
            explain: false,
            at_least_revision: String::new(),
        })
    });
    requests.map(|request| Ok(CheckCall::new(call::CHECK, &request?))).collect()
}

/// Batches of as many questions as a batch may hold.
pub fn batch_questions(plan: &Plan) -> anyhow::Result<Vec<CheckCall>> {
    let items = random_users(plan.users, 64 * BATCH).enumerate().map(|(number, user)| {
        let queue = plan.queue_of(user, 1 + number % (plan.assignments - 1));
        Ok(CheckQueueAccessItem {
            correlation_id: String::new(),
            user: Some(item::User::UserExtension(user_extension(user)?.to_string())),
            queue: Some(item::Queue::QueueExtension(queue_extension(queue)?.to_string())),
            channel: Channel::FeatureCode.into(),
        })
    });
    let items = items.collect::<anyhow::Result<Vec<_>>>()?;
    let batches = items.chunks(BATCH).map(|items| {
        let organization_id = plan.organization_id.to_string();
        let request =
            BatchCheckQueueAccessRequest { organization_id, items: items.to_vec(), at_least_revision: String::new() };
        CheckCall::new(call::BATCH, &request)
    });
    Ok(batches.collect())
}

/// The same changes, but so that everybody signs in before anybody signs out: whoever asks at a fixed rate doesn't wait for
/// one to be done before the other.
pub fn distant_changes(plan: &Plan, users: usize) -> anyhow::Result<Vec<CheckCall>> {
    let (mut sign_ins, sign_outs): (Vec<_>, Vec<_>) =
        changes(plan, users)?.into_iter().partition(|question| question.path == call::SIGN_IN);
    sign_ins.extend(sign_outs);
    Ok(sign_ins)
}

/// Sign-ins of random users to the first of their queues, each followed by the user's sign-out, so that each is a change.
pub fn changes(plan: &Plan, users: usize) -> anyhow::Result<Vec<CheckCall>> {
    let pairs = random_users(plan.users, users).map(|user| {
        let (organization_id, queue) =
            (plan.organization_id.to_string(), queue_id(plan.queue_of(user, 0))?.to_string());
        let user = user_id(user)?.to_string();
        let sign_in = SignInRequest {
            organization_id: organization_id.clone(),
            user: Some(sign_in_request::User::UserId(user.clone())),
            queue: Some(sign_in_request::Queue::QueueId(queue.clone())),
            channel: Channel::FeatureCode.into(),
            device: String::new(),
            request_id: String::new(),
        };
        let sign_out = SignOutRequest {
            organization_id,
            user: Some(sign_out_request::User::UserId(user)),
            queue: Some(sign_out_request::Queue::QueueId(queue)),
            all_queues: false,
            request_id: String::new(),
        };
        anyhow::Ok([CheckCall::new(call::SIGN_IN, &sign_in), CheckCall::new(call::SIGN_OUT, &sign_out)])
    });
    Ok(pairs.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}
