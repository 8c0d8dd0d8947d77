//! A call: Asterisk's side of the AGI protocol.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::pbx::Pbx;

/// A failure during a call, at the command with a number from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mishap {
    #[default]
    None,
    /// The caller hangs up just before the command is carried out.
    HangUp(usize),
    /// The caller hangs up during the sound of the command, or before the digits.
    HangUpDuring(usize),
    /// The connection breaks before the command is carried out.
    Cut(usize),
    /// The connection breaks between the command and its reply.
    CutAfter(usize),
    /// Asterisk hangs, and never replies.
    Stuck(usize),
    /// Asterisk replies after a permit of [`Pbx::go_on`].
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
    /// The variables that the dialplan set before.
    pub variables: BTreeMap<String, String>,
}

/// The outcome of a call for the dialplan.
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

    /// Return the status, the reason and the prompt.
    pub fn answer(&self) -> (&str, &str, &str) {
        (self.get("QUEUEGATE_STATUS"), self.get("QUEUEGATE_REASON"), self.get("QUEUEGATE_PROMPT"))
    }
}

impl Call {
    /// Return a call from an extension's own phone.
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
        // The phone chooses the caller id. This one is another user's.
        text.push_str("agi_uniqueid: 1763790000.42\nagi_version: 22.6.0\nagi_callerid: 102\nagi_calleridname: Bo\n");
        text.push_str("agi_callingpres: 0\nagi_callingani2: 0\nagi_callington: 0\nagi_callingtns: 0\n");
        // Within Gosub the extension is `s`.
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

    /// Run `AGI(agi://…)` until the server closes the connection.
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
        // If the server has closed the connection, the read fails.
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
        // It is SUCCESS even if the server sent nothing.
        let status = if is_dead { "HANGUP" } else { "SUCCESS" };
        ended.variables.insert("AGISTATUS".to_owned(), status.to_owned());
        ended
    }

    /// Return the reply, and whether the caller has hung up.
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
            // Variables are substituted as in the dialplan.
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

/// Return the words of a command as `parse_args` of `res_agi.c` reads them.
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
