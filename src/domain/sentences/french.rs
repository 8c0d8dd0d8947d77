//! French, with the terms of French telephony: file d'attente, numéro interne, groupe de sonnerie, code de fonction.
//! Participles agree with the noun "utilisateur". A space before `:` and within quotation marks doesn't break the line.

use super::{
    catalogue::{Sentences, roles, sentence},
    name::Name,
};
use crate::domain::{ids::Extension, model::Role, settings::Switch, vocabulary::Permission};

/// French.
pub struct French;

impl Sentences for French {
    fn unknown_user_id(&self, user_id: &str) -> String {
        sentence!("Aucun utilisateur n'a l'identifiant «\u{a0}{user_id}\u{a0}».")
    }

    fn unknown_user_extension(&self, extension: Extension) -> String {
        sentence!("Aucun utilisateur n'a le numéro interne {extension}.")
    }

    fn unknown_queue_id(&self, queue_id: &str) -> String {
        sentence!("Aucune file d'attente n'a l'identifiant «\u{a0}{queue_id}\u{a0}».")
    }

    fn unknown_queue_extension(&self, extension: Extension) -> String {
        sentence!("Aucune file d'attente n'a le numéro interne {extension}.")
    }

    fn unknown_supervisor_id(&self, user_id: &str) -> String {
        sentence!(
            "Le superviseur indiqué est inconnu\u{a0}: aucun utilisateur n'a l'identifiant «\u{a0}{user_id}\u{a0}»."
        )
    }

    fn unknown_supervisor_extension(&self, extension: Extension) -> String {
        sentence!("Le superviseur indiqué est inconnu\u{a0}: aucun utilisateur n'a le numéro interne {extension}.")
    }

    fn user_disabled(&self, user: &Name<'_>) -> String {
        sentence!("L'utilisateur {user} est désactivé et ne peut se connecter à aucune file d'attente.")
    }

    fn ring_group(&self, queue: &Name<'_>) -> String {
        sentence!("{queue} est un groupe de sonnerie, et personne ne se connecte à un groupe de sonnerie.")
    }

    fn inbox_by_feature_code(&self, queue: &Name<'_>) -> String {
        sentence!(
            "{queue} est une boîte de réception, inaccessible par le code de fonction\u{a0}; utilisez le tableau de \
             bord de l'agent."
        )
    }

    fn campaign_by_feature_code(&self, queue: &Name<'_>) -> String {
        sentence!(
            "{queue} est une campagne, inaccessible par le code de fonction\u{a0}; utilisez le tableau de bord de \
             l'agent."
        )
    }

    fn agent_role_required(&self, user: &Name<'_>) -> String {
        sentence!("L'utilisateur {user} n'a pas le rôle d'agent, nécessaire pour le tableau de bord de l'agent.")
    }

    fn already_signed_in(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("L'utilisateur {user} est déjà connecté à la file d'attente {queue}.")
    }

    fn assigned(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("L'utilisateur {user} est affecté à la file d'attente {queue}.")
    }

    fn unassigned_allowed(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!(
            "L'utilisateur {user} n'est pas affecté à la file d'attente {queue}, mais cette organisation autorise \
             aussi la connexion sans affectation."
        )
    }

    fn unassigned_restricted(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!(
            "L'utilisateur {user} n'est pas affecté à la file d'attente {queue}, et cette organisation limite la \
             connexion aux files d'attente auxquelles un utilisateur est affecté."
        )
    }

    fn supervisor_disabled(&self, supervisor: &Name<'_>) -> String {
        sentence!("L'utilisateur {supervisor} est désactivé et ne peut connecter ni déconnecter personne.")
    }

    fn supervisor_role_required(&self, supervisor: &Name<'_>) -> String {
        sentence!(
            "L'utilisateur {supervisor} n'a ni le rôle de superviseur ni celui d'administrateur du centre de contact."
        )
    }

    fn supervisor_queue_not_assigned(&self, supervisor: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!(
            "L'utilisateur {supervisor} ne supervise pas la file d'attente {queue}, et les superviseurs sont ici \
             limités à leurs propres files d'attente."
        )
    }

    fn supervisor_sign_in(&self, supervisor: &Name<'_>, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("L'utilisateur {supervisor} peut connecter l'utilisateur {user} à la file d'attente {queue}.")
    }

    fn supervisor_sign_out(&self, supervisor: &Name<'_>, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("L'utilisateur {supervisor} peut déconnecter l'utilisateur {user} de la file d'attente {queue}.")
    }

    fn disabled(&self, user: &Name<'_>) -> String {
        sentence!("L'utilisateur {user} est désactivé et ne peut rien faire.")
    }

    fn granted(&self, user: &Name<'_>, permission: Permission, queue: Option<&Name<'_>>, role: Role) -> String {
        let (doing, of_role) = (self.permission(permission), of_role(role));
        match queue {
            None => sentence!("L'utilisateur {user} a l'autorisation «\u{a0}{doing}\u{a0}» grâce au rôle {of_role}."),
            Some(queue) => sentence!(
                "L'utilisateur {user} a l'autorisation «\u{a0}{doing}\u{a0}» pour la file d'attente {queue} grâce au \
                 rôle {of_role}."
            ),
        }
    }

    fn queue_not_served(&self, user: &Name<'_>, permission: Permission, queue: &Name<'_>) -> String {
        let doing = self.permission(permission);
        sentence!(
            "L'utilisateur {user} n'a pas l'autorisation «\u{a0}{doing}\u{a0}» pour la file d'attente {queue}\u{a0}: \
             il n'y est ni affecté ni connecté."
        )
    }

    fn queue_not_supervised(&self, user: &Name<'_>, permission: Permission, queue: &Name<'_>) -> String {
        let doing = self.permission(permission);
        sentence!(
            "L'utilisateur {user} n'a pas l'autorisation «\u{a0}{doing}\u{a0}» pour la file d'attente {queue}\u{a0}: \
             il ne la supervise pas, et les superviseurs sont ici limités à leurs propres files d'attente."
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
        let (doing, of_role) = (self.permission(permission), of_role(role));
        match queue {
            None => sentence!(
                "L'utilisateur {user} a le rôle {of_role}, mais pas l'autorisation «\u{a0}{doing}\u{a0}»\u{a0}: le \
                 paramètre {setting} est désactivé."
            ),
            Some(queue) => sentence!(
                "L'utilisateur {user} a le rôle {of_role}, mais pas l'autorisation «\u{a0}{doing}\u{a0}» pour la file \
                 d'attente {queue}\u{a0}: le paramètre {setting} est désactivé."
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
        let (doing, of_role) = (self.permission(permission), of_role(role));
        match queue {
            None => sentence!(
                "L'utilisateur {user} a le rôle {of_role}, mais pas l'autorisation «\u{a0}{doing}\u{a0}»\u{a0}: les \
                 paramètres {first} et {second} sont désactivés."
            ),
            Some(queue) => sentence!(
                "L'utilisateur {user} a le rôle {of_role}, mais pas l'autorisation «\u{a0}{doing}\u{a0}» pour la file \
                 d'attente {queue}\u{a0}: les paramètres {first} et {second} sont désactivés."
            ),
        }
    }

    fn role_required(&self, user: &Name<'_>, permission: Permission, queue: Option<&Name<'_>>) -> String {
        let (doing, of_roles) = (self.permission(permission), roles(permission, of_role, " ou "));
        match queue {
            None => sentence!(
                "L'utilisateur {user} n'a pas l'autorisation «\u{a0}{doing}\u{a0}»\u{a0}: il faut le rôle {of_roles}."
            ),
            Some(queue) => sentence!(
                "L'utilisateur {user} n'a pas l'autorisation «\u{a0}{doing}\u{a0}» pour la file d'attente \
                 {queue}\u{a0}: il faut le rôle {of_roles}."
            ),
        }
    }

    fn no_user_may(&self) -> String {
        sentence!("Aucun utilisateur ne peut le faire, seulement un système qui n'agit pas au nom d'un utilisateur.")
    }

    fn permission(&self, permission: Permission) -> &'static str {
        match permission {
            Permission::ManagePermissions => "modifier les autorisations des rôles",
            Permission::AssignLicenses => "attribuer et retirer les licences du centre de contact",
            Permission::AssignRoles => "attribuer et retirer les rôles",
            Permission::ConfigureQueues => "créer, modifier et supprimer les files d'attente",
            Permission::ViewAnalytics => "consulter les analyses",
            Permission::AccessConfigurationPortal => "ouvrir le portail de configuration",
            Permission::ViewQueueSettings => "consulter les paramètres",
            Permission::ManageQueueSettings => "modifier les paramètres",
            Permission::ViewPauseReasons => "consulter les motifs de pause",
            Permission::ManagePauseReasons => "modifier les motifs de pause",
            Permission::ViewSkills => "consulter les compétences et leur attribution aux agents",
            Permission::ManageSkills => "modifier les compétences et leur attribution aux agents",
            Permission::MonitorQueue => "surveiller les appels et les agents",
            Permission::SignInAgents => "connecter et déconnecter les agents",
            Permission::ViewReports => "consulter les rapports",
            Permission::ListenCalls => "écouter les appels",
            Permission::WhisperCalls => "chuchoter aux agents pendant les appels",
            Permission::BargeCalls => "intervenir dans les appels",
            Permission::UseAgentDashboard => "utiliser le tableau de bord de l'agent",
            Permission::AcceptDirectCalls => "accepter les appels directs",
            Permission::PlaceOutboundCalls => "passer des appels sortants",
            Permission::ServeQueue => "traiter les contacts",
            Permission::ManagePrerecordedMessages => "gérer les messages préenregistrés",
            Permission::ManagePublicCannedMessages => "gérer les réponses prédéfinies communes",
            Permission::CreateCustomTags => "créer ses propres étiquettes",
        }
    }
}

/// Return a role after "le rôle", with the preposition that its first letter takes.
fn of_role(role: Role) -> &'static str {
    match role {
        Role::ContactAdmin => "d'administrateur du centre de contact",
        Role::Supervisor => "de superviseur",
        Role::Agent => "d'agent",
    }
}
