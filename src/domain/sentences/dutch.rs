//! Dutch, with the terms of Dutch telephony: wachtrij, intern nummer, belgroep, functiecode.

use super::{
    catalogue::{Sentences, roles, sentence},
    name::Name,
};
use crate::domain::{ids::Extension, model::Role, settings::Switch, vocabulary::Permission};

/// Dutch.
pub struct Dutch;

impl Sentences for Dutch {
    fn unknown_user_id(&self, user_id: &str) -> String {
        sentence!("Er is geen gebruiker met ID ‘{user_id}’.")
    }

    fn unknown_user_extension(&self, extension: Extension) -> String {
        sentence!("Er is geen gebruiker met het interne nummer {extension}.")
    }

    fn unknown_queue_id(&self, queue_id: &str) -> String {
        sentence!("Er is geen wachtrij met ID ‘{queue_id}’.")
    }

    fn unknown_queue_extension(&self, extension: Extension) -> String {
        sentence!("Er is geen wachtrij met het interne nummer {extension}.")
    }

    fn unknown_supervisor_id(&self, user_id: &str) -> String {
        sentence!("De opgegeven supervisor is onbekend: er is geen gebruiker met ID ‘{user_id}’.")
    }

    fn unknown_supervisor_extension(&self, extension: Extension) -> String {
        sentence!("De opgegeven supervisor is onbekend: er is geen gebruiker met het interne nummer {extension}.")
    }

    fn user_disabled(&self, user: &Name<'_>) -> String {
        sentence!("{user} is uitgeschakeld en kan zich bij geen enkele wachtrij aanmelden.")
    }

    fn ring_group(&self, queue: &Name<'_>) -> String {
        sentence!("{queue} is een belgroep, en bij een belgroep meldt niemand zich aan.")
    }

    fn inbox_by_feature_code(&self, queue: &Name<'_>) -> String {
        sentence!("{queue} is een inbox en is niet bereikbaar via de functiecode; gebruik het agentdashboard.")
    }

    fn campaign_by_feature_code(&self, queue: &Name<'_>) -> String {
        sentence!("{queue} is een campagne en is niet bereikbaar via de functiecode; gebruik het agentdashboard.")
    }

    fn agent_role_required(&self, user: &Name<'_>) -> String {
        sentence!("{user} heeft niet de rol agent, die nodig is voor het agentdashboard.")
    }

    fn already_signed_in(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("{user} is al aangemeld bij de wachtrij {queue}.")
    }

    fn assigned(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("{user} is toegewezen aan de wachtrij {queue}.")
    }

    fn unassigned_allowed(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!(
            "{user} is niet toegewezen aan de wachtrij {queue}, maar deze organisatie staat aanmelden bij \
             niet-toegewezen wachtrijen toe."
        )
    }

    fn unassigned_restricted(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!(
            "{user} is niet toegewezen aan de wachtrij {queue}, en deze organisatie beperkt aanmelden tot toegewezen \
             wachtrijen."
        )
    }

    fn supervisor_disabled(&self, supervisor: &Name<'_>) -> String {
        sentence!("{supervisor} is uitgeschakeld en kan niemand aan- of afmelden.")
    }

    fn supervisor_role_required(&self, supervisor: &Name<'_>) -> String {
        sentence!("{supervisor} heeft noch de rol supervisor, noch de rol contactcenterbeheerder.")
    }

    fn supervisor_queue_not_assigned(&self, supervisor: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!(
            "{supervisor} is geen supervisor van de wachtrij {queue}, en supervisors zijn hier beperkt tot hun eigen \
             wachtrijen."
        )
    }

    fn supervisor_sign_in(&self, supervisor: &Name<'_>, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("{supervisor} mag {user} aanmelden bij de wachtrij {queue}.")
    }

    fn supervisor_sign_out(&self, supervisor: &Name<'_>, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("{supervisor} mag {user} afmelden bij de wachtrij {queue}.")
    }

    fn disabled(&self, user: &Name<'_>) -> String {
        sentence!("{user} is uitgeschakeld en mag niets doen.")
    }

    fn granted(&self, user: &Name<'_>, permission: Permission, queue: Option<&Name<'_>>, role: Role) -> String {
        let (doing, role) = (self.permission(permission), role_name(role));
        match queue {
            None => sentence!("{user} heeft de machtiging ‘{doing}’ via de rol {role}."),
            Some(queue) => {
                sentence!("{user} heeft de machtiging ‘{doing}’ voor de wachtrij {queue} via de rol {role}.")
            }
        }
    }

    fn queue_not_served(&self, user: &Name<'_>, permission: Permission, queue: &Name<'_>) -> String {
        let doing = self.permission(permission);
        sentence!(
            "{user} heeft de machtiging ‘{doing}’ voor de wachtrij {queue} niet, want er is geen toewijzing \
             aan of aanmelding bij deze wachtrij."
        )
    }

    fn queue_not_supervised(&self, user: &Name<'_>, permission: Permission, queue: &Name<'_>) -> String {
        let doing = self.permission(permission);
        sentence!(
            "{user} heeft de machtiging ‘{doing}’ voor de wachtrij {queue} niet: supervisors zijn hier beperkt tot hun \
             eigen wachtrijen, en deze hoort daar niet bij."
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
                "{user} heeft de rol {role}, maar niet de machtiging ‘{doing}’: de instelling {setting} staat uit."
            ),
            Some(queue) => sentence!(
                "{user} heeft de rol {role}, maar niet de machtiging ‘{doing}’ voor de wachtrij {queue}: de instelling \
                 {setting} staat uit."
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
                "{user} heeft de rol {role}, maar niet de machtiging ‘{doing}’: de instellingen {first} en {second} \
                 staan uit."
            ),
            Some(queue) => sentence!(
                "{user} heeft de rol {role}, maar niet de machtiging ‘{doing}’ voor de wachtrij {queue}: de \
                 instellingen {first} en {second} staan uit."
            ),
        }
    }

    fn role_required(&self, user: &Name<'_>, permission: Permission, queue: Option<&Name<'_>>) -> String {
        let (doing, roles) = (self.permission(permission), roles(permission, role_name, " of "));
        match queue {
            None => {
                sentence!("{user} heeft de machtiging ‘{doing}’ niet: daarvoor is de rol {roles} nodig.")
            }
            Some(queue) => sentence!(
                "{user} heeft de machtiging ‘{doing}’ voor de wachtrij {queue} niet: daarvoor is de rol {roles} nodig."
            ),
        }
    }

    fn no_user_may(&self) -> String {
        sentence!("Geen enkele gebruiker mag dit, alleen een systeem dat niet namens een gebruiker handelt.")
    }

    fn permission(&self, permission: Permission) -> &'static str {
        match permission {
            Permission::ManagePermissions => "machtigingen van rollen wijzigen",
            Permission::AssignLicenses => "contactcenterlicenties toekennen en intrekken",
            Permission::AssignRoles => "rollen toekennen en intrekken",
            Permission::ConfigureQueues => "wachtrijen aanmaken, wijzigen en verwijderen",
            Permission::ViewAnalytics => "analyses bekijken",
            Permission::AccessConfigurationPortal => "het configuratieportaal openen",
            Permission::ViewQueueSettings => "instellingen bekijken",
            Permission::ManageQueueSettings => "instellingen wijzigen",
            Permission::ViewPauseReasons => "pauzeredenen bekijken",
            Permission::ManagePauseReasons => "pauzeredenen wijzigen",
            Permission::ViewSkills => "vaardigheden en hun toewijzing aan agents bekijken",
            Permission::ManageSkills => "vaardigheden en hun toewijzing aan agents wijzigen",
            Permission::MonitorQueue => "gesprekken en agents volgen",
            Permission::SignInAgents => "agents aan- en afmelden",
            Permission::ViewReports => "rapporten bekijken",
            Permission::ListenCalls => "meeluisteren met gesprekken",
            Permission::WhisperCalls => "agents tijdens gesprekken iets influisteren",
            Permission::BargeCalls => "inbreken in gesprekken",
            Permission::UseAgentDashboard => "het agentdashboard gebruiken",
            Permission::AcceptDirectCalls => "directe oproepen aannemen",
            Permission::PlaceOutboundCalls => "uitgaande oproepen plaatsen",
            Permission::ServeQueue => "contacten afhandelen",
            Permission::ManagePrerecordedMessages => "vooraf opgenomen berichten beheren",
            Permission::ManagePublicCannedMessages => "gedeelde standaardantwoorden beheren",
            Permission::CreateCustomTags => "eigen tags aanmaken",
        }
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::ContactAdmin => "contactcenterbeheerder",
        Role::Supervisor => "supervisor",
        Role::Agent => "agent",
    }
}
