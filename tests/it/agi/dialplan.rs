//! The example dialplan, executed by an interpreter of its applications.

use std::collections::BTreeMap;

use super::{
    Center,
    asterisk::{Call, Ended},
};
use queuegate::pbx::asterisk::queues_conf::{self, Folder, Found};

use crate::wire::Passing;

const EXTENSIONS: &str = include_str!("../../../packaging/asterisk/extensions.conf");
const FREEPBX: &str = include_str!("../../../packaging/asterisk/freepbx.conf");
const QUEUES: &str = include_str!("../../../packaging/asterisk/queues.conf");

/// One step: an application, its arguments, and its label.
#[derive(Debug, Clone)]
struct Step {
    label: Option<String>,
    application: String,
    arguments: String,
}

/// The contexts. Each has its extensions in order, with their steps from priority 1.
type Dialplan = BTreeMap<String, Vec<(String, Vec<Step>)>>;

fn parse(text: &str) -> Dialplan {
    let mut dialplan = Dialplan::new();
    let mut context = String::new();
    for line in text.lines() {
        let line = line.split(';').next().unwrap().trim();
        if line.is_empty() {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            context = name.strip_suffix(']').unwrap().to_owned();
            dialplan.entry(context.clone()).or_default();
            continue;
        }
        if line.contains(",hint,") || line.starts_with("include =>") {
            continue;
        }
        let (key, value) = line.split_once("=>").unwrap();
        let extensions = dialplan.get_mut(&context).unwrap();
        let rest = match key.trim() {
            "exten" => {
                let (name, rest) = value.trim().split_once(',').unwrap();
                extensions.push((name.to_owned(), Vec::new()));
                rest
            }
            "same" => value.trim(),
            other => panic!("{other}"),
        };
        let (priority, call) = rest.split_once(',').unwrap();
        let steps = &mut extensions.last_mut().unwrap().1;
        let (number, label) =
            priority.split_once('(').map_or((priority, None), |(number, label)| (number, label.strip_suffix(')')));
        assert!(number == "n" && !steps.is_empty() || number == "1" && steps.is_empty(), "{line}");
        let (application, arguments) = call.split_once('(').unwrap();
        steps.push(Step {
            label: label.map(str::to_owned),
            application: application.to_owned(),
            arguments: arguments.strip_suffix(')').unwrap().to_owned(),
        });
    }
    dialplan
}

/// Tell whether an extension, or a pattern such as `_*13.`, matches the dialed digits.
fn matches(pattern: &str, dialed: &str) -> bool {
    let Some(pattern) = pattern.strip_prefix('_') else { return pattern == dialed };
    let mut letters = dialed.chars();
    for expected in pattern.chars() {
        match (expected, letters.next()) {
            ('.', Some(_)) => return true,
            ('X', Some(letter)) if letter.is_ascii_digit() => {}
            (expected, Some(letter)) if expected == letter => {}
            _ => return false,
        }
    }
    letters.next().is_none()
}

/// `${NAME}`, `${NAME:3}`, `${CHANNEL(endpoint)}`, `${FILTER(0-9*,…)}`, `${FIELDQTY(NAME,*)}`, `${CUT(NAME,*,2)}` and
/// `${DIALPLAN_EXISTS(…,1)}` for FreePBX's list of queues, the innermost first.
fn substituted(text: &str, variables: &BTreeMap<String, String>) -> String {
    let Some(start) = text.rfind("${") else { return text.to_owned() };
    let (before, after) = text.split_at(start);
    let (name, after) = after[2..].split_once('}').unwrap();
    let value = match name.strip_prefix("FILTER(0-9") {
        Some(rest) => {
            let (others, text) = rest.strip_suffix(')').unwrap().split_once(',').unwrap();
            text.chars().filter(|letter| letter.is_ascii_digit() || others.contains(*letter)).collect()
        }
        None if name.starts_with("FIELDQTY(") => {
            let (name, separator) = name[9..].trim_end_matches(')').split_once(',').unwrap();
            variables[name].split(separator).count().to_string()
        }
        None if name.starts_with("DIALPLAN_EXISTS(") => {
            let queue = name.split(',').nth(1).unwrap();
            u8::from(FREEPBX.contains(&format!("exten => {queue},1,Return()"))).to_string()
        }
        None if name.starts_with("CUT(") => {
            let (name, skip) = name.split_once(':').map_or((name, 0), |(name, skip)| (name, skip.parse().unwrap()));
            let [name, separator, field] =
                name[4..].trim_end_matches(')').split(',').collect::<Vec<_>>().try_into().unwrap();
            let part = variables[name].split(separator).nth(field.parse::<usize>().unwrap() - 1).unwrap_or_default();
            part[skip.min(part.len())..].to_owned()
        }
        None => {
            let (name, skip) = name.split_once(':').map_or((name, 0), |(name, skip)| (name, skip.parse().unwrap()));
            let value = variables.get(name).map(String::as_str).unwrap_or_default();
            value[skip.min(value.len())..].to_owned()
        }
    };
    substituted(&format!("{before}{value}{after}"), variables)
}

/// `"a" = "b" | "c" != "d"`, or a number.
fn holds(expression: &str) -> bool {
    expression.split(" | ").any(|part| {
        let (left, right, equal) = match part.split_once(" != ") {
            Some((left, right)) => (left, right, false),
            None => {
                let (left, right) = part.split_once(" = ").unwrap_or((part, "1"));
                (left, right, true)
            }
        };
        (left == right) == equal
    })
}

/// The outcome of an execution.
#[derive(Debug, Default)]
struct Walked {
    sounds: Vec<String>,
    applications: Vec<String>,
    variables: BTreeMap<String, String>,
}

/// Execute the dialplan from an extension to the end of the call.
async fn walk(center: &Center, context: &str, dialed: &str, agi: Call) -> Walked {
    let dialplan = parse(&format!(
        "{EXTENSIONS}\n{FREEPBX}\n[by-hand]\nexten => _X.,1,Gosub(queuegate-by-hand,s,1(${{EXTEN}}))\n"
    ));
    let steps = |context: &str, dialed: &str| -> Vec<Step> {
        let found = dialplan[context].iter().find(|(pattern, _)| matches(pattern, dialed));
        found.unwrap_or_else(|| panic!("there is no {dialed} in {context}")).1.clone()
    };
    let mut walked = Walked::default();
    walked.variables.extend(agi.variables.clone());
    walked.variables.insert("EXTEN".to_owned(), dialed.to_owned());
    // An earlier AGI call on the same channel left its status.
    walked.variables.insert("QUEUEGATE_STATUS".to_owned(), "allowed".to_owned());
    walked.variables.entry("AQMSTATUS".to_owned()).or_default();
    let endpoint = agi.channel.split_once('/').unwrap().1.rsplit_once('-').unwrap().0;
    walked.variables.insert("CHANNEL(endpoint)".to_owned(), endpoint.to_owned());
    let (mut here, mut at) = (steps(context, dialed), 0);
    while let Some(step) = here.get(at).cloned() {
        at += 1;
        let arguments = substituted(&step.arguments, &walked.variables);
        walked.applications.push(step.application.clone());
        match step.application.as_str() {
            "Answer" | "Queue" => {}
            "Hangup" | "Return" => break,
            "Set" => {
                let (name, value) = arguments.split_once('=').unwrap();
                walked.variables.insert(name.to_owned(), value.to_owned());
            }
            "Playback" => walked.sounds.push(arguments),
            "Gosub" => {
                // context,s,1(argument,argument)
                let (target, given) = arguments.split_once('(').unwrap();
                for (number, argument) in given.strip_suffix(')').unwrap().split(',').enumerate() {
                    walked.variables.insert(format!("ARG{}", number + 1), argument.to_owned());
                }
                let target: Vec<&str> = target.split(',').collect();
                (here, at) = (steps(target[0], target[1]), 0);
            }
            "Goto" => {
                let target: Vec<&str> = arguments.split(',').collect();
                match target[..] {
                    // FreePBX's own code.
                    ["ext-queues", ..] => {
                        walked.applications.push(arguments);
                        return walked;
                    }
                    [here_too, _] => (here, at) = (steps(context, here_too), 0),
                    _ => panic!("{arguments}"),
                }
            }
            "GotoIf" => {
                let (condition, label) = arguments.split_once('?').unwrap();
                if holds(condition.strip_prefix("$[").unwrap().strip_suffix(']').unwrap()) {
                    at = here.iter().position(|step| step.label.as_deref() == Some(label)).unwrap();
                }
            }
            "AddQueueMember" => {
                let (queue, interface) = arguments.split_once(',').unwrap();
                let status = center.pbx.add(queue, interface);
                walked.variables.insert("AQMSTATUS".to_owned(), status.to_owned());
            }
            "AGI" => {
                let script = arguments.strip_prefix("agi://127.0.0.1:4580/").unwrap().to_owned();
                let call = Call { script, variables: walked.variables.clone(), ..agi.clone() };
                let Ended { variables, sounds, .. } = center.dial(call).await;
                walked.variables = variables;
                walked.sounds.extend(sounds);
            }
            other => panic!("{other}"),
        }
    }
    if dialed == "gone" {
        // The channel is dead already.
        assert_eq!(walked.applications.last().map(String::as_str), Some("Return"));
        return walked;
    }
    assert_eq!(walked.applications.last().map(String::as_str), Some("Hangup"), "a call ends in the dialplan");
    if let Some(agi) = walked.applications.iter().position(|name| name == "AGI") {
        assert!(walked.applications[..agi].iter().any(|name| name == "Answer"));
        assert_eq!(walked.variables["TIMEOUT(absolute)"], "120");
    }
    walked
}

fn anna() -> Call {
    Call::from("101", "")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_with_a_lamp_toggles_and_watches_the_device_of_its_session() {
    let center = Center::open_with(true, |config| {
        config.manager.as_mut().unwrap().lamp = Some("Custom:QG_{extension}_{queue}".parse().unwrap());
    })
    .await;
    let (context, dialed) = ("queuegate-keys", "*19101*801");
    let hint = EXTENSIONS.lines().find_map(|line| line.split_once(",hint,")).unwrap();
    assert!(matches(hint.0.strip_prefix("exten => ").unwrap(), dialed));
    let device = substituted(hint.1, &BTreeMap::from([("EXTEN".to_owned(), dialed.to_owned())]));
    let walked = walk(&center, context, dialed, Call::from("101", "")).await;
    assert_eq!(walked.variables["QUEUEGATE_REASON"], "ASSIGNED");
    center.pbx.until_lit(&[&device]).await;
    let walked = walk(&center, context, dialed, Call::from("101", "")).await;
    assert_eq!(walked.variables["QUEUEGATE_REASON"], "SIGNED_OUT");
    center.pbx.until_lit(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_signs_in_and_out_by_the_codes() {
    let mut center = Center::open().await;
    for (dialed, sound, members) in [
        ("*13801", "agent-loginok", 1),
        ("*13801", "agent-loginok", 1),
        ("*14801", "agent-loggedoff", 0),
        ("*15801", "agent-loginok", 1),
        ("*15801", "agent-loggedoff", 0),
        ("*13899", "invalid", 0),
        // A phone can dial these too.
        ("*138&endpoint=102&queue=01", "invalid", 0),
        ("*13801&", "agent-loginok", 1),
    ] {
        let walked = walk(&center, "queuegate-codes", dialed, anna()).await;
        assert_eq!((&walked.sounds[..], center.pbx.members().len()), (&[sound.to_owned()][..], members), "{dialed}");
        assert!(center.agree().await);
    }
    let walked = walk(&center, "queuegate-codes", "*13", anna().dialing(&["801"])).await;
    assert_eq!(walked.sounds, ["vm-enter-num-to-call", "agent-loginok"]);
    assert!(center.agree().await && center.pbx.members().len() == 1);
    walk(&center, "queuegate-queues", "801", anna()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn freepbxs_code_is_queuegates_for_its_queues_and_for_the_own_phone() {
    let mut center =
        Center::open_as(|config| config.interface = "Local/{extension}@from-queue/n".parse().unwrap()).await;
    for (dialed, sound, members) in [
        ("*45801", "agent-loginok", 1),
        ("*45801", "agent-loggedoff", 0),
        ("*45101*801", "agent-loginok", 1),
        // The key of another phone, and a number that a phone makes up.
        ("*45102*801", "feature-not-avail-line", 1),
        ("*45102*101*801", "feature-not-avail-line", 1),
        ("*45", "agent-loggedoff", 0),
        ("*45*101", "agent-loginok", 1),
        ("*458&\"01", "agent-loggedoff", 0),
    ] {
        let walked = walk(&center, "queuegate-freepbx", dialed, anna()).await;
        assert_eq!((&walked.sounds[..], center.pbx.members().len()), (&[sound.to_owned()][..], members), "{dialed}");
        assert!(center.agree().await);
    }
    for dialed in ["*45850", "*45101*850", "*45801*850", "*458010"] {
        let walked = walk(&center, "queuegate-freepbx", dialed, anna()).await;
        let goes_on_at = format!("ext-queues,{dialed},1");
        assert_eq!(walked.applications.last(), Some(&goes_on_at), "{dialed}");
        assert!(!walked.applications.contains(&"AGI".to_owned()));
    }
    let hint = FREEPBX.lines().find_map(|line| line.split_once(",hint,")).unwrap();
    let device = substituted(hint.1, &BTreeMap::from([("EXTEN".to_owned(), "*45101*801".to_owned())]));
    assert_eq!(device, "Custom:QUEUE101*801");
}

/// AGISTATUS is SUCCESS when the handler closes without a reply, and an earlier call left QUEUEGATE_STATUS as
/// `allowed`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_result_lets_no_caller_in() {
    let mut center = Center::open_as(|config| config.max_calls = 0).await;
    for (context, dialed) in [("queuegate-codes", "*13801"), ("by-hand", "801")] {
        let walked = walk(&center, context, dialed, anna()).await;
        assert_eq!(
            (walked.variables["AGISTATUS"].as_str(), walked.variables["QUEUEGATE_STATUS"].as_str()),
            ("SUCCESS", "")
        );
        assert_eq!(walked.sounds, ["sorry-youre-having-problems"]);
        assert!(center.pbx.members().is_empty() && center.agree().await);
    }
    let nobody = Center { agi: super::Agi { address: "127.0.0.1:1".parse().unwrap(), ..center.agi }, ..center };
    let walked = walk(&nobody, "queuegate-codes", "*13801", anna()).await;
    assert_eq!(walked.sounds, ["sorry-youre-having-problems"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dialplan_can_add_the_member_itself() {
    let mut center = Center::open().await;
    let walked = walk_by_hand(&center, anna()).await;
    assert_eq!(
        (&walked.sounds[..], walked.variables["AQMSTATUS"].as_str()),
        (&["agent-loginok".to_owned()][..], "ADDED")
    );
    assert!(center.agree().await && center.pbx.members().len() == 1);
    // A refused caller is not added.
    let disabled = walk_by_hand(&center, Call::from("104", "")).await;
    assert_eq!(disabled.sounds, ["feature-not-avail-line"]);
    center.wire.set(Passing::Broken);
    let down = walk_by_hand(&center, Call::from("103", "")).await;
    assert_eq!(down.sounds, ["sorry-youre-having-problems"]);
    center.wire.set(Passing::Everything);
    assert!(center.agree().await && center.pbx.members().len() == 1);
    // If the PBX lacks the queue, there is neither a member nor a session.
    center.pbx.drop_queue("801");
    let walked = walk_by_hand(&center, Call::from("103", "")).await;
    assert_eq!(walked.sounds, ["sorry-youre-having-problems"]);
    assert_eq!(center.server.sessions().await.len(), 1);
}

/// After a hangup between the result and AddQueueMember, Asterisk skips the rest of the dialplan, and runs the hangup
/// handler.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_before_the_dialplan_adds_the_member_leaves_agreement() {
    let mut center = Center::open().await;
    let handler = "Set(CHANNEL(hangup_handler_push)=queuegate-by-hand,gone,1(${ARG1}))";
    assert!(EXTENSIONS.contains(handler));
    let gone = || Call { variables: [("ARG1".to_owned(), "801".to_owned())].into(), ..anna() };
    for members in [1, 0] {
        center.dial(Call::from("101", "sign-in?member=no&prompt=no&queue=801")).await;
        walk(&center, "queuegate-by-hand", "gone", gone()).await;
        assert!(center.agree().await && center.pbx.members().len() == members);
        // The second time the PBX has no such queue.
        center.dial(Call::from("101", "sign-out?queue=801")).await;
        center.pbx.drop_queue("801");
    }
}

/// `Gosub(queuegate-by-hand,s,1(801))`.
async fn walk_by_hand(center: &Center, call: Call) -> Walked {
    walk(center, "by-hand", "801", call).await
}

/// The example has the queues of its codes, without static members.
#[test]
fn the_example_queues_have_no_members_of_their_own() {
    // The fragment is appended to the package's file, which has that section.
    let file = Found { name: "queues.conf".to_owned(), bytes: format!("[general]\n{QUEUES}").into() };
    let reading = queues_conf::read(file, &Folder::of("packaging/asterisk/queues.conf".as_ref())).unwrap();
    assert!(reading.members.is_empty() && reading.left_out.is_empty(), "{reading:?}");
    for queue in ["[801](queuegate)", "[802](queuegate)", "persistentmembers = yes"] {
        assert!(QUEUES.contains(queue), "{queue}");
    }
}
