//! Italian, with the terms of Italian telephony: coda, interno, gruppo di chiamata, codice funzione. Participles agree
//! with the noun "utente".

use super::{
    catalogue::{Sentences, roles, sentence},
    name::Name,
};
use crate::domain::{ids::Extension, model::Role, settings::Switch, vocabulary::Permission};

/// Italian.
pub struct Italian;

impl Sentences for Italian {
    fn unknown_user_id(&self, user_id: &str) -> String {
        sentence!("Non esiste alcun utente con l'ID «{user_id}».")
    }

    fn unknown_user_extension(&self, extension: Extension) -> String {
        sentence!("Non esiste alcun utente con il numero interno {extension}.")
    }

    fn unknown_queue_id(&self, queue_id: &str) -> String {
        sentence!("Non esiste alcuna coda con l'ID «{queue_id}».")
    }

    fn unknown_queue_extension(&self, extension: Extension) -> String {
        sentence!("Non esiste alcuna coda con il numero interno {extension}.")
    }

    fn unknown_supervisor_id(&self, user_id: &str) -> String {
        sentence!("Il supervisore indicato è sconosciuto: non esiste alcun utente con l'ID «{user_id}».")
    }

    fn unknown_supervisor_extension(&self, extension: Extension) -> String {
        sentence!("Il supervisore indicato è sconosciuto: non esiste alcun utente con il numero interno {extension}.")
    }

    fn user_disabled(&self, user: &Name<'_>) -> String {
        sentence!("L'utente {user} è disabilitato e non può accedere a nessuna coda.")
    }

    fn ring_group(&self, queue: &Name<'_>) -> String {
        sentence!("{queue} è un gruppo di chiamata, e a un gruppo di chiamata non accede nessuno.")
    }

    fn inbox_by_feature_code(&self, queue: &Name<'_>) -> String {
        sentence!(
            "{queue} è una casella di posta in arrivo, non raggiungibile con il codice funzione; utilizzare la \
             dashboard agente."
        )
    }

    fn campaign_by_feature_code(&self, queue: &Name<'_>) -> String {
        sentence!("{queue} è una campagna, non raggiungibile con il codice funzione; utilizzare la dashboard agente.")
    }

    fn agent_role_required(&self, user: &Name<'_>) -> String {
        sentence!("L'utente {user} non ha il ruolo di agente, necessario per la dashboard agente.")
    }

    fn already_signed_in(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("L'utente {user} ha già effettuato l'accesso alla coda {queue}.")
    }

    fn assigned(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("L'utente {user} è assegnato alla coda {queue}.")
    }

    fn unassigned_allowed(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!(
            "L'utente {user} non è assegnato alla coda {queue}, ma questa organizzazione consente l'accesso anche alle \
             code non assegnate."
        )
    }

    fn unassigned_restricted(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!(
            "L'utente {user} non è assegnato alla coda {queue}, e questa organizzazione limita l'accesso alle code \
             assegnate."
        )
    }

    fn supervisor_disabled(&self, supervisor: &Name<'_>) -> String {
        sentence!("L'utente {supervisor} è disabilitato e non può far accedere né far uscire nessuno.")
    }

    fn supervisor_role_required(&self, supervisor: &Name<'_>) -> String {
        sentence!(
            "L'utente {supervisor} non ha né il ruolo di supervisore né quello di amministratore del contact center."
        )
    }

    fn supervisor_queue_not_assigned(&self, supervisor: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!(
            "L'utente {supervisor} non è supervisore della coda {queue}, e qui i supervisori sono limitati alle \
             proprie code."
        )
    }

    fn supervisor_sign_in(&self, supervisor: &Name<'_>, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("L'utente {supervisor} può far accedere l'utente {user} alla coda {queue}.")
    }

    fn supervisor_sign_out(&self, supervisor: &Name<'_>, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("L'utente {supervisor} può far uscire l'utente {user} dalla coda {queue}.")
    }

    fn disabled(&self, user: &Name<'_>) -> String {
        sentence!("L'utente {user} è disabilitato e non può fare nulla.")
    }

    fn granted(&self, user: &Name<'_>, permission: Permission, queue: Option<&Name<'_>>, role: Role) -> String {
        let (doing, role) = (self.permission(permission), role_name(role));
        match queue {
            None => sentence!("L'utente {user} ha l'autorizzazione «{doing}» in base al ruolo di {role}."),
            Some(queue) => sentence!(
                "L'utente {user} ha l'autorizzazione «{doing}» per la coda {queue} in base al ruolo di {role}."
            ),
        }
    }

    fn queue_not_served(&self, user: &Name<'_>, permission: Permission, queue: &Name<'_>) -> String {
        let doing = self.permission(permission);
        sentence!(
            "L'utente {user} non ha l'autorizzazione «{doing}» per la coda {queue}: non è assegnato alla coda e non vi \
             ha effettuato l'accesso."
        )
    }

    fn queue_not_supervised(&self, user: &Name<'_>, permission: Permission, queue: &Name<'_>) -> String {
        let doing = self.permission(permission);
        sentence!(
            "L'utente {user} non ha l'autorizzazione «{doing}» per la coda {queue}: non ne è supervisore, e qui i \
             supervisori sono limitati alle proprie code."
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
                "L'utente {user} ha il ruolo di {role}, ma non l'autorizzazione «{doing}»: l'impostazione {setting} è \
                 disattivata."
            ),
            Some(queue) => sentence!(
                "L'utente {user} ha il ruolo di {role}, ma non l'autorizzazione «{doing}» per la coda {queue}: \
                 l'impostazione {setting} è disattivata."
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
                "L'utente {user} ha il ruolo di {role}, ma non l'autorizzazione «{doing}»: le impostazioni {first} e \
                 {second} sono disattivate."
            ),
            Some(queue) => sentence!(
                "L'utente {user} ha il ruolo di {role}, ma non l'autorizzazione «{doing}» per la coda {queue}: le \
                 impostazioni {first} e {second} sono disattivate."
            ),
        }
    }

    fn role_required(&self, user: &Name<'_>, permission: Permission, queue: Option<&Name<'_>>) -> String {
        let (doing, roles) = (self.permission(permission), roles(permission, role_name, " o di "));
        match queue {
            None => sentence!("L'utente {user} non ha l'autorizzazione «{doing}»: serve il ruolo di {roles}."),
            Some(queue) => sentence!(
                "L'utente {user} non ha l'autorizzazione «{doing}» per la coda {queue}: serve il ruolo di {roles}."
            ),
        }
    }

    fn no_user_may(&self) -> String {
        sentence!("Nessun utente può farlo; può farlo solo un sistema che non agisce per conto di un utente.")
    }

    fn permission(&self, permission: Permission) -> &'static str {
        match permission {
            Permission::ManagePermissions => "modificare le autorizzazioni dei ruoli",
            Permission::AssignLicenses => "assegnare e revocare le licenze del contact center",
            Permission::AssignRoles => "assegnare e revocare i ruoli",
            Permission::ConfigureQueues => "creare, modificare ed eliminare le code",
            Permission::ViewAnalytics => "vedere le analisi",
            Permission::AccessConfigurationPortal => "aprire il portale di configurazione",
            Permission::ViewQueueSettings => "vedere le impostazioni",
            Permission::ManageQueueSettings => "modificare le impostazioni",
            Permission::ViewPauseReasons => "vedere i motivi di pausa",
            Permission::ManagePauseReasons => "modificare i motivi di pausa",
            Permission::ViewSkills => "vedere le competenze e la loro assegnazione agli agenti",
            Permission::ManageSkills => "modificare le competenze e la loro assegnazione agli agenti",
            Permission::MonitorQueue => "monitorare le chiamate e gli agenti",
            Permission::SignInAgents => "far accedere e far uscire gli agenti",
            Permission::ViewReports => "vedere i report",
            Permission::ListenCalls => "ascoltare le chiamate",
            Permission::WhisperCalls => "suggerire agli agenti durante le chiamate",
            Permission::BargeCalls => "inserirsi nelle chiamate",
            Permission::UseAgentDashboard => "utilizzare la dashboard agente",
            Permission::AcceptDirectCalls => "accettare chiamate dirette",
            Permission::PlaceOutboundCalls => "effettuare chiamate in uscita",
            Permission::ServeQueue => "gestire i contatti",
            Permission::ManagePrerecordedMessages => "gestire i messaggi preregistrati",
            Permission::ManagePublicCannedMessages => "gestire le risposte predefinite condivise",
            Permission::CreateCustomTags => "creare tag personali",
        }
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::ContactAdmin => "amministratore del contact center",
        Role::Supervisor => "supervisore",
        Role::Agent => "agente",
    }
}
