//! A decision as a checklist of the nine rules, and the ways to another outcome, for people who ask why.

use crate::rpc::proto::{Facts, QueueKind, Reason};

/// The rules of queue access in their order, each by its reason. The first that matches decides.
pub const RULES: [Reason; 9] = [
    Reason::UnknownUser,
    Reason::UserDisabled,
    Reason::UnknownQueue,
    Reason::QueueKindNotSupported,
    Reason::AgentRoleRequired,
    Reason::AlreadySignedIn,
    Reason::Assigned,
    Reason::UnassignedAllowed,
    Reason::UnassignedRestricted,
];

/// The result of one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleResult {
    /// The rule didn't match, and the next one was tried.
    Passed,
    /// The rule matched, and decided.
    Decided,
    /// An earlier rule had decided.
    NotReached,
}

/// Return each rule with its result.
pub fn checklist(decided: Reason) -> [(Reason, RuleResult); 9] {
    let place = RULES.iter().position(|rule| *rule == decided);
    let mut index = 0;
    RULES.map(|rule| {
        let result = match place {
            Some(place) if index < place => RuleResult::Passed,
            Some(place) if index == place => RuleResult::Decided,
            Some(_) | None => RuleResult::NotReached,
        };
        index += 1;
        (rule, result)
    })
}

/// A way to another outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// A system with the scope `admin` can add the user.
    AddUser,
    /// A system with the scope `admin` can enable the user.
    EnableUser,
    /// A contact admin can add the queue.
    AddQueue,
    /// A contact admin can change the kind of a ring group.
    ChangeKind,
    /// The user can use the agent dashboard, with the agent role.
    UseDashboard,
    /// The user can dial the feature code, which needs no role.
    Dial,
    /// A supervisor of the queue can sign the user in.
    SupervisorSignIn,
    /// A contact admin must give the user a licence first.
    GiveLicense,
    /// A contact admin can assign the queue, which gives the agent role.
    GiveRole,
    /// A contact admin can assign the queue.
    Assign,
    /// The user can sign out.
    SignOut,
    /// A supervisor of the queue can sign the user out.
    SupervisorSignOut,
    /// A contact admin can take the assignment.
    Unassign,
    /// A contact admin can restrict sign-in to assigned queues.
    Restrict,
    /// A contact admin can allow sign-in to unassigned queues.
    Allow,
}

/// Return the ways to another outcome than this decision.
pub fn remedies(decided: Reason, facts: &Facts) -> Vec<Remedy> {
    let after_license = |remedy: Remedy| {
        if facts.contact_center_license { vec![remedy] } else { vec![Remedy::GiveLicense, remedy] }
    };
    match decided {
        Reason::UnknownUser => vec![Remedy::AddUser],
        Reason::UserDisabled => vec![Remedy::EnableUser],
        Reason::UnknownQueue => vec![Remedy::AddQueue],
        Reason::QueueKindNotSupported if facts.queue_kind() == QueueKind::RingGroup => vec![Remedy::ChangeKind],
        Reason::QueueKindNotSupported => vec![Remedy::UseDashboard, Remedy::SupervisorSignIn],
        Reason::AgentRoleRequired => {
            let mut ways = after_license(Remedy::GiveRole);
            if facts.queue_kind() == QueueKind::CallQueue {
                ways.push(Remedy::Dial);
            }
            ways.push(Remedy::SupervisorSignIn);
            ways
        }
        Reason::AlreadySignedIn => vec![Remedy::SignOut, Remedy::SupervisorSignOut],
        Reason::Assigned => vec![Remedy::Unassign],
        Reason::UnassignedAllowed => vec![Remedy::Restrict],
        Reason::UnassignedRestricted => {
            let mut ways = vec![Remedy::SupervisorSignIn];
            ways.extend(after_license(Remedy::Assign));
            ways.push(Remedy::Allow);
            ways
        }
        // Never decides a check.
        Reason::Unspecified
        | Reason::UnknownSupervisor
        | Reason::SupervisorDisabled
        | Reason::SupervisorRoleRequired
        | Reason::SupervisorQueueNotAssigned
        | Reason::SupervisorSignIn
        | Reason::SupervisorSignOut => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_before_the_deciding_one_are_passed_and_the_others_not_reached() {
        for (index, reason) in RULES.iter().enumerate() {
            let results = checklist(*reason).map(|(_, result)| result);
            let mut expected = vec![RuleResult::Passed; index];
            expected.push(RuleResult::Decided);
            expected.resize(RULES.len(), RuleResult::NotReached);
            assert_eq!(results.to_vec(), expected, "{reason:?}");
            assert!(!remedies(*reason, &Facts::default()).is_empty(), "{reason:?}");
        }
    }
}
