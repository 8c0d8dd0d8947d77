//! Fuzz tests of import documents: a document without problems is the same after writing and reading.

use std::time::{Duration, Instant};

use queuegate::{
    document::{Format, Reading, read, write_all},
    domain::{directory::Directory, settings::PermissionSettings, text::is_hidden},
};

use super::{
    memory_is_bounded,
    mutate::{Mutator, Shown, share},
};

const CORPUS: &[&str] = &[
    include_str!("../../../examples/acme.yaml"),
    "organization: { organization_id: acme, display_name: \"Acme \\\"Support\\\"\" }\nsettings:\n  organization: { unassigned_queue_sign_in: RESTRICTED }\n  supervisor:\n    limit_to_assigned_queues: false\nqueues:\n  - { queue_id: no, extension: 0801, kind: CALL_QUEUE }\nusers:\n  - user_id: \"7\"\n    display_name: Åsa\n    extension: 101\n    contact_center_license: true\n    roles: [CONTACT_ADMIN]\n    agent_of: [no]\n",
    r#"{"organization": {"display_name": "A"}, "settings": {"agent": {"create_custom_tags": true}}, "queues": [{"queue_id": "q", "extension": "1", "kind": "INBOX"}], "users": [{"user_id": 7, "display_name": "\ud83d\ude00", "extension": 12, "disabled": true, "roles": ["AGENT"], "agent_of": ["q"], "supervisor_of": []}]}"#,
    "queues:\n- queue_id: q\n  kind: |-\n    CAMPAIGN\n  display_name: >\n    folded\n    text\nusers:\n- ? user_id\n  : a\n  display_name: 'it''s'\n",
];

fn without_lines(mut directory: Directory) -> Directory {
    directory.queues.iter_mut().for_each(|queue| queue.line = 0);
    directory.users.iter_mut().for_each(|user| user.line = 0);
    directory
}

/// The content of a document without problems.
fn said(text: &str) -> Option<(Directory, PermissionSettings)> {
    let Reading { directory, problems } = read(text);
    let settings = directory.settings.applied_to(PermissionSettings::default());
    problems.is_empty().then(|| (without_lines(directory), settings))
}

fn check(text: &str) -> bool {
    let _shown = Shown(text.as_bytes());
    let Reading { directory, problems } = read(text);
    for problem in &problems {
        let size = problem.description.len() + problem.path.len();
        assert!(size < 4_000 && !problem.description.is_empty(), "{problem:?}");
    }
    if !problems.is_empty() {
        return false;
    }
    let settings = directory.settings.applied_to(PermissionSettings::default());
    let directory = without_lines(directory);
    for format in [Format::Yaml, Format::Json] {
        let written = write_all(&directory, &settings, format);
        let (again, again_settings) =
            said(&written).unwrap_or_else(|| panic!("{:?}: {written}", read(&written).problems));
        assert_eq!(again_settings, settings, "{written}");
        assert_eq!((&again.queues, &again.users), (&directory.queues, &directory.users), "{written}");
        assert_eq!(again.organization_id, directory.organization_id);
        assert_eq!(again.display_name.unwrap_or_default(), directory.display_name.clone().unwrap_or_default());
    }
    // JSON is also YAML, and must have the same meaning there. The comment prevents its detection as JSON. YAML may be
    // unable to read it, because it has no `\ud83d\ude00`.
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
        && let Some((as_yaml, settings_as_yaml)) = said(&format!("#\n{text}"))
    {
        assert_eq!((as_yaml.queues, as_yaml.users), (directory.queues, directory.users));
        assert_eq!(settings_as_yaml, settings);
    }
    true
}

#[test]
fn a_document_that_is_read_is_written_so_that_it_reads_the_same() {
    let mut inputs = Mutator::new(2, CORPUS.iter().copied());
    let mut slowest = Duration::ZERO;
    let mut good = 0;
    let tried = share(15);
    for _ in 0..tried {
        let text = inputs.text();
        let begun = Instant::now();
        good += usize::from(check(&text));
        slowest = slowest.max(begun.elapsed());
    }
    assert!(good > tried / 100 && good < tried, "{good}");
    let peak = memory_is_bounded();
    println!("documents: {tried} texts, {good} without a problem; the slowest took {slowest:?}; at most {peak} MiB");
}

/// Names with all kinds of characters, as in real directories.
#[test]
fn every_name_that_is_allowed_survives_export_and_import() {
    let letters = (' '..=char::MAX).filter(|letter| !is_hidden(*letter));
    let letters: Vec<char> = letters.collect();
    for name in letters.chunks(50).map(String::from_iter) {
        let document = serde_json::json!({"users": [{"user_id": "a", "display_name": name}]}).to_string();
        assert!(check(&document), "{:?}", read(&document).problems);
    }
}
