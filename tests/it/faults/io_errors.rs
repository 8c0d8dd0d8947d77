//! Any system call fails, once or permanently, for lack of space or because the disk is broken. The program's report on
//! each change stays true.

use std::{collections::BTreeMap, path::Path, process::Output};

use super::workload::{self, Said};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// The end of a run of the workload, and the number of changes that it reported as made.
#[derive(Debug)]
struct Run {
    end: &'static str,
    done: usize,
    refused: usize,
}

/// Runs the workload with one fault, and compares its reports with the content of a repaired disk.
fn run(folder: &Path, shim: &Path, fault: &str) -> Run {
    let data = folder.join(fault.replace(':', "-"));
    std::fs::create_dir(&data).unwrap();
    let output = workload::command(shim, &data).env("FAULTS_FAIL", fault).output().unwrap();
    let end = end(&output, fault);
    let said = workload::promises(&std::fs::read_to_string(data.join("acknowledged")).unwrap_or_default());
    let path = workload::database(&data);
    let store = super::open(&path).unwrap_or_else(|error| panic!("{fault}: {error}"));
    store.load().unwrap_or_else(|error| panic!("{fault}: {error}"));
    assert_eq!(workload::contradiction(&store, &said), None, "{fault}, which ended with {end}");
    drop(store);
    assert_eq!(super::unsound(&path), None, "{fault}");
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::remove_file(workload::history_of(&data)).unwrap_or_default();
    let count = |wanted: fn(&Said) -> bool| said.values().filter(|said| wanted(said)).count();
    Run { end, done: count(|said| matches!(said, Said::Done(_))), refused: count(|said| *said == Said::Refused) }
}

/// The end of the process: as requested, or with an error that explains it. Anything else is a panic.
fn end(output: &Output, fault: &str) -> &'static str {
    let text = String::from_utf8_lossy(&output.stdout);
    let ends = ["stopped", "failed: ", "not opened: ", "not started: "];
    let end = ends.into_iter().find(|end| text.lines().any(|line| line.starts_with(end)));
    assert!(output.status.success(), "{fault}: {text} {}", String::from_utf8_lossy(&output.stderr));
    end.unwrap_or_else(|| panic!("{fault}: {text}"))
}

/// The range of a campaign: `7` is every seventh call; `7 from write EIO once 1156` is only the later ones of them.
struct Asked {
    every: usize,
    from: Option<(String, usize)>,
}

impl Asked {
    fn read(text: &str) -> Self {
        let (every, from) = text.split_once(" from ").map_or((text, None), |(every, from)| (every, Some(from)));
        let from = from.map(|from| {
            let (series, number) = from.rsplit_once(' ').expect("a series and a number");
            (series.to_owned(), number.parse().expect("a number"))
        });
        Self { every: every.parse().expect("a number"), from }
    }
}

/// Calls fail in turn, up to the last one. `QUEUEGATE_IO_ERRORS=1` runs a campaign in which every call fails,
/// `QUEUEGATE_IO_ERRORS=7` one with every seventh; otherwise a few calls fail. To resume an interrupted campaign, give
/// its position: `QUEUEGATE_IO_ERRORS='1 from write EIO once 1156'`.
#[test]
fn whatever_call_fails_nothing_false_is_acknowledged() {
    let asked = std::env::var("QUEUEGATE_IO_ERRORS").ok().map(|text| Asked::read(&text));
    let every = asked.as_ref().map(|asked| asked.every);
    let mut from = asked.and_then(|asked| asked.from);
    let is_whole = from.is_none();
    let folder = super::folder();
    let shim = super::shim(folder.path());
    let mut ends: BTreeMap<(String, &str), usize> = BTreeMap::new();
    let (mut runs, mut refused) = (0, 0);
    for (kind, some) in [("write", 601), ("sync", 83), ("truncate", 19)] {
        let stride = every.unwrap_or(some);
        for (errno, name) in [(EIO, "EIO"), (ENOSPC, "ENOSPC")] {
            for how in ["once", "on"] {
                let series = format!("{kind} {name} {how}");
                let mut number = 1 + runs % stride;
                match from.take() {
                    Some((first, at)) if first == series => number = at,
                    Some(later) => {
                        from = Some(later);
                        continue;
                    }
                    None => {}
                }
                println!("{series}, after {runs} faults");
                loop {
                    let fault = format!("{kind}:{number}:{errno}:{how}");
                    let run = run(folder.path(), &shim, &fault);
                    runs += 1;
                    refused += run.refused;
                    *ends.entry((series.clone(), run.end)).or_default() += 1;
                    // The server uses a disk again once it has space, without a restart.
                    if kind == "write" && errno == ENOSPC && how == "once" && run.end == "stopped" {
                        assert!(run.done > 50, "{fault}: {run:?}");
                    }
                    // No call failed, so there are no more calls of this kind.
                    if run.end == "stopped" && run.refused == 0 && is_past_the_last(folder.path(), &shim, kind, number)
                    {
                        break;
                    }
                    number += stride;
                }
            }
        }
    }
    assert!(from.is_none(), "there is no such series");
    println!("{runs} faults, {refused} changes refused, and no false report");
    for ((fault, end), count) in &ends {
        println!("{fault:<22} {end:<14} {count}");
    }
    assert!(ends.keys().any(|(_, end)| *end == "failed: "));
    // Only writes without space are refused and can be retried; the rest of a campaign may have none.
    assert!(refused > 0 || !is_whole);
}

/// Whether the workload makes fewer calls of this kind than this number.
fn is_past_the_last(folder: &Path, shim: &Path, kind: &str, number: usize) -> bool {
    // Otherwise every later call of the kind would fail, and no change would succeed.
    run(folder, shim, &format!("{kind}:{number}:{EIO}:on")).end == "stopped"
}
