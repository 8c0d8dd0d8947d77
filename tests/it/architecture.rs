//! The rooms of `ARCHITECTURE.md` import only the rooms that they may use.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Each room, and the other rooms that it may use.
const ROOMS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("document", &["domain"]),
    ("store", &["domain"]),
    ("telemetry", &[]),
    ("state", &["domain", "store", "telemetry"]),
    ("auth", &["domain"]),
    ("rpc", &["domain", "document", "state", "store", "auth", "telemetry"]),
    ("server", &["domain", "document", "store", "state", "auth", "rpc", "telemetry"]),
    ("client", &["rpc"]),
    ("agi", &["client", "domain", "rpc"]),
    ("cli", &["agi", "auth", "client", "domain", "rpc", "server", "state", "store", "telemetry"]),
];

/// Crates that only some rooms may use.
const OWNED: &[(&str, &[&str])] = &[
    ("rusqlite", &["store"]),
    ("rustix", &["state", "server", "store"]),
    ("saphyr_parser", &["document"]),
    ("prost", &["rpc", "cli"]),
    ("prost_types", &["rpc", "cli"]),
    ("prost_reflect", &["cli", "rpc"]),
    ("tonic", &["rpc", "server", "client", "agi", "cli"]),
    ("tonic_types", &["rpc", "server", "agi", "cli"]),
    ("tokio", &["state", "auth", "rpc", "server", "agi", "cli"]),
    ("hyper", &["server"]),
    ("tokio_rustls", &["server"]),
    ("x509_parser", &["server"]),
    ("toml_edit", &["auth", "cli"]),
    ("subtle", &["auth"]),
    ("prometheus_client", &["telemetry"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("clap", &["cli"]),
    ("jiff", &["auth", "cli"]),
    ("anyhow", &["cli"]),
    ("tracing", &["state", "rpc", "server", "agi", "cli", "telemetry"]),
    ("tracing_subscriber", &["telemetry"]),
];

/// Names that the domain must not use.
const IMPURE: &[&str] = &["std::fs", "std::net", "std::thread", "std::env", "SystemTime", "Instant", "async fn"];

fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| sources(&path)).filter(|path| path.extension().is_some_and(|e| e == "rs")).collect()
}

fn room_files() -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for path in sources(&src) {
        let inside = path.strip_prefix(&src).unwrap();
        let room = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if room != "lib" && room != "main" {
            // Test modules may use everything.
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
            files.push((room, path, code));
        }
    }
    files
}

/// The rooms that a file names after `crate::`, in any notation.
fn rooms_used(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    for (index, _) in code.match_indices("crate::") {
        if code[..index].ends_with('$') {
            continue;
        }
        let rest = &code[index + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            // The names at the first level of `crate::{a::{..}, b}`.
            let mut depth = 0;
            let mut word = String::new();
            for letter in group.chars() {
                match letter {
                    '}' if depth == 0 => break,
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => used.extend(first_name(&std::mem::take(&mut word))),
                    letter if depth == 0 => word.push(letter),
                    _ => {}
                }
            }
            used.extend(first_name(&word));
        } else {
            used.extend(first_name(rest));
        }
    }
    used
}

fn first_name(path: &str) -> Option<String> {
    let name: String = path.trim().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    (!name.is_empty()).then_some(name)
}

#[test]
fn a_room_uses_only_the_rooms_it_may() {
    for (room, path, code) in room_files() {
        let (_, may_use) =
            ROOMS.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("no such room: {room}"));
        for used in rooms_used(&code) {
            assert!(used == room || may_use.contains(&used.as_str()), "{}: {room} may not use {used}", path.display());
        }
    }
}

#[test]
fn a_crate_is_used_only_in_the_rooms_that_own_it() {
    for (room, path, code) in room_files() {
        for (owned, rooms) in OWNED {
            let used = code.lines().any(|line| {
                let line = line.trim_start();
                !line.starts_with("//")
                    && line.match_indices(&format!("{owned}::")).any(|(index, _)| {
                        let before = line[..index].chars().next_back();
                        before.is_none_or(|before| !before.is_alphanumeric() && before != '_' && before != ':')
                    })
            });
            assert!(!used || rooms.contains(&room.as_str()), "{}: {room} may not use {owned}", path.display());
        }
    }
}

#[test]
fn the_domain_is_pure() {
    for (room, path, code) in room_files() {
        if room == "domain" {
            for impure in IMPURE {
                assert!(!code.contains(impure), "{}: the domain may not use {impure}", path.display());
            }
        }
    }
}

#[test]
fn the_check_sees_what_it_is_looking_for() {
    let names = |code: &str| rooms_used(code).into_iter().collect::<Vec<_>>();
    assert_eq!(
        names("use crate::{domain::{ids::X, time}, store};\nlet x = crate::rpc::Y;"),
        ["domain", "rpc", "store"]
    );
    assert_eq!(names("// crate::rpc\n$crate::cli::x"), Vec::<String>::new());
    assert!(room_files().len() > 40);
}
