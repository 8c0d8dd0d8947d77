//! A peer that behaves as Asterisk 22 does towards a FastAGI server: `res_agi.c` and `app_queue.c`, as far as they show.
//!
//! What matters of them: HANGUP comes unasked, between replies, and once more when the server has closed; a channel that was
//! hung up answers 511 to what needs a caller, and carries out the rest; EXEC says 0 whatever AddQueueMember came to, which is
//! in AQMSTATUS; AGISTATUS is SUCCESS even if the server closed without a word; nothing has a timeout; and line ends in what was dialed
//! are sent as they are. `tests/asterisk/run` shows that an Asterisk does all this.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::{Semaphore, broadcast, watch},
};

/// How a member came to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    Static,
    Dynamic,
}

/// A change of a queue's members, as the manager's event tells it.
#[derive(Debug, Clone)]
pub struct Change {
    pub event: &'static str,
    pub queue: String,
    pub interface: String,
}

/// The PBX: its queues and their members.
pub struct Pbx {
    queues: Mutex<BTreeMap<String, BTreeMap<String, Membership>>>,
    /// Members that are paused, with the reason, and the penalties of those that have one.
    pub paused_members: Mutex<BTreeMap<(String, String), String>>,
    pub penalties: Mutex<BTreeMap<(String, String), u32>>,
    /// Every application that was executed, with its arguments.
    pub executed: Mutex<Vec<String>>,
    pub changes: broadcast::Sender<Change>,
    /// Whether `app_queue` is loaded. If it isn't, its applications set no variables.
    pub has_queue_applications: AtomicBool,
    /// How many calls wait ([`Mishap::Paused`]), and what each of them waits for.
    pub paused: watch::Sender<usize>,
    pub go_on: Semaphore,
    version: watch::Sender<u64>,
}

impl Pbx {
    pub fn new(queues: &[&str]) -> Arc<Self> {
        let queues = queues.iter().map(|queue| ((*queue).to_owned(), BTreeMap::new())).collect();
        Arc::new(Self {
            queues: Mutex::new(queues),
            paused_members: Mutex::default(),
            penalties: Mutex::default(),
            executed: Mutex::default(),
            changes: broadcast::channel(10_000).0,
            has_queue_applications: AtomicBool::new(true),
            paused: watch::channel(0).0,
            go_on: Semaphore::new(0),
            version: watch::channel(0).0,
        })
    }

    pub fn queue_names(&self) -> Vec<String> {
        self.queues.lock().unwrap().keys().cloned().collect()
    }

    pub fn members_of(&self, queue: &str) -> Option<BTreeMap<String, Membership>> {
        self.queues.lock().unwrap().get(queue).cloned()
    }

    /// Everybody who rings: a queue and an interface each.
    pub fn members(&self) -> BTreeSet<(String, String)> {
        let queues = self.queues.lock().unwrap();
        let members =
            queues.iter().flat_map(|(queue, members)| members.keys().map(|member| (queue.clone(), member.clone())));
        members.collect()
    }

    pub fn add_static(&self, queue: &str, interface: &str) {
        let mut queues = self.queues.lock().unwrap();
        queues.get_mut(queue).unwrap().insert(interface.to_owned(), Membership::Static);
    }

    pub fn add_queue(&self, queue: &str) {
        self.queues.lock().unwrap().entry(queue.to_owned()).or_default();
    }

    pub fn drop_queue(&self, queue: &str) {
        self.queues.lock().unwrap().remove(queue);
    }

    /// What AddQueueMember says of it in AQMSTATUS.
    pub fn add(&self, queue: &str, interface: &str) -> &'static str {
        let mut queues = self.queues.lock().unwrap();
        let Some(members) = queues.get_mut(queue) else { return "NOSUCHQUEUE" };
        if members.contains_key(interface) {
            return "MEMBERALREADY";
        }
        members.insert(interface.to_owned(), Membership::Dynamic);
        drop(queues);
        self.tell("QueueMemberAdded", queue, interface);
        "ADDED"
    }

    /// What RemoveQueueMember says of it in RQMSTATUS.
    pub fn remove(&self, queue: &str, interface: &str) -> &'static str {
        let mut queues = self.queues.lock().unwrap();
        let Some(members) = queues.get_mut(queue) else { return "NOSUCHQUEUE" };
        match members.get(interface) {
            None => return "NOTINQUEUE",
            Some(Membership::Static) => return "NOTDYNAMIC",
            Some(Membership::Dynamic) => members.remove(interface),
        };
        drop(queues);
        self.forget_standing(queue, interface);
        self.tell("QueueMemberRemoved", queue, interface);
        "REMOVED"
    }

    /// A removed member has neither a pause nor a penalty.
    fn forget_standing(&self, queue: &str, interface: &str) {
        let key = (queue.to_owned(), interface.to_owned());
        self.paused_members.lock().unwrap().remove(&key);
        self.penalties.lock().unwrap().remove(&key);
    }

    pub fn is_paused(&self, queue: &str, interface: &str) -> bool {
        self.paused_members.lock().unwrap().contains_key(&(queue.to_owned(), interface.to_owned()))
    }

    pub fn pause(&self, queue: &str, interface: &str, reason: &str) {
        self.paused_members.lock().unwrap().insert((queue.to_owned(), interface.to_owned()), reason.to_owned());
    }

    /// Asterisk forgets dynamic members when it is restarted, unless `persistentmembers` is set.
    pub fn forget_dynamic_members(&self) {
        for members in self.queues.lock().unwrap().values_mut() {
            members.retain(|_, membership| *membership == Membership::Static);
        }
        self.paused_members.lock().unwrap().clear();
        self.penalties.lock().unwrap().clear();
        self.version.send_modify(|version| *version += 1);
    }

    /// Waits until the members are these.
    pub async fn until_members(&self, expected: &[(&str, &str)]) {
        let expected: BTreeSet<_> =
            expected.iter().map(|(queue, member)| ((*queue).to_owned(), (*member).to_owned())).collect();
        let mut versions = self.version.subscribe();
        let come = versions.wait_for(|_| self.members() == expected);
        if tokio::time::timeout(super::PATIENCE, come).await.is_err() {
            panic!("the members are {:?}, and not {expected:?}", self.members());
        }
    }

    fn tell(&self, event: &'static str, queue: &str, interface: &str) {
        // Nobody may listen.
        let _ = self.changes.send(Change { event, queue: queue.to_owned(), interface: interface.to_owned() });
        self.version.send_modify(|version| *version += 1);
    }

    fn execute(&self, application: &str, arguments: &str, variables: &mut BTreeMap<String, String>) -> i32 {
        self.executed.lock().unwrap().push(format!("{application}({arguments})"));
        if !self.has_queue_applications.load(Ordering::SeqCst) {
            return -2;
        }
        let mut words = arguments.split(',');
        let (queue, interface) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match application {
            "AddQueueMember" => drop(variables.insert("AQMSTATUS".to_owned(), self.add(queue, interface).to_owned())),
            "RemoveQueueMember" => {
                drop(variables.insert("RQMSTATUS".to_owned(), self.remove(queue, interface).to_owned()));
            }
            "UnpauseQueueMember" => {
                let key = (queue.to_owned(), interface.to_owned());
                let is_member = self.members_of(queue).is_some_and(|members| members.contains_key(interface));
                self.paused_members.lock().unwrap().remove(&key);
                let status = if is_member { "UNPAUSED" } else { "NOTFOUND" };
                variables.insert("UPQMSTATUS".to_owned(), status.to_owned());
            }
            _ => return -2,
        }
        0
    }
}

/// What goes wrong in a call, and at which command, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mishap {
    #[default]
    None,
    /// The caller hangs up just before the command is carried out.
    HangUp(usize),
    /// The caller hangs up while the sound of the command is played, or digits are waited for.
    HangUpDuring(usize),
    /// The connection breaks before the command is carried out.
    Cut(usize),
    /// The connection breaks after it was carried out, before its reply.
    CutAfter(usize),
    /// Asterisk is stuck, and never replies.
    Stuck(usize),
    /// Asterisk takes its time, until [`Pbx::go_on`] lets it.
    Paused(usize),
    /// The environment never ends.
    HalfEnvironment,
}

/// A call.
#[derive(Debug, Clone, Default)]
pub struct Call {
    pub script: String,
    pub channel: String,
    pub arguments: Vec<String>,
    pub digits: VecDeque<String>,
    pub mishap: Mishap,
    /// What the dialplan set before.
    pub variables: BTreeMap<String, String>,
}

/// What came of it, as the dialplan sees it.
#[derive(Debug, Default)]
pub struct Ended {
    pub variables: BTreeMap<String, String>,
    pub sounds: Vec<String>,
    pub commands: Vec<String>,
}

impl Ended {
    pub fn get(&self, name: &str) -> &str {
        self.variables.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Status, reason and prompt.
    pub fn answer(&self) -> (&str, &str, &str) {
        (self.get("QUEUEGATE_STATUS"), self.get("QUEUEGATE_REASON"), self.get("QUEUEGATE_PROMPT"))
    }
}

impl Call {
    /// A call from an extension's own phone.
    pub fn from(extension: &str, script: &str) -> Self {
        let channel = format!("PJSIP/{extension}-0000002a");
        Self { script: script.to_owned(), channel, ..Self::default() }
    }

    pub fn with(mut self, mishap: Mishap) -> Self {
        self.mishap = mishap;
        self
    }

    pub fn dialing(mut self, digits: &[&str]) -> Self {
        self.digits = digits.iter().map(|digits| (*digits).to_owned()).collect();
        self
    }

    fn environment(&self, agi: SocketAddr) -> String {
        let mut text = format!(
            "agi_network: yes\nagi_network_script: {}\nagi_request: agi://{agi}/{}\n",
            self.script, self.script
        );
        text.push_str(&format!("agi_channel: {}\nagi_language: en\n", self.channel));
        text.push_str(&format!("agi_type: {}\n", self.channel.split('/').next().unwrap()));
        // The caller id is whatever the phone says; here it claims to be somebody else.
        text.push_str("agi_uniqueid: 1763790000.42\nagi_version: 22.6.0\nagi_callerid: 102\nagi_calleridname: Bo\n");
        text.push_str("agi_callingpres: 0\nagi_callingani2: 0\nagi_callington: 0\nagi_callingtns: 0\n");
        // Inside Gosub the extension is `s`.
        text.push_str(
            "agi_dnid: *13801\nagi_rdnis: unknown\nagi_context: queuegate\nagi_extension: s\nagi_priority: 4\n",
        );
        text.push_str("agi_enhanced: 0.0\nagi_accountcode: \nagi_threadid: 140245\n");
        for (number, argument) in self.arguments.iter().enumerate() {
            text.push_str(&format!("agi_arg_{}: {argument}\n", number + 1));
        }
        if self.mishap != Mishap::HalfEnvironment {
            text.push('\n');
        }
        text
    }

    /// Runs `AGI(agi://…)` until the server closes.
    pub async fn run(mut self, pbx: &Pbx, agi: SocketAddr) -> Ended {
        let mut ended = Ended { variables: std::mem::take(&mut self.variables), ..Ended::default() };
        let Ok(connection) = TcpStream::connect(agi).await else {
            ended.variables.insert("AGISTATUS".to_owned(), "FAILURE".to_owned());
            return ended;
        };
        connection.set_nodelay(true).unwrap();
        let (reader, mut writer) = connection.into_split();
        let mut lines = BufReader::new(reader).lines();
        let mut is_dead = false;
        // Whoever has closed is found out about when reading.
        let _ = writer.write_all(self.environment(agi).as_bytes()).await;
        while let Ok(Some(line)) = lines.next_line().await {
            let number = ended.commands.len();
            ended.commands.push(line.clone());
            match self.mishap {
                Mishap::HangUp(at) if at == number => {
                    is_dead = true;
                    let _ = writer.write_all(b"HANGUP\n").await;
                }
                Mishap::Cut(at) if at == number => return ended,
                Mishap::Paused(at) if at == number => {
                    pbx.paused.send_modify(|paused| *paused += 1);
                    pbx.go_on.acquire().await.unwrap().forget();
                    pbx.paused.send_modify(|paused| *paused -= 1);
                }
                Mishap::Stuck(at) if at == number => {
                    while let Ok(Some(_)) = lines.next_line().await {}
                    return ended;
                }
                _ => {}
            }
            let (reply, hung_up) = self.reply(&line, pbx, &mut ended, is_dead, number);
            if self.mishap == Mishap::CutAfter(number) {
                return ended;
            }
            let _ = writer.write_all(reply.as_bytes()).await;
            if hung_up {
                is_dead = true;
                let _ = writer.write_all(b"HANGUP\n").await;
            }
        }
        let _ = writer.write_all(b"HANGUP\n").await;
        // Even if the server said nothing.
        let status = if is_dead { "HANGUP" } else { "SUCCESS" };
        ended.variables.insert("AGISTATUS".to_owned(), status.to_owned());
        ended
    }

    /// The reply, and whether the caller has hung up meanwhile.
    fn reply(&mut self, line: &str, pbx: &Pbx, ended: &mut Ended, is_dead: bool, number: usize) -> (String, bool) {
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let hangs_up = self.mishap == Mishap::HangUpDuring(number);
        let dead = "511 Command Not Permitted on a dead channel or intercept routine\n".to_owned();
        match words.as_slice() {
            ["EXEC", application, rest @ ..] => {
                let result = pbx.execute(application, rest.first().unwrap_or(&""), &mut ended.variables);
                (format!("200 result={result}\n"), false)
            }
            ["GET", "VARIABLE", name] => match ended.variables.get(*name).filter(|value| !value.is_empty()) {
                Some(value) => (format!("200 result=1 ({value})\n"), false),
                None => ("200 result=0\n".to_owned(), false),
            },
            // Substituted as the dialplan does it.
            ["GET", "FULL", "VARIABLE", text] => {
                let mut text = text.replace("${CHANNEL(name)}", &self.channel);
                while let Some((before, rest)) = text.split_once("${") {
                    let (name, after) = rest.split_once('}').unwrap();
                    let value = ended.variables.get(name).map(String::as_str).unwrap_or_default();
                    text = format!("{before}{value}{after}");
                }
                (format!("200 result=1 ({text})\n"), false)
            }
            ["SET", "VARIABLE", name, value] => {
                ended.variables.insert((*name).to_owned(), (*value).to_owned());
                ("200 result=1\n".to_owned(), false)
            }
            ["STREAM", "FILE", ..] | ["GET", "DATA", ..] if is_dead => (dead, false),
            ["STREAM", "FILE", sound, _escape] => {
                ended.sounds.push((*sound).to_owned());
                if hangs_up {
                    ("200 result=-1 endpos=1600\n".to_owned(), true)
                } else {
                    ("200 result=0 endpos=8000\n".to_owned(), false)
                }
            }
            ["GET", "DATA", sound, _timeout, _most] => {
                ended.sounds.push((*sound).to_owned());
                if hangs_up {
                    return ("200 result=-1\n".to_owned(), true);
                }
                match self.digits.pop_front() {
                    Some(digits) => (format!("200 result={digits}\n"), false),
                    None => ("200 result= (timeout)\n".to_owned(), false),
                }
            }
            ["STREAM", ..] | ["GET", ..] | ["SET", ..] => (
                "520-Invalid command syntax.  Proper usage follows:\nUsage: …\n520 End of proper usage.\n".to_owned(),
                false,
            ),
            _ => ("510 Invalid or unknown command\n".to_owned(), false),
        }
    }
}

/// A command's words, as `parse_args` of `res_agi.c` reads them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut is_quoted, mut is_escaped) = (None::<String>, false, false);
    for letter in line.chars() {
        match letter {
            _ if is_escaped => {
                word.get_or_insert_default().push(letter);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            ' ' | '\t' if !is_quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}
