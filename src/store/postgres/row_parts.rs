//! The parts of the statement that writes a group of rows, a part for each table.

use super::{
    rows::Rows,
    statement::{Column, Writing, booleans, hashes, integers, texts},
};
use crate::{
    domain::{
        chain::Link,
        ids::{Extension, Login},
        model::{Queue, RoleAssignment, User},
        settings::Switch,
    },
    store::request::RequestRecord,
};

impl<'r> Rows<'r> {
    /// Add the rows to a statement. `requests_again` says how to write a request id that exists.
    pub fn write(&'r self, writing: &mut Writing<'r>, requests_again: &str) {
        self.write_log(writing);
        self.write_organizations(writing);
        self.write_users(writing);
        self.write_queues(writing);
        self.write_roles(writing);
        self.write_pins(writing);
        self.write_sessions(writing);
        self.write_requests(writing, requests_again);
    }

    fn write_log(&'r self, writing: &mut Writing<'r>) {
        let Self { log, chains, .. } = self;
        if log.is_empty() {
            return;
        }
        writing.insert(
            "audit_log",
            vec![
                integers("revision", log.iter().map(|row| row.sequence).collect()),
                texts("organization_id", log.iter().map(|row| row.record.change.organization_id.as_str()).collect()),
                integers("time_ms", log.iter().map(|row| row.record.time.unix_ms()).collect()),
                texts("action", log.iter().map(|row| row.columns.action).collect()),
                booleans("allowed", log.iter().map(|row| row.columns.allowed).collect()),
                texts("actor", log.iter().map(|row| row.columns.actor.as_deref()).collect::<Vec<Option<&str>>>()),
                texts("\"user\"", log.iter().map(|row| row.columns.user.as_deref()).collect::<Vec<Option<&str>>>()),
                texts("queue", log.iter().map(|row| row.columns.queue.as_deref()).collect::<Vec<Option<&str>>>()),
                texts("entry", log.iter().map(|row| row.entry.as_ref()).collect::<Vec<&str>>()),
                hashes("hash", log.iter().map(|row| row.hash.bytes()).collect()),
            ],
            "",
        );
        let mut ends: Vec<_> = chains.iter().collect();
        // All nodes lock rows in the same order.
        ends.sort_by_key(|(organization_id, _)| organization_id.as_str());
        let number = |link: Option<Link>| i64::try_from(link.unwrap_or(Link::GENESIS).sequence.0).unwrap_or(i64::MAX);
        fn hash(link: Option<&Link>) -> &[u8] {
            link.map_or(Link::GENESIS.hash.bytes(), |link| link.hash.bytes())
        }
        writing.insert(
            "audit_chain",
            vec![
                texts("organization_id", ends.iter().map(|(id, _)| id.as_str()).collect()),
                integers("cut_revision", ends.iter().map(|(_, chain)| number(chain.cut)).collect()),
                hashes("cut_hash", ends.iter().map(|(_, chain)| hash(chain.cut.as_ref())).collect()),
                integers("head_revision", ends.iter().map(|(_, chain)| number(chain.head)).collect()),
                hashes("head_hash", ends.iter().map(|(_, chain)| hash(chain.head.as_ref())).collect()),
            ],
            "ON CONFLICT (organization_id) DO UPDATE SET head_revision = excluded.head_revision, \
             head_hash = excluded.head_hash, \
             cut_revision = greatest(audit_chain.cut_revision, excluded.cut_revision), \
             cut_hash = CASE WHEN excluded.cut_revision > audit_chain.cut_revision THEN excluded.cut_hash \
             ELSE audit_chain.cut_hash END",
        );
    }

    fn write_organizations(&'r self, writing: &mut Writing<'r>) {
        let Self { created, renamed, deleted, settings, .. } = self;
        if !deleted.is_empty() {
            writing.delete("organization", vec![texts("organization_id", deleted.clone())], deleted.len());
        }
        if !created.is_empty() {
            let columns = vec![
                texts("organization_id", created.iter().map(|(of, ..)| of.organization_id.as_str()).collect()),
                texts("display_name", created.iter().map(|(of, ..)| of.display_name.as_str()).collect()),
                texts(
                    "unassigned_queue_sign_in",
                    created.iter().map(|(_, settings, _)| settings.unassigned_queue_sign_in.as_str()).collect(),
                ),
                integers("settings_etag", created.iter().map(|(.., etag)| *etag).collect()),
            ];
            writing.insert("organization", columns, "");
        }
        if !renamed.is_empty() {
            let columns = vec![
                texts("organization_id", renamed.iter().map(|(id, _)| *id).collect()),
                texts("display_name", renamed.iter().map(|(_, name)| *name).collect()),
            ];
            writing.update("organization", 1, columns, renamed.len());
        }
        if !settings.is_empty() {
            let columns = vec![
                texts("organization_id", settings.iter().map(|(id, ..)| *id).collect()),
                texts(
                    "unassigned_queue_sign_in",
                    settings.iter().map(|(_, settings, _)| settings.unassigned_queue_sign_in.as_str()).collect(),
                ),
                integers("settings_etag", settings.iter().map(|(.., etag)| *etag).collect()),
            ];
            writing.update("organization", 1, columns, settings.len());
        }
        let of_created = created.iter().map(|(of, settings, _)| (of.organization_id.as_str(), *settings));
        let of_updated = settings.iter().map(|(id, settings, _)| (*id, *settings));
        let switches: Vec<(&str, Switch, bool)> = of_created
            .chain(of_updated)
            .flat_map(|(id, settings)| Switch::ALL.iter().map(move |switch| (id, *switch, settings.is_on(*switch))))
            .collect();
        if !switches.is_empty() {
            let columns = vec![
                texts("organization_id", switches.iter().map(|(id, ..)| *id).collect()),
                texts("setting", switches.iter().map(|(_, switch, _)| switch.as_str()).collect()),
                booleans("is_on", switches.iter().map(|(.., is_on)| *is_on).collect()),
            ];
            let conflict = "ON CONFLICT (organization_id, setting) DO UPDATE SET is_on = excluded.is_on";
            writing.insert("permission_setting", columns, conflict);
        }
    }

    fn write_users(&'r self, writing: &mut Writing<'r>) {
        let Self { users, updated_users, deleted_users, .. } = self;
        fn columns<'r>(users: &[(&'r str, &'r User)]) -> Vec<Column<'r>> {
            vec![
                texts("organization_id", users.iter().map(|(id, _)| *id).collect()),
                texts("user_id", users.iter().map(|(_, user)| user.user_id.as_str()).collect()),
                texts("display_name", users.iter().map(|(_, user)| user.display_name.as_str()).collect()),
                texts("extension", users.iter().map(|(_, user)| digits(user.extension)).collect()),
                booleans("contact_center_license", users.iter().map(|(_, user)| user.contact_center_license).collect()),
                booleans("disabled", users.iter().map(|(_, user)| user.disabled).collect()),
                texts("login", users.iter().map(|(_, user)| user.login.as_ref().map(Login::as_str)).collect()),
            ]
        }
        if !deleted_users.is_empty() {
            let columns = vec![
                texts("organization_id", deleted_users.iter().map(|(id, _)| *id).collect()),
                texts("user_id", deleted_users.iter().map(|(_, id)| *id).collect()),
            ];
            writing.delete("\"user\"", columns, deleted_users.len());
        }
        if !users.is_empty() {
            writing.insert("\"user\"", columns(users), "");
        }
        if !updated_users.is_empty() {
            writing.update("\"user\"", 2, columns(updated_users), updated_users.len());
        }
    }

    fn write_queues(&'r self, writing: &mut Writing<'r>) {
        let Self { queues, updated_queues, deleted_queues, .. } = self;
        fn columns<'r>(queues: &[(&'r str, &'r Queue)]) -> Vec<Column<'r>> {
            vec![
                texts("organization_id", queues.iter().map(|(id, _)| *id).collect()),
                texts("queue_id", queues.iter().map(|(_, queue)| queue.queue_id.as_str()).collect()),
                texts("display_name", queues.iter().map(|(_, queue)| queue.display_name.as_str()).collect()),
                texts("extension", queues.iter().map(|(_, queue)| digits(queue.extension)).collect()),
                texts("kind", queues.iter().map(|(_, queue)| queue.kind.as_str()).collect()),
            ]
        }
        if !deleted_queues.is_empty() {
            let columns = vec![
                texts("organization_id", deleted_queues.iter().map(|(id, _)| *id).collect()),
                texts("queue_id", deleted_queues.iter().map(|(_, id)| *id).collect()),
            ];
            writing.delete("queue", columns, deleted_queues.len());
        }
        if !queues.is_empty() {
            writing.insert("queue", columns(queues), "");
        }
        if !updated_queues.is_empty() {
            writing.update("queue", 2, columns(updated_queues), updated_queues.len());
        }
    }

    fn write_roles(&'r self, writing: &mut Writing<'r>) {
        type Held<'r> = (&'r str, &'r RoleAssignment);
        fn columns<'r>(roles: &[&Held<'r>]) -> Vec<Column<'r>> {
            vec![
                texts("organization_id", roles.iter().map(|(id, _)| *id).collect()),
                texts("user_id", roles.iter().map(|(_, role)| role.user_id.as_str()).collect()),
                texts("role", roles.iter().map(|(_, role)| role.role.as_str()).collect()),
            ]
        }
        fn on_queue<'r>(roles: &[&Held<'r>]) -> Vec<Column<'r>> {
            let queue = |role: &'r RoleAssignment| role.queue_id.as_ref().map_or("", |id| id.as_str());
            let mut columns = columns(roles);
            columns.push(texts("queue_id", roles.iter().map(|(_, role)| queue(role)).collect()));
            columns
        }
        fn with_penalty<'r>(roles: &[&Held<'r>]) -> Vec<Column<'r>> {
            let mut columns = on_queue(roles);
            columns.push(integers("penalty", roles.iter().map(|(_, role)| i64::from(role.penalty.number())).collect()));
            columns
        }
        if !self.updated_roles.is_empty() {
            let updated: Vec<&Held<'r>> = self.updated_roles.iter().collect();
            writing.update("queue_role", 4, with_penalty(&updated), updated.len());
        }
        for (is_removal, roles) in [(true, &self.removed_roles), (false, &self.roles)] {
            let (everywhere, queues): (Vec<&Held<'r>>, Vec<&Held<'r>>) =
                roles.iter().partition(|(_, role)| role.queue_id.is_none());
            for (table, columns, count) in [
                ("organization_role", columns(&everywhere), everywhere.len()),
                ("queue_role", if is_removal { on_queue(&queues) } else { with_penalty(&queues) }, queues.len()),
            ] {
                match (count, is_removal) {
                    (0, _) => {}
                    (_, true) => writing.delete(table, columns, count),
                    (_, false) => writing.insert(table, columns, ""),
                }
            }
        }
    }

    fn write_pins(&'r self, writing: &mut Writing<'r>) {
        let Self { pins, cleared_pins, counted_pins, .. } = self;
        if !cleared_pins.is_empty() {
            let columns = vec![
                texts("organization_id", cleared_pins.iter().map(|(id, _)| *id).collect()),
                texts("user_id", cleared_pins.iter().map(|(_, id)| *id).collect()),
            ];
            writing.delete("user_pin", columns, cleared_pins.len());
        }
        if !counted_pins.is_empty() {
            let columns = vec![
                texts("organization_id", counted_pins.iter().map(|(id, ..)| *id).collect()),
                texts("user_id", counted_pins.iter().map(|(_, id, ..)| *id).collect()),
                integers("failures", counted_pins.iter().map(|(.., failures, _)| *failures).collect()),
                integers("locked_until_ms", counted_pins.iter().map(|(.., until)| *until).collect()),
            ];
            writing.update("user_pin", 2, columns, counted_pins.len());
        }
        if !pins.is_empty() {
            let columns = vec![
                texts("organization_id", pins.iter().map(|(id, ..)| *id).collect()),
                texts("user_id", pins.iter().map(|(_, id, ..)| *id).collect()),
                texts("hash", pins.iter().map(|(.., hash, _)| hash.reveal()).collect()),
                integers("etag", pins.iter().map(|(.., etag)| *etag).collect()),
                integers("failures", pins.iter().map(|_| 0_i64).collect()),
                integers("locked_until_ms", pins.iter().map(|_| None::<i64>).collect()),
            ];
            let conflict = "ON CONFLICT (organization_id, user_id) DO UPDATE SET hash = excluded.hash, \
                            etag = excluded.etag, failures = 0, locked_until_ms = NULL";
            writing.insert("user_pin", columns, conflict);
        }
    }

    fn write_sessions(&'r self, writing: &mut Writing<'r>) {
        let Self { sessions, ended_sessions, .. } = self;
        if !ended_sessions.is_empty() {
            let columns = vec![
                texts("session_id", ended_sessions.iter().map(|(_, session)| session.session_id.as_str()).collect()),
                texts("organization_id", ended_sessions.iter().map(|(id, _)| *id).collect()),
            ];
            writing.delete("session", columns, ended_sessions.len());
        }
        if sessions.is_empty() {
            return;
        }
        let each = || sessions.iter().map(|(_, session)| *session);
        let columns = vec![
            texts("session_id", each().map(|session| session.session_id.as_str()).collect()),
            texts("organization_id", sessions.iter().map(|(id, _)| *id).collect()),
            texts("user_id", each().map(|session| session.user_id.as_str()).collect()),
            texts("queue_id", each().map(|session| session.queue_id.as_str()).collect()),
            texts("channel", each().map(|session| session.channel.as_str()).collect()),
            texts("basis", each().map(|session| session.basis.as_str()).collect()),
            texts("signed_in_by", each().map(|session| session.signed_in_by.as_str()).collect()),
            integers("sign_in_time_ms", each().map(|session| session.sign_in_time.unix_ms()).collect()),
            integers(
                "expire_time_ms",
                each().map(|session| session.expire_time.map(|time| time.unix_ms())).collect::<Vec<Option<i64>>>(),
            ),
            texts("device", each().map(|session| session.device.as_str()).collect()),
        ];
        writing.insert("session", columns, "");
    }

    fn write_requests(&'r self, writing: &mut Writing<'r>, again: &str) {
        let requests = self.requests;
        if requests.is_empty() {
            return;
        }
        let number = |request: &RequestRecord| i64::try_from(request.sequence.0).unwrap_or(i64::MAX);
        let columns = vec![
            texts("organization_id", requests.iter().map(|request| request.organization_id.as_str()).collect()),
            texts("request_id", requests.iter().map(|request| request.request_id.as_str()).collect()),
            texts("content_sha256", requests.iter().map(|request| request.content_sha256.as_str()).collect()),
            texts("outcome", requests.iter().map(|request| request.outcome.as_str()).collect()),
            integers("revision", requests.iter().map(number).collect()),
            integers("time_ms", requests.iter().map(|request| request.time.unix_ms()).collect()),
        ];
        writing.insert("request", columns, again);
    }
}

fn digits(extension: Option<Extension>) -> Option<String> {
    extension.map(|extension| extension.digits().to_string())
}
