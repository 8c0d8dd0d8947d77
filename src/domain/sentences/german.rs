//! German, with the terms of German telephony: Warteschlange, Durchwahl, Rufgruppe, aufschalten.

use super::{
    catalogue::{Sentences, roles, sentence},
    name::Name,
};
use crate::domain::{ids::Extension, model::Role, settings::Switch, vocabulary::Permission};

/// German.
pub struct German;

impl Sentences for German {
    fn unknown_user_id(&self, user_id: &str) -> String {
        sentence!("Es gibt keinen Benutzer mit der ID „{user_id}“.")
    }

    fn unknown_user_extension(&self, extension: Extension) -> String {
        sentence!("Es gibt keinen Benutzer mit der Durchwahl {extension}.")
    }

    fn unknown_queue_id(&self, queue_id: &str) -> String {
        sentence!("Es gibt keine Warteschlange mit der ID „{queue_id}“.")
    }

    fn unknown_queue_extension(&self, extension: Extension) -> String {
        sentence!("Es gibt keine Warteschlange mit der Durchwahl {extension}.")
    }

    fn unknown_supervisor_id(&self, user_id: &str) -> String {
        sentence!("Der angegebene Supervisor ist unbekannt: Es gibt keinen Benutzer mit der ID „{user_id}“.")
    }

    fn unknown_supervisor_extension(&self, extension: Extension) -> String {
        sentence!("Der angegebene Supervisor ist unbekannt: Es gibt keinen Benutzer mit der Durchwahl {extension}.")
    }

    fn user_disabled(&self, user: &Name<'_>) -> String {
        sentence!("{user} ist deaktiviert und kann sich an keiner Warteschlange anmelden.")
    }

    fn ring_group(&self, queue: &Name<'_>) -> String {
        sentence!("{queue} ist eine Rufgruppe, und an einer Rufgruppe meldet sich niemand an.")
    }

    fn inbox_by_feature_code(&self, queue: &Name<'_>) -> String {
        sentence!(
            "{queue} ist ein Posteingang und über den Funktionscode nicht erreichbar; bitte das Agenten-Dashboard \
             verwenden."
        )
    }

    fn campaign_by_feature_code(&self, queue: &Name<'_>) -> String {
        sentence!(
            "{queue} ist eine Kampagne und über den Funktionscode nicht erreichbar; bitte das Agenten-Dashboard \
             verwenden."
        )
    }

    fn agent_role_required(&self, user: &Name<'_>) -> String {
        sentence!("{user} hat nicht die Rolle Agent, die für das Agenten-Dashboard nötig ist.")
    }

    fn already_signed_in(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("{user} ist bereits an der Warteschlange {queue} angemeldet.")
    }

    fn assigned(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("{user} ist der Warteschlange {queue} zugewiesen.")
    }

    fn unassigned_allowed(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!(
            "{user} ist der Warteschlange {queue} nicht zugewiesen, aber diese Organisation erlaubt die Anmeldung auch \
             an nicht zugewiesenen Warteschlangen."
        )
    }

    fn unassigned_restricted(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!(
            "{user} ist der Warteschlange {queue} nicht zugewiesen, und diese Organisation beschränkt die Anmeldung \
             auf zugewiesene Warteschlangen."
        )
    }

    fn supervisor_disabled(&self, supervisor: &Name<'_>) -> String {
        sentence!("{supervisor} ist deaktiviert und kann niemanden an- oder abmelden.")
    }

    fn supervisor_role_required(&self, supervisor: &Name<'_>) -> String {
        sentence!("{supervisor} hat weder die Rolle Supervisor noch die Rolle Contact-Center-Administrator.")
    }

    fn supervisor_queue_not_assigned(&self, supervisor: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!(
            "{supervisor} hat für die Warteschlange {queue} nicht die Rolle Supervisor, und Supervisoren sind hier auf \
             ihre eigenen Warteschlangen beschränkt."
        )
    }

    fn supervisor_sign_in(&self, supervisor: &Name<'_>, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("{supervisor} darf {user} an der Warteschlange {queue} anmelden.")
    }

    fn supervisor_sign_out(&self, supervisor: &Name<'_>, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("{supervisor} darf {user} von der Warteschlange {queue} abmelden.")
    }

    fn disabled(&self, user: &Name<'_>) -> String {
        sentence!("{user} ist deaktiviert und darf nichts tun.")
    }

    fn granted(&self, user: &Name<'_>, permission: Permission, queue: Option<&Name<'_>>, role: Role) -> String {
        let (doing, role) = (self.permission(permission), role_name(role));
        match queue {
            None => sentence!("{user} hat die Berechtigung „{doing}“ über die Rolle {role}."),
            Some(queue) => {
                sentence!("{user} hat die Berechtigung „{doing}“ für die Warteschlange {queue} über die Rolle {role}.")
            }
        }
    }

    fn queue_not_served(&self, user: &Name<'_>, permission: Permission, queue: &Name<'_>) -> String {
        let doing = self.permission(permission);
        sentence!(
            "{user} hat die Berechtigung „{doing}“ für die Warteschlange {queue} nicht, weil dort weder eine \
             Zuweisung noch eine Anmeldung besteht."
        )
    }

    fn queue_not_supervised(&self, user: &Name<'_>, permission: Permission, queue: &Name<'_>) -> String {
        let doing = self.permission(permission);
        sentence!(
            "{user} hat die Berechtigung „{doing}“ für die Warteschlange {queue} nicht: Supervisoren sind hier auf \
             ihre eigenen Warteschlangen beschränkt, und diese gehört nicht dazu."
        )
    }

    fn setting_off(
        &self,
        user: &Name<'_>,
        permission: Permission,
        queue: Option<&Name<'_>>,
        role: Role,
        setting: Switch,
    ) -> String {
        let (doing, role) = (self.permission(permission), role_name(role));
        match queue {
            None => sentence!(
                "{user} hat die Rolle {role}, aber nicht die Berechtigung „{doing}“: Die Einstellung {setting} ist \
                 ausgeschaltet."
            ),
            Some(queue) => sentence!(
                "{user} hat die Rolle {role}, aber nicht die Berechtigung „{doing}“ für die Warteschlange {queue}: Die \
                 Einstellung {setting} ist ausgeschaltet."
            ),
        }
    }

    fn settings_off(
        &self,
        user: &Name<'_>,
        permission: Permission,
        queue: Option<&Name<'_>>,
        role: Role,
        [first, second]: [Switch; 2],
    ) -> String {
        let (doing, role) = (self.permission(permission), role_name(role));
        match queue {
            None => sentence!(
                "{user} hat die Rolle {role}, aber nicht die Berechtigung „{doing}“: Die Einstellungen {first} und \
                 {second} sind ausgeschaltet."
            ),
            Some(queue) => sentence!(
                "{user} hat die Rolle {role}, aber nicht die Berechtigung „{doing}“ für die Warteschlange {queue}: Die \
                 Einstellungen {first} und {second} sind ausgeschaltet."
            ),
        }
    }

    fn role_required(&self, user: &Name<'_>, permission: Permission, queue: Option<&Name<'_>>) -> String {
        let (doing, roles) = (self.permission(permission), roles(permission, role_name, " oder "));
        match queue {
            None => {
                sentence!("{user} hat die Berechtigung „{doing}“ nicht: Dafür ist die Rolle {roles} nötig.")
            }
            Some(queue) => sentence!(
                "{user} hat die Berechtigung „{doing}“ für die Warteschlange {queue} nicht: Dafür ist die Rolle \
                 {roles} nötig."
            ),
        }
    }

    fn no_user_may(&self) -> String {
        sentence!("Das darf kein Benutzer, sondern nur ein System, das nicht im Namen eines Benutzers handelt.")
    }

    fn permission(&self, permission: Permission) -> &'static str {
        match permission {
            Permission::ManagePermissions => "Berechtigungen der Rollen ändern",
            Permission::AssignLicenses => "Contact-Center-Lizenzen vergeben und entziehen",
            Permission::AssignRoles => "Rollen vergeben und entziehen",
            Permission::ConfigureQueues => "Warteschlangen anlegen, ändern und löschen",
            Permission::ViewAnalytics => "Analysen ansehen",
            Permission::AccessConfigurationPortal => "das Konfigurationsportal öffnen",
            Permission::ViewQueueSettings => "Einstellungen ansehen",
            Permission::ManageQueueSettings => "Einstellungen ändern",
            Permission::ViewPauseReasons => "Pausengründe ansehen",
            Permission::ManagePauseReasons => "Pausengründe ändern",
            Permission::ViewSkills => "Skills und ihre Zuordnung zu Agenten ansehen",
            Permission::ManageSkills => "Skills und ihre Zuordnung zu Agenten ändern",
            Permission::MonitorQueue => "Anrufe und Agenten beobachten",
            Permission::SignInAgents => "Agenten an- und abmelden",
            Permission::ViewReports => "Berichte ansehen",
            Permission::ListenCalls => "Gespräche mithören",
            Permission::WhisperCalls => "Agenten während des Gesprächs zuflüstern",
            Permission::BargeCalls => "sich auf Gespräche aufschalten",
            Permission::UseAgentDashboard => "das Agenten-Dashboard verwenden",
            Permission::AcceptDirectCalls => "Direktanrufe annehmen",
            Permission::PlaceOutboundCalls => "ausgehende Anrufe tätigen",
            Permission::ServeQueue => "Kontakte bearbeiten",
            Permission::ManagePrerecordedMessages => "aufgezeichnete Ansagen verwalten",
            Permission::ManagePublicCannedMessages => "gemeinsame Textbausteine verwalten",
            Permission::CreateCustomTags => "eigene Tags anlegen",
        }
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::ContactAdmin => "Contact-Center-Administrator",
        Role::Supervisor => "Supervisor",
        Role::Agent => "Agent",
    }
}
