//! Fuzz tests of the command line's own decoders: archives, times, settings, arguments and configuration files.
//! `tests/it/fuzz` tests the other decoders.

#[path = "../../tests/it/fuzz/mutate.rs"]
mod mutate;

use std::{io::Cursor, path::Path};

use clap::{CommandFactory, Parser};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use self::mutate::{Mutator, Shown, share};
use super::{Cli, archive, args::Name, config, settings, when};
use crate::rpc::proto;

/// An archive of a few events, as `audit export` writes it.
fn written() -> Vec<String> {
    let mut previous = "0".repeat(64);
    let bodies = (1..=4).map(|number| {
        format!(
            r#"{{"revision":"00000000000000aa-00000001-{number:016x}","time_ms":1800000000000,"organization_id":"acme","caller":"ip:127.0.0.1","change":{{"justification":"a \"quoted\" \u00e9 {number}"}}"#
        )
    });
    let lines = bodies.map(|body| {
        let hash = Sha256::digest(format!("{previous}\n{body}}}"));
        let hash = HEXLOWER.encode(&hash);
        let line = format!("{body},\"previous_hash\":\"{previous}\",\"hash\":\"{hash}\"}}");
        previous = hash;
        line
    });
    lines.collect()
}

#[test]
fn an_archive_that_is_whole_has_only_lines_that_were_written() {
    let lines = written();
    let texts = [format!("{}\n", lines.join("\n")), format!("{}\n", lines[1..3].join("\n")), lines[0].clone()];
    let mut inputs = Mutator::new(4, texts);
    let tried = share(10);
    let mut whole = 0;
    for _ in 0..tried {
        let input = inputs.input();
        let _shown = Shown(&input);
        // Text that isn't UTF-8 can't be read.
        let Ok(found) = archive::read_from(Cursor::new(&input), Path::new("a.jsonl"), None) else { continue };
        let text = std::str::from_utf8(&input).unwrap_or_default();
        let believed: Vec<&str> = text.lines().take(found.events.try_into().unwrap()).collect();
        // Consecutive lines, in the original order.
        let from = believed.first().and_then(|first| lines.iter().position(|line| line == first)).unwrap_or_default();
        assert!(believed.iter().eq(lines[from..].iter().take(believed.len())), "an altered event was believed");
        assert!(found.fault.is_some() || believed.len() == text.lines().count());
        whole += usize::from(found.fault.is_none() && found.events > 0);
        archive::faults(&[found.clone(), found], Some(&lines[0]));
    }
    assert!(whole > 0 && whole < tried);
    println!("archives: {tried} texts, {whole} whole");
}

#[test]
fn any_argument_is_read_or_refused() {
    const COMMANDS: &[&str] = &[
        "check\next:101\next:801\n--organization\nacme\n--explain\n--json",
        "sign-in\nanna\nsales\n-o\nacme\n--channel\nagent-dashboard\n--device\ndesk 7",
        "supervisor-sign-in\nsam\nanna\nsales\n--ttl\n8h 30m\n--justification\npeak hours\n-o\nacme",
        "audit\nlist\n--at\n2026-11-22 9:03\n--user\next:103\n--denied\n--limit\n50\n-o\nacme",
        "audit\nlist\n--since\n90days\n--until\n2026-11-22T09:03:00+01:00\n-o\nacme",
        "settings\nset\nsupervisor.view_skills=true\norganization.unassigned_queue_sign_in=RESTRICTED\n-o\nacme",
        "permissions\ncheck\nsam\nsign-in-agents\nsupport\n-o\nacme",
        "user\nset\next:105\n--extension=\n--license=false\n--disabled\n--yes\n-o\nacme",
        "unassign\nanna\nsales\n--role\nagent\n--end-sessions\n-o\nacme",
        "top\n--metrics\n127.0.0.1:9464\n--interval\n250ms\n--once",
    ];
    const VALUES: &[&str] = &[
        "9:03",
        "2026-11-22",
        "2026-11-22T09:03:00Z",
        "-009999-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999Z",
        "90days",
        "18446744073709551615s",
        "supervisor.limit_to_assigned_queues=false",
        "agent.create_custom_tags=true",
        "organization.unassigned_queue_sign_in=ALLOWED",
    ];
    let (mut commands, mut values) =
        (Mutator::new(5, COMMANDS.iter().copied()), Mutator::new(6, VALUES.iter().copied()));
    let tried = share(10);
    let (mut read, mut times, mut set) = (0, 0, 0);
    for number in 0..tried {
        // Parsing a command takes a hundred times as long as anything else here.
        if number % 8 == 0 {
            let command = commands.text();
            let _shown = Shown(command.as_bytes());
            match Cli::try_parse_from(std::iter::once("queuegate").chain(command.split('\n'))) {
                Ok(_) => read += 1,
                Err(error) => assert!(!error.render().to_string().is_empty()),
            }
        }
        let value = values.text();
        let _shown = Shown(value.as_bytes());
        for found in [when::when(&value), when::past(&value)].into_iter().flatten() {
            times += 1;
            let (start, end) = (found.start(), found.end());
            assert!((start.seconds, start.nanos) < (end.seconds, end.nanos), "{found:?}");
        }
        if let Some((path, value)) = value.split_once('=') {
            set += usize::from(settings::set(&mut proto::PermissionSettings::default(), path, value).is_ok());
        }
        let Ok(name) = value.parse::<Name>();
        name.hint();
    }
    assert!(read > 0 && times > 0 && set > 0, "{read} {times} {set}");
    println!("arguments: {tried} texts; {read} were commands, {times} times, {set} settings");
}

#[test]
fn no_configuration_file_makes_the_program_fail_or_tells_a_secret() {
    const SECRET: &str = "qgt_aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF";
    let example = include_str!("../../packaging/systemd/queuegate.toml");
    let everything: String = example.lines().map(|line| format!("{}\n", line.trim_start_matches('#'))).collect();
    let mistaken = format!("tokens = \"{SECRET}\"\nlisten = \"{SECRET}\"\n{SECRET} = 1\nlog = {SECRET}\n");
    let values = "insecure = true\nmax-connections = 7\ntrace-share = \"0.5\"\nlog = \"\"\"\ninfo\"\"\"\n".to_owned();
    let corpus = [example.to_owned(), everything, mistaken, format!("listen = \"{SECRET}\"\n"), values];
    let mut inputs = Mutator::new(9, corpus);
    let command = Cli::command();
    let keys = config::keys(&command, "serve");
    let tried = share(4);
    let (mut read, mut accepted) = (0, 0);
    for number in 0..tried {
        let text = inputs.text();
        let _shown = Shown(text.as_bytes());
        let problem = match config::settings(&text, "serve", &keys) {
            Ok(settings) => {
                read += 1;
                assert!(settings.iter().all(|(key, _)| keys.contains_key(key)));
                // Parsing a command takes a hundred times as long as anything else here.
                if number % 8 > 0 {
                    continue;
                }
                let read = config::with(command.clone(), vec!["queuegate".into(), "serve".into()], &settings);
                match read.map_err(|error| config::in_one_line(&error)) {
                    Ok(_) => {
                        accepted += 1;
                        continue;
                    }
                    Err(problem) => problem,
                }
            }
            Err(problem) => problem,
        };
        let said = config::wrong(Path::new("queuegate.toml"), &problem).0;
        assert!(said.split("qgt_").skip(1).all(|rest| rest.starts_with("...")), "{said}");
    }
    assert!(read > 0 && accepted > 0 && read < tried, "{read} {accepted}");
    println!("configurations: {tried} texts; {read} were read, of which an eighth was tried and {accepted} accepted");
}
