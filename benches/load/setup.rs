//! What servers and callers need before they meet: a folder, a token, certificates, and an organization to ask about.

use std::{fmt::Write, fs, path::PathBuf, process::Command, sync::Arc};

use anyhow::{Context, bail};
use queuegate::rpc::proto::{Channel, CheckQueueAccessRequest, check_queue_access_request as check};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use tempfile::TempDir;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{Options, call::Question, process::Process};

/// The organization that is asked about.
pub const ORGANIZATION: &str = "bench";

/// How many queues a user is assigned to.
pub const ASSIGNMENTS: usize = 10;

/// How many different questions there are: far more than fit a processor's nearest caches with what they touch.
const QUESTIONS: usize = 4_096;

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
        let folder = tempfile::tempdir_in(&options.folder).context("can't make a folder for the databases")?;
        let tls = if options.tls { Some(Tls::new(&folder)?) } else { None };
        let mut setup = Self {
            program: options.program.clone(),
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

    /// The token file.
    pub fn tokens(&self) -> PathBuf {
        self.folder.path().join("tokens.toml")
    }

    /// Imports a document into a server.
    pub fn import(&self, server: &Process, organization_id: &str, document: &str) -> anyhow::Result<()> {
        let file = self.folder.path().join(format!("{organization_id}.yaml"));
        fs::write(&file, document)?;
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

/// A queue for every hundred users, and at least as many as a user has.
pub fn queues(users: usize) -> usize {
    (users / 100).max(ASSIGNMENTS)
}

/// A user's queue of this number, below [`ASSIGNMENTS`]. No user has one twice.
pub fn queue_of(user: usize, number: usize, queues: usize) -> usize {
    (user / 50 + number * (queues / ASSIGNMENTS)) % queues
}

/// Names and extensions are of one length, so that answers are of one size.
pub fn user_extension(user: usize) -> String {
    (20_000_000 + user).to_string()
}

/// See [`user_extension`].
pub fn queue_extension(queue: usize) -> String {
    (30_000_000 + queue).to_string()
}

/// An organization with so many users, as a document.
pub fn document(organization_id: &str, users: usize) -> anyhow::Result<String> {
    let queues = queues(users);
    let mut text = format!(
        "organization: {{ organization_id: {organization_id}, display_name: A contact center }}\n\
         settings: {{ organization: {{ unassigned_queue_sign_in: RESTRICTED }} }}\nqueues:\n"
    );
    for queue in 0..queues {
        let extension = queue_extension(queue);
        writeln!(
            text,
            "  - {{ queue_id: q{extension}, display_name: Queue {extension}, extension: {extension}, kind: CALL_QUEUE }}"
        )?;
    }
    text.push_str("users:\n");
    for user in 0..users {
        let extension = user_extension(user);
        let agent_of: Vec<String> =
            (0..ASSIGNMENTS).map(|number| format!("q{}", queue_extension(queue_of(user, number, queues)))).collect();
        writeln!(
            text,
            "  - {{ user_id: u{extension}, display_name: User {extension}, extension: {extension}, \
             contact_center_license: true, agent_of: [{}] }}",
            agent_of.join(", ")
        )?;
    }
    Ok(text)
}

/// Questions about random users and queues of theirs, by extension, as a PBX asks when *13 is dialed.
pub fn check_questions(users: usize) -> Vec<Question> {
    let queues = queues(users);
    // The same questions in every run.
    let mut random = StdRng::seed_from_u64(13);
    let mut chosen: Vec<usize> = (0..users).collect();
    chosen.shuffle(&mut random);
    let chosen = chosen.into_iter().cycle().take(QUESTIONS).enumerate();
    let requests = chosen.map(|(number, user)| CheckQueueAccessRequest {
        organization_id: ORGANIZATION.to_owned(),
        user: Some(check::User::UserExtension(user_extension(user))),
        queue: Some(check::Queue::QueueExtension(queue_extension(queue_of(user, number % ASSIGNMENTS, queues)))),
        channel: Channel::FeatureCode.into(),
        explain: false,
        at_least_revision: String::new(),
    });
    requests.map(|request| Question::new(crate::call::CHECK, &request)).collect()
}
