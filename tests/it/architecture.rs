//! The rooms of `ARCHITECTURE.md` import only the rooms that they may use.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    iter::Peekable,
    path::{Path, PathBuf},
};

/// A module's path from the root of its crate.
type Module = Vec<String>;

/// Modules with their files and their code.
type Modules = BTreeMap<Module, (PathBuf, String)>;

/// Each room, and the other rooms that it may use.
const ROOMS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("document", &["domain"]),
    ("store", &["domain"]),
    ("telemetry", &[]),
    ("state", &["domain", "store", "telemetry"]),
    ("auth", &["domain"]),
    ("rpc", &["domain", "document", "state", "store", "auth", "telemetry"]),
    ("console", &["domain", "auth", "rpc", "client"]),
    ("server", &["domain", "document", "store", "state", "auth", "rpc", "console", "telemetry"]),
    ("client", &["rpc"]),
    ("pbx", &["client", "domain", "rpc", "telemetry"]),
    ("cli", &["pbx", "auth", "client", "domain", "rpc", "console", "server", "state", "store", "telemetry"]),
];

/// Crates that only some rooms may use.
const OWNED: &[(&str, &[&str])] = &[
    ("rusqlite", &["store", "pbx"]),
    ("rustix", &["state", "server", "store"]),
    ("saphyr_parser", &["document"]),
    ("prost", &["rpc", "client", "cli"]),
    ("prost_types", &["rpc", "console", "cli"]),
    ("prost_reflect", &["cli", "rpc"]),
    ("axum", &["console", "server"]),
    ("maud", &["console"]),
    ("tonic", &["rpc", "console", "server", "client", "pbx", "cli"]),
    ("tonic_types", &["rpc", "console", "server", "client", "pbx", "cli"]),
    ("tokio", &["store", "state", "auth", "rpc", "console", "server", "client", "pbx", "cli"]),
    ("hyper", &["server", "pbx"]),
    ("flate2", &["server"]),
    ("tokio_rustls", &["server", "store", "pbx"]),
    ("rustls_native_certs", &["pbx"]),
    ("tokio_postgres", &["store"]),
    ("tokio_postgres_rustls", &["store"]),
    ("x509_parser", &["server"]),
    ("toml_edit", &["auth", "cli"]),
    ("subtle", &["auth"]),
    ("prometheus_client", &["telemetry"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("clap", &["cli"]),
    ("strsim", &["cli"]),
    ("ratatui", &["cli"]),
    ("crossterm", &["cli"]),
    ("jiff", &["auth", "cli"]),
    ("anyhow", &["cli"]),
    ("tracing", &["store", "state", "rpc", "console", "server", "pbx", "cli", "telemetry"]),
    ("tracing_subscriber", &["telemetry"]),
];

/// Names that the domain must not use.
const IMPURE: &[&str] = &["std::fs", "std::net", "std::thread", "std::env", "SystemTime", "Instant", "async fn"];

/// The Rust files of a folder, each with its module path and its code without tests and comments.
fn modules(folder: &Path) -> Modules {
    let module = |path: PathBuf| {
        let inside = path.strip_prefix(folder).unwrap().with_extension("");
        let mut names: Vec<String> = inside.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
        names.pop_if(|last| last == "mod");
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        (names, (path, lines.collect::<Vec<_>>().join("\n")))
    };
    let is_code =
        |path: &PathBuf| !["tests.rs", "fixture.rs", "lib.rs", "main.rs"].iter().any(|name| path.ends_with(name));
    sources(folder).into_iter().filter(is_code).map(module).collect()
}

fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| sources(&path)).filter(|path| path.extension().is_some_and(|e| e == "rs")).collect()
}

/// Every path of two names or more in some code, with the trees of `use` spelled out.
fn paths(code: &str) -> BTreeSet<Vec<String>> {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut words = code
        .split_inclusive(|letter| !is_name(letter))
        .map(|piece| piece.split_at(piece.trim_end_matches(|letter| !is_name(letter)).len()))
        .flat_map(|(name, sign)| [name, sign])
        .filter(|word| !word.trim().is_empty())
        .peekable();
    let mut found = BTreeSet::new();
    while words.peek().is_some() {
        tree(&mut words, &[], &mut found);
    }
    found
}

/// Read one path, or all paths of a group, behind `before`.
fn tree<'c>(words: &mut Peekable<impl Iterator<Item = &'c str>>, before: &[String], found: &mut BTreeSet<Vec<String>>) {
    let mut path = before.to_vec();
    loop {
        match words.next() {
            Some("{") if !path.is_empty() => {
                while words.peek().is_some_and(|word| *word != "}") {
                    tree(words, &path, found);
                    words.next_if_eq(&",");
                }
                words.next();
                return;
            }
            Some(name) if name.starts_with(|letter: char| letter.is_alphabetic() || letter == '_') => {
                path.push(name.to_owned());
            }
            Some(_) | None => break,
        }
        if words.next_if_eq(&":").is_none() || words.next_if_eq(&":").is_none() {
            break;
        }
    }
    if path.len() > 1 {
        found.insert(path);
    }
}

/// The modules that the code of a module names.
fn modules_used(modules: &Modules, module: &[String], code: &str) -> BTreeSet<Module> {
    let resolved = paths(code).into_iter().filter_map(|path| {
        let outer = path.iter().take_while(|name| *name == "super").count();
        let mut full = match path[0].as_str() {
            "crate" => Vec::new(),
            "self" | "super" => module[..module.len() - outer].to_vec(),
            name if modules.contains_key(&[module, &[name.to_owned()]].concat()) => module.to_vec(),
            _ => return None,
        };
        full.extend(path.into_iter().filter(|name| !["crate", "self", "super"].contains(&name.as_str())));
        // The last names are items of the module.
        (1..=full.len()).rev().map(|length| full[..length].to_vec()).find(|path| modules.contains_key(path))
    });
    resolved.filter(|used| used != module).collect()
}

/// The way from a module back to itself, or `None`.
fn circle(uses: &BTreeMap<Module, BTreeSet<Module>>) -> Option<Vec<String>> {
    fn visit<'u>(
        uses: &'u BTreeMap<Module, BTreeSet<Module>>,
        way: &mut Vec<&'u Module>,
        done: &mut BTreeSet<&'u Module>,
    ) -> bool {
        let last = way[way.len() - 1];
        for next in uses.get(last).into_iter().flatten() {
            let is_circle = way.contains(&next);
            way.push(next);
            if is_circle || (!done.contains(next) && visit(uses, way, done)) {
                return true;
            }
            way.pop();
        }
        done.insert(last);
        false
    }
    let mut done = BTreeSet::new();
    uses.keys().find_map(|start| {
        let mut way = vec![start];
        let is_circle = !done.contains(start) && visit(uses, &mut way, &mut done);
        let again = way[way.len() - 1];
        let from_itself = way.into_iter().skip_while(|module| *module != again);
        is_circle.then(|| from_itself.map(|module| module.join("::")).collect())
    })
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn a_room_uses_only_the_rooms_it_may() {
    let modules = modules(&source_folder());
    for (module, (path, code)) in &modules {
        let room = module[0].as_str();
        let (_, may_use) =
            ROOMS.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("no such room: {room}"));
        for used in modules_used(&modules, module, code) {
            let used = used[0].as_str();
            assert!(used == room || may_use.contains(&used), "{}: {room} may not use {used}", path.display());
        }
    }
}

#[test]
fn no_file_uses_itself_by_way_of_others() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "benches/load"] {
        let modules = modules(&root.join(folder));
        let uses =
            |(module, (_, code)): (&Module, &(PathBuf, String))| (module.clone(), modules_used(&modules, module, code));
        let uses: BTreeMap<_, _> = modules.iter().map(uses).collect();
        assert_eq!(circle(&uses), None, "a circle of imports in {folder}");
    }
}

#[test]
fn a_crate_is_used_only_in_the_rooms_that_own_it() {
    for (module, (path, code)) in modules(&source_folder()) {
        let used: BTreeSet<String> = paths(&code).into_iter().map(|path| path[0].clone()).collect();
        for (owned, rooms) in OWNED {
            let may_use = rooms.contains(&module[0].as_str());
            assert!(may_use || !used.contains(*owned), "{}: {} may not use {owned}", path.display(), module[0]);
        }
    }
}

#[test]
fn the_domain_is_pure() {
    for (module, (path, code)) in modules(&source_folder()) {
        if module[0] == "domain" {
            for impure in IMPURE {
                assert!(!code.contains(impure), "{}: the domain may not use {impure}", path.display());
            }
        }
    }
}

#[test]
fn the_checks_find_paths_modules_and_circles() {
    let names = |code: &str| paths(code).iter().map(|path| path.join("::")).collect::<Vec<_>>();
    let code = "use crate::{domain::{ids::X, time}, store};\nlet x = super::rpc::Y::<u8>(a.b, c::d);";
    assert_eq!(names(code), ["c::d", "crate::domain::ids::X", "crate::domain::time", "crate::store", "super::rpc::Y"]);
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
    let circle_of = |pairs: &[(&str, &str)]| {
        let mut uses: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
        for (from, to) in pairs {
            uses.entry(module(from)).or_default().insert(module(to));
        }
        circle(&uses)
    };
    assert_eq!(circle_of(&[("a", "b"), ("b", "c"), ("a", "c")]), None);
    let found = circle_of(&[("a", "b"), ("b", "c"), ("c", "b")]);
    assert_eq!(found, Some(["b", "c", "b"].map(str::to_owned).to_vec()));
    let modules = modules(&source_folder());
    let planner = module("domain::plan::planner");
    assert!(modules_used(&modules, &planner, &modules[&planner].1).contains(&module("domain::plan::changes")));
    assert!(modules.len() > 100);
}
