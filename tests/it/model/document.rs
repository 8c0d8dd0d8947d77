//! Random documents to import, and their effects by the specification.

use std::collections::{BTreeMap, BTreeSet};

use queuegate::rpc::proto::*;
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

use super::world::{EXTENSIONS, KINDS, Model, QUEUES, QueueM, USERS, UserM};

/// A document to import.
#[derive(Debug)]
pub struct Document {
    pub delete_missing: bool,
    pub users: BTreeMap<String, UserM>,
    pub queues: BTreeMap<String, QueueM>,
    pub roles: BTreeSet<(String, String, i32)>,
    pub penalties: BTreeMap<(String, String), i32>,
}

impl Document {
    pub fn random(rng: &mut StdRng) -> Self {
        let mut extension = || if rng.random_bool(0.6) { "" } else { *EXTENSIONS.choose(rng).unwrap() }.to_owned();
        let marker = QueueM { extension: String::new(), kind: QueueKind::CallQueue };
        let licensed = UserM { license: true, ..UserM::default() };
        let extensions: Vec<String> = (0..7).map(|_| extension()).collect();
        let mut document = Self {
            delete_missing: rng.random_bool(0.3),
            users: ["marker", "marker2"].map(|id| (id.to_owned(), licensed.clone())).into(),
            queues: [("marker".to_owned(), marker)].into(),
            roles: BTreeSet::new(),
            penalties: BTreeMap::new(),
        };
        for (queue_id, extension) in QUEUES[..3].iter().zip(&extensions[4..]) {
            if rng.random_bool(0.8) {
                let kind = *[KINDS[0], KINDS[0], KINDS[1], KINDS[3]].choose(rng).unwrap();
                document.queues.insert((*queue_id).into(), QueueM { extension: extension.clone(), kind });
            }
        }
        for (user_id, extension) in USERS[..4].iter().zip(&extensions) {
            if rng.random_bool(0.8) {
                let (license, disabled) = (rng.random_bool(0.95), rng.random_bool(0.1));
                let user = UserM { extension: extension.clone(), license, disabled };
                document.users.insert((*user_id).into(), user);
                for queue_id in &QUEUES[..3] {
                    for (role, chance) in [(Role::Agent, 0.3), (Role::Supervisor, 0.1)] {
                        if rng.random_bool(chance) {
                            document.roles.insert(((*user_id).into(), (*queue_id).into(), role.into()));
                            if role == Role::Agent && rng.random_bool(0.3) {
                                document.penalties.insert(((*user_id).into(), (*queue_id).into()), 5);
                            }
                        }
                    }
                }
                if rng.random_bool(0.2) {
                    document.roles.insert(((*user_id).into(), String::new(), Role::Supervisor.into()));
                }
            }
        }
        document
    }

    pub fn text(&self) -> String {
        let mut text = String::from("queues:\n");
        for (id, QueueM { extension, kind }) in &self.queues {
            let kind = kind.as_str_name().trim_start_matches("QUEUE_KIND_");
            text.push_str(&format!("  - {{ queue_id: {id}, extension: {extension}, kind: {kind} }}\n"));
        }
        text.push_str("users:\n");
        for (id, UserM { extension, license, disabled }) in &self.users {
            let roles = self.roles.iter().filter(|(user, ..)| user == id);
            let on = |wanted: Role| {
                let queues = roles.clone().filter(|(_, queue, role)| !queue.is_empty() && *role == i32::from(wanted));
                queues.map(|(_, queue, _)| queue.as_str()).collect::<Vec<_>>().join(", ")
            };
            let held = if roles.clone().any(|(_, queue, _)| queue.is_empty()) { "SUPERVISOR" } else { "" };
            let penalties = self.penalties.iter().filter(|((user, _), _)| user == id);
            let penalties: Vec<String> = penalties.map(|((_, queue), penalty)| format!("{queue}: {penalty}")).collect();
            text.push_str(&format!(
                "  - {{ user_id: {id}, extension: {extension}, contact_center_license: {license}, disabled: {disabled}, \
                 roles: [{held}], agent_of: [{}], penalties: {{ {} }}, supervisor_of: [{}] }}\n",
                on(Role::Agent),
                penalties.join(", "),
                on(Role::Supervisor)
            ));
        }
        text
    }

    /// Whether the whole document can be imported.
    pub fn fits(&self, model: &Model) -> bool {
        let stays = |there: bool| there && !self.delete_missing;
        let clash = |named: Vec<(&String, &String)>, all: Vec<(&String, &String)>| {
            named.iter().any(|(id, extension)| {
                let same = |(other, taken): &(&String, &String)| other != id && taken == extension;
                let unnamed = all.iter().filter(|(other, _)| !named.iter().any(|(id, _)| id == other));
                !extension.is_empty() && (named.iter().any(same) || unnamed.copied().any(|all| stays(same(&all))))
            })
        };
        let users =
            |users: &BTreeMap<String, UserM>| users.clone().into_iter().map(|(id, u)| (id, u.extension)).collect();
        let queues =
            |queues: &BTreeMap<String, QueueM>| queues.clone().into_iter().map(|(id, q)| (id, q.extension)).collect();
        let (named, all): (BTreeMap<_, _>, BTreeMap<_, _>) = (users(&self.users), users(&model.users));
        let users_clash = clash(named.iter().collect(), all.iter().collect());
        let (named, all): (BTreeMap<_, _>, BTreeMap<_, _>) = (queues(&self.queues), queues(&model.queues));
        let queues_clash = clash(named.iter().collect(), all.iter().collect());
        let unlicensed = self.users.iter().filter(|(_, user)| !user.license).any(|(id, _)| {
            let kept = stays(model.roles.iter().any(|(user, ..)| user == id));
            kept || self.roles.iter().any(|(user, ..)| user == id)
        });
        let dangling = self.roles.iter().any(|(_, queue, _)| {
            !queue.is_empty() && !self.queues.contains_key(queue) && !stays(model.queues.contains_key(queue))
        });
        !(users_clash || queues_clash || unlicensed || dangling)
    }

    pub fn apply(self, model: &mut Model) {
        if self.delete_missing {
            let gone: Vec<String> = model.users.keys().filter(|id| !self.users.contains_key(*id)).cloned().collect();
            for id in gone {
                model.users.remove(&id);
                model.end(|user, _| user == id, EndReason::UserRemoved);
            }
            let gone: Vec<String> = model.queues.keys().filter(|id| !self.queues.contains_key(*id)).cloned().collect();
            for id in gone {
                model.queues.remove(&id);
                model.end(|_, queue| queue == id, EndReason::QueueRemoved);
            }
            model.roles.clear();
        }
        for (id, user) in self.users {
            if user.disabled {
                model.end(|user, _| user == id, EndReason::UserDisabled);
            }
            model.users.insert(id, user);
        }
        model.queues.extend(self.queues);
        for (user, queue, _) in self.roles.iter().filter(|(.., role)| *role == i32::from(Role::Agent)) {
            let penalty = self.penalties.get(&(user.clone(), queue.clone()));
            model.set_penalty(user, queue, penalty.copied().unwrap_or(0));
        }
        model.roles.extend(self.roles);
    }
}
