//! The document that describes an organization, in YAML or JSON: text to
//! [`Directory`](crate::domain::directory::Directory), and back.
//!
//! The field determines the type of a value, not YAML's guess: an unquoted `0801` is an extension with its leading
//! zero, and an unquoted `no` is an id. INVARIANT: reading reports every problem, not the first.

mod node;
mod read;
mod write;

pub use read::{Reading, read};
pub use write::{Format, Header, write, write_all};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        directory::{Directory, Problem},
        settings::PermissionSettings,
    };

    const GOOD: &str = r#"
# A comment.
organization: { organization_id: acme, display_name: "Acme \"Support\"" }
settings:
  organization: { unassigned_queue_sign_in: RESTRICTED }
  supervisor:
    limit_to_assigned_queues: false
queues:
  - { queue_id: no, extension: 0801, kind: CALL_QUEUE }
users:
  - user_id: "7"
    display_name: Åsa
    extension: 101
    contact_center_license: true
    roles: [CONTACT_ADMIN]
    agent_of: [no]
"#;

    fn problems(text: &str) -> Vec<(u32, String, String)> {
        let plain = |Problem { line, path, description }: Problem| (line, path, description);
        read(text).problems.into_iter().map(plain).collect()
    }

    fn good(text: &str) -> Directory {
        let Reading { directory, problems } = read(text);
        assert_eq!(problems, []);
        directory
    }

    fn without_lines(mut directory: Directory) -> Directory {
        directory.queues.iter_mut().for_each(|queue| queue.line = 0);
        directory.users.iter_mut().for_each(|user| user.line = 0);
        directory
    }

    #[test]
    fn values_mean_what_their_place_asks_for() {
        let directory = good(GOOD);
        assert_eq!(directory.queues[0].queue_id.as_str(), "no");
        assert_eq!(directory.queues[0].extension.unwrap().to_string(), "0801");
        assert_eq!(directory.users[0].user_id.as_str(), "7");
        assert_eq!(directory.users[0].line, 11);
    }

    #[test]
    fn what_is_written_reads_back_the_same_in_both_formats() {
        let directory = good(GOOD);
        let settings = directory.settings.applied_to(PermissionSettings::default());
        for format in [Format::Yaml, Format::Json] {
            let text = write_all(&directory, &settings, format);
            let again = good(&text);
            assert_eq!(again.settings.applied_to(PermissionSettings::default()), settings, "{text}");
            let (again, directory) = (without_lines(again), without_lines(directory.clone()));
            assert_eq!((&again.queues, &again.users), (&directory.queues, &directory.users), "{text}");
            assert_eq!(again.display_name, directory.display_name);
        }
    }

    #[test]
    fn every_problem_is_reported_with_its_line_and_path() {
        let found = problems(
            "queues:\n  - queue_id: Sales\n    kind: PHONE\nusers:\n  - user_id: anna\n    extention: 1\n    disabled: maybe\n  - display_name: Bo\n",
        );
        let places: Vec<_> = found.iter().map(|(line, path, _)| (*line, path.as_str())).collect();
        let expected = [
            (2, "queues[0].queue_id"),
            (3, "queues[0].kind"),
            (6, "users[0].extention"),
            (7, "users[0].disabled"),
            (8, "users[1].user_id"),
        ];
        assert_eq!(places, expected, "{found:?}");
        assert!(found[2].2.contains("`extension`"), "{found:?}");
    }

    #[test]
    fn what_yaml_can_do_and_a_directory_has_no_use_for_is_refused() {
        for (text, word) in [
            ("users: &a []\nqueues: *a\n", "alias"),
            ("users: [\n", "YAML"),
            ("{\"users\": [}", "JSON"),
            ("- a\n", "mapping"),
            ("users: {}\n", "list"),
            ("users: []\nusers: []\n", "twice"),
            ("settings: { agent: { create_custom_tags: true, create_custom_tags: false } }", "twice"),
            ("users: []\n---\nusers: []\n", "one document"),
            (&"[".repeat(20), "deep"),
            (&format!("users: {}", "[".repeat(20)), "deep"),
            (&"[".repeat(100_000), "recursion"),
            (&format!("{{\"a\":{}", "[".repeat(100_000)), "recursion"),
            ("", "empty"),
        ] {
            let found = problems(text);
            assert!(found.iter().any(|(_, _, description)| description.contains(word)), "{text:.40}: {found:?}");
        }
    }

    /// A tag stands for another value than the text: a vault's, bytes, or null.
    #[test]
    fn a_tag_is_refused_with_its_line() {
        for (value, tag) in [
            ("!!binary QWNtZQ==", "!!binary"),
            ("!vault abc", "!vault"),
            ("!!null Anna", "!!null"),
            ("!!str Anna", "!!str"),
            ("! Anna", "!"),
            ("!<tag:example.com,2026:x> Anna", "tag:example.com,2026:x"),
            ("!list [a]", "!list"),
            ("!map { a: b }", "!map"),
        ] {
            let found = problems(&format!("users:\n  - user_id: anna\n    display_name: {value}\n"));
            assert!(found.len() == 1 && found[0].0 == 3, "{value}: {found:?}");
            assert!(found[0].2.contains(&format!("has a tag (`{tag}`)")), "{value}: {found:?}");
        }
        let found = problems("users:\n  - !!str user_id: anna\n");
        assert!(found[0].0 == 2 && found[0].2.contains("has a tag"), "{found:?}");
        assert_eq!(problems("!!map\nusers: []\n").len(), 1);
    }

    #[test]
    fn words_of_the_core_schema_are_read_and_nothing_is_guessed() {
        let user = |fields: &str| good(&format!("users: [{{ user_id: anna, {fields} }}]\n")).users[0].clone();
        for (word, value) in [("true", true), ("True", true), ("TRUE", true), ("false", false), ("FALSE", false)] {
            assert_eq!(user(&format!("disabled: {word}")).disabled, value, "{word}");
        }
        for word in ["~", "null", "Null", "NULL", ""] {
            let anna = user(&format!("extension: {word}"));
            assert!(anna.extension.is_none(), "{word}");
        }
        for name in ["0x1F", ".inf", "1e3", "2026-11-28", "yes", "\"Null\""] {
            assert_eq!(user(&format!("display_name: {name}")).display_name, name.replace('"', ""));
        }
        for (text, word) in [
            ("users: [{ user_id: a, disabled: yes }]", "true or false"),
            ("users: [{ user_id: a, disabled: tRUE }]", "true or false"),
            ("users: [{ user_id: a, extension: 0x1F }]", "1 to 15 digits"),
            ("users: [{ user_id: a, <<: { disabled: true } }]", "is not a field"),
            ("users: [{ user_id: a, user_id: b }]", "twice"),
        ] {
            let found = problems(text);
            assert!(found.len() == 1 && found[0].2.contains(word), "{text}: {found:?}");
        }
    }

    #[test]
    fn what_a_problem_quotes_is_what_the_file_says() {
        let found = problems("users: [{ user_id: 'a \"b\" \\c', display_name: x }]\n");
        assert!(found[0].2.contains("but is `a \"b\" \\c`"), "{found:?}");
        let found = problems("users: [{ user_id: a, display_name: \"x\\u202ey\" }]\n");
        assert!(found[0].2.contains("`x\\u{202e}y`"), "{found:?}");
    }

    #[test]
    fn a_document_in_braces_may_be_yaml_all_the_same() {
        assert_eq!(good("{users: [{user_id: anna}]}").users.len(), 1);
        assert_eq!(
            good("{\"users\": [{\"user_id\": \"anna\", \"display_name\": \"\\ud83d\\ude00\"}]}").users[0].display_name,
            "😀"
        );
    }

    /// Parsing and printing a number would change an id: `1`, `1000`, `123456789012345680000`.
    #[test]
    fn a_number_in_json_means_what_is_written() {
        for id in ["7", "1.0", "1.50", "123456789012345678901", "18446744073709551616", "0.10"] {
            let directory = good(&format!("{{\"users\": [{{\"user_id\": {id}}}]}}"));
            assert_eq!(directory.users[0].user_id.as_str(), id);
        }
        for (extension, given) in [("1e2", "1e2"), ("100.0", "100.0"), ("-0", "-0")] {
            let found = problems(&format!("{{\"users\": [{{\"user_id\": \"a\", \"extension\": {extension}}}]}}"));
            assert!(found.len() == 1 && found[0].2.contains(&format!("`{given}`")), "{found:?}");
        }
        // Text that YAML can't read either is reported as faulty JSON.
        let found = problems(r#"{"users": [{"user_id": 1.5, "display_name": "\ud83d\ude00"}]}"#);
        assert!(found.len() == 1 && found[0].2.contains("write it in quotes"), "{found:?}");
    }

    #[test]
    fn view_queue_settings_cannot_be_turned_off_by_a_document() {
        let found = problems("settings: { supervisor: { view_queue_settings: false } }\n");
        assert_eq!(found[0].1, "settings.supervisor.view_queue_settings");
    }
}
