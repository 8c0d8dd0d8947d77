use std::{borrow::Cow, collections::BTreeSet};

use super::*;
use crate::domain::{model::Role, settings::Switch, vocabulary::Permission};

/// A sentence with the names that it must have, in any order.
type Filled<'a> = (String, Vec<&'a Name<'a>>);

/// Fill every slot of every sentence about users and queues.
fn with_names<'a>(language: Language, [supervisor, user, queue]: [&'a Name<'a>; 3]) -> Vec<Filled<'a>> {
    let said = sentences(language);
    let mut all = vec![
        (said.user_disabled(user), vec![user]),
        (said.ring_group(queue), vec![queue]),
        (said.inbox_by_feature_code(queue), vec![queue]),
        (said.campaign_by_feature_code(queue), vec![queue]),
        (said.agent_role_required(user), vec![user]),
        (said.already_signed_in(user, queue), vec![user, queue]),
        (said.assigned(user, queue), vec![user, queue]),
        (said.unassigned_allowed(user, queue), vec![user, queue]),
        (said.unassigned_restricted(user, queue), vec![user, queue]),
        (said.supervisor_disabled(supervisor), vec![supervisor]),
        (said.supervisor_role_required(supervisor), vec![supervisor]),
        (said.supervisor_queue_not_assigned(supervisor, queue), vec![supervisor, queue]),
        (said.supervisor_sign_in(supervisor, user, queue), vec![supervisor, user, queue]),
        (said.supervisor_sign_out(supervisor, user, queue), vec![supervisor, user, queue]),
        (said.disabled(user), vec![user]),
    ];
    let settings = [Switch::ViewSkills, Switch::ManageSkills];
    let [setting, _] = settings;
    for &permission in Permission::ALL {
        all.push((said.queue_not_served(user, permission, queue), vec![user, queue]));
        all.push((said.queue_not_supervised(user, permission, queue), vec![user, queue]));
        for (on, names) in [(None, vec![user]), (Some(queue), vec![user, queue])] {
            all.push((said.role_required(user, permission, on), names.clone()));
            for role in [Role::ContactAdmin, Role::Supervisor, Role::Agent] {
                all.push((said.granted(user, permission, on, role), names.clone()));
                all.push((said.setting_off(user, permission, on, role, setting), names.clone()));
                all.push((said.settings_off(user, permission, on, role, settings), names.clone()));
            }
        }
    }
    all
}

/// Fill the sentences without a name.
fn without_names(language: Language) -> Vec<String> {
    let (said, extension) = (sentences(language), "0815".parse().unwrap());
    vec![
        said.unknown_user_id("nobody"),
        said.unknown_user_extension(extension),
        said.unknown_queue_id("nowhere"),
        said.unknown_queue_extension(extension),
        said.unknown_supervisor_id("nobody"),
        said.unknown_supervisor_extension(extension),
        said.no_user_may(),
    ]
}

fn name(text: &str, extension: Option<&str>) -> Name<'static> {
    Name { text: Cow::Owned(text.to_owned()), extension: extension.map(|digits| digits.parse().unwrap()) }
}

fn odd_names() -> Vec<Name<'static>> {
    let odd = ["Klaus", "James O'Hara", "Émile d'Or", "«Ventas»", "50 % {user}", "שרה לוי", "عمر", "a\u{200d}b"];
    let long = "ä".repeat(200);
    let texts = odd.into_iter().chain([long.as_str()]);
    texts.flat_map(|text| [name(text, None), name(text, Some("007"))]).collect()
}

#[test]
fn every_sentence_has_its_names_whole_whatever_they_are() {
    for &language in Language::ALL {
        let odd = odd_names();
        for (supervisor, (user, queue)) in odd.iter().zip(odd.iter().skip(1).zip(odd.iter().skip(2))) {
            for (sentence, names) in with_names(language, [supervisor, user, queue]) {
                for name in names {
                    assert!(sentence.contains(&name.to_string()), "{language}: {name} in {sentence}");
                }
                assert!(sentence.ends_with('.') && !sentence.contains("  "), "{language}: {sentence}");
            }
        }
    }
}

#[test]
fn no_name_is_beside_another_so_that_right_to_left_names_do_not_mix() {
    let [supervisor, user, queue] = ["אבא", "אמא", "תור"].map(|text| name(text, Some("101")));
    for &language in Language::ALL {
        for (sentence, names) in with_names(language, [&supervisor, &user, &queue]) {
            let split = sentence.replace(&names.first().unwrap().to_string(), "\n");
            let split = names.iter().fold(split, |split, name| split.replace(&name.to_string(), "\n"));
            let between: Vec<&str> = split.split('\n').collect();
            assert_eq!(between.len(), names.len() + 1, "{language}: {sentence}");
            let inner = between.iter().skip(1).take(names.len() - 1);
            assert!(inner.clone().all(|words| words.contains(char::is_alphabetic)), "{language}: {sentence}");
        }
    }
}

#[test]
fn no_two_languages_say_the_same_and_no_two_sentences_of_a_language_are_the_same() {
    let [supervisor, user, queue] = [name("Petra", None), name("Anna", Some("101")), name("Support", Some("801"))];
    let mut all = BTreeSet::new();
    for &language in Language::ALL {
        let with_names = with_names(language, [&supervisor, &user, &queue]);
        for sentence in with_names.into_iter().map(|(sentence, _)| sentence).chain(without_names(language)) {
            assert!(all.insert(sentence.clone()), "{language}: {sentence}");
        }
        for &permission in Permission::ALL {
            let description = sentences(language).permission(permission);
            let is_phrase = !description.is_empty() && !description.ends_with('.') && description.trim() == description;
            assert!(is_phrase && all.insert(description.to_owned()), "{language}: {description}");
        }
    }
}

#[test]
fn an_unknown_user_or_queue_is_named_as_it_was_asked_for() {
    for &language in Language::ALL {
        let said = without_names(language);
        for (sentence, asked) in said.iter().zip(["nobody", "0815", "nowhere", "0815", "nobody", "0815"]) {
            assert!(sentence.contains(asked), "{language}: {sentence}");
        }
    }
}

#[test]
fn a_name_is_shown_with_its_extension_and_without_one_alone() {
    assert_eq!(name("Anna", Some("101")).to_string(), "Anna (101)");
    assert_eq!(name("Anna", None).to_string(), "Anna");
    assert_eq!(name("", Some("101")).to_string(), "101");
}
