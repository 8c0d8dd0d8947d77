//! Spanish, with the terms of Spanish telephony: cola, extensión, grupo de timbrado, código de función. Participles
//! agree with the noun "usuario".

use super::{
    catalogue::{Sentences, roles, sentence},
    name::Name,
};
use crate::domain::{ids::Extension, model::Role, settings::Switch, vocabulary::Permission};

/// Spanish.
pub struct Spanish;

impl Sentences for Spanish {
    fn unknown_user_id(&self, user_id: &str) -> String {
        sentence!("No hay ningún usuario con el ID «{user_id}».")
    }

    fn unknown_user_extension(&self, extension: Extension) -> String {
        sentence!("No hay ningún usuario con la extensión {extension}.")
    }

    fn unknown_queue_id(&self, queue_id: &str) -> String {
        sentence!("No hay ninguna cola con el ID «{queue_id}».")
    }

    fn unknown_queue_extension(&self, extension: Extension) -> String {
        sentence!("No hay ninguna cola con la extensión {extension}.")
    }

    fn unknown_supervisor_id(&self, user_id: &str) -> String {
        sentence!("El supervisor indicado es desconocido: no hay ningún usuario con el ID «{user_id}».")
    }

    fn unknown_supervisor_extension(&self, extension: Extension) -> String {
        sentence!("El supervisor indicado es desconocido: no hay ningún usuario con la extensión {extension}.")
    }

    fn user_disabled(&self, user: &Name<'_>) -> String {
        sentence!("El usuario {user} está deshabilitado y no puede iniciar sesión en ninguna cola.")
    }

    fn ring_group(&self, queue: &Name<'_>) -> String {
        sentence!("{queue} es un grupo de timbrado, y nadie inicia sesión en un grupo de timbrado.")
    }

    fn inbox_by_feature_code(&self, queue: &Name<'_>) -> String {
        sentence!(
            "{queue} es una bandeja de entrada, a la que no se accede con el código de función; utilice el panel del \
             agente."
        )
    }

    fn campaign_by_feature_code(&self, queue: &Name<'_>) -> String {
        sentence!(
            "{queue} es una campaña, a la que no se accede con el código de función; utilice el panel del agente."
        )
    }

    fn agent_role_required(&self, user: &Name<'_>) -> String {
        sentence!("El usuario {user} no tiene el rol de agente, necesario para el panel del agente.")
    }

    fn already_signed_in(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("El usuario {user} ya ha iniciado sesión en la cola {queue}.")
    }

    fn assigned(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("El usuario {user} está asignado a la cola {queue}.")
    }

    fn unassigned_allowed(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!(
            "El usuario {user} no está asignado a la cola {queue}, pero esta organización permite iniciar sesión en \
             colas no asignadas."
        )
    }

    fn unassigned_restricted(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!(
            "El usuario {user} no está asignado a la cola {queue}, y esta organización limita el inicio de sesión a \
             las colas asignadas."
        )
    }

    fn supervisor_disabled(&self, supervisor: &Name<'_>) -> String {
        sentence!("El usuario {supervisor} está deshabilitado y no puede iniciar ni cerrar la sesión de nadie.")
    }

    fn supervisor_role_required(&self, supervisor: &Name<'_>) -> String {
        sentence!("El usuario {supervisor} no tiene ni el rol de supervisor ni el de administrador del contact center.")
    }

    fn supervisor_queue_not_assigned(&self, supervisor: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!(
            "El usuario {supervisor} no supervisa la cola {queue}, y aquí los supervisores están limitados a sus \
             propias colas."
        )
    }

    fn supervisor_sign_in(&self, supervisor: &Name<'_>, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("El usuario {supervisor} puede iniciar la sesión del usuario {user} en la cola {queue}.")
    }

    fn supervisor_sign_out(&self, supervisor: &Name<'_>, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("El usuario {supervisor} puede cerrar la sesión del usuario {user} en la cola {queue}.")
    }

    fn disabled(&self, user: &Name<'_>) -> String {
        sentence!("El usuario {user} está deshabilitado y no puede hacer nada.")
    }

    fn granted(&self, user: &Name<'_>, permission: Permission, queue: Option<&Name<'_>>, role: Role) -> String {
        let (doing, role) = (self.permission(permission), role_name(role));
        match queue {
            None => sentence!("El usuario {user} tiene el permiso «{doing}» por su rol de {role}."),
            Some(queue) => {
                sentence!("El usuario {user} tiene el permiso «{doing}» para la cola {queue} por su rol de {role}.")
            }
        }
    }

    fn queue_not_served(&self, user: &Name<'_>, permission: Permission, queue: &Name<'_>) -> String {
        let doing = self.permission(permission);
        sentence!(
            "El usuario {user} no tiene el permiso «{doing}» para la cola {queue}: no está asignado a ella ni ha \
             iniciado sesión en ella."
        )
    }

    fn queue_not_supervised(&self, user: &Name<'_>, permission: Permission, queue: &Name<'_>) -> String {
        let doing = self.permission(permission);
        sentence!(
            "El usuario {user} no tiene el permiso «{doing}» para la cola {queue}: no la supervisa, y aquí los \
             supervisores están limitados a sus propias colas."
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
                "El usuario {user} tiene el rol de {role}, pero no el permiso «{doing}»: el ajuste {setting} está \
                 desactivado."
            ),
            Some(queue) => sentence!(
                "El usuario {user} tiene el rol de {role}, pero no el permiso «{doing}» para la cola {queue}: el \
                 ajuste {setting} está desactivado."
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
                "El usuario {user} tiene el rol de {role}, pero no el permiso «{doing}»: los ajustes {first} y \
                 {second} están desactivados."
            ),
            Some(queue) => sentence!(
                "El usuario {user} tiene el rol de {role}, pero no el permiso «{doing}» para la cola {queue}: los \
                 ajustes {first} y {second} están desactivados."
            ),
        }
    }

    fn role_required(&self, user: &Name<'_>, permission: Permission, queue: Option<&Name<'_>>) -> String {
        let (doing, roles) = (self.permission(permission), roles(permission, role_name, " o de "));
        match queue {
            None => sentence!("El usuario {user} no tiene el permiso «{doing}»: se requiere el rol de {roles}."),
            Some(queue) => sentence!(
                "El usuario {user} no tiene el permiso «{doing}» para la cola {queue}: se requiere el rol de {roles}."
            ),
        }
    }

    fn no_user_may(&self) -> String {
        sentence!("Ningún usuario puede hacerlo, solo un sistema que no actúe en nombre de un usuario.")
    }

    fn permission(&self, permission: Permission) -> &'static str {
        match permission {
            Permission::ManagePermissions => "cambiar los permisos de los roles",
            Permission::AssignLicenses => "asignar y retirar licencias del contact center",
            Permission::AssignRoles => "asignar y retirar roles",
            Permission::ConfigureQueues => "crear, modificar y eliminar colas",
            Permission::ViewAnalytics => "ver los análisis",
            Permission::AccessConfigurationPortal => "abrir el portal de configuración",
            Permission::ViewQueueSettings => "ver los ajustes",
            Permission::ManageQueueSettings => "cambiar los ajustes",
            Permission::ViewPauseReasons => "ver los motivos de pausa",
            Permission::ManagePauseReasons => "cambiar los motivos de pausa",
            Permission::ViewSkills => "ver las habilidades y su asignación a los agentes",
            Permission::ManageSkills => "cambiar las habilidades y su asignación a los agentes",
            Permission::MonitorQueue => "monitorizar las llamadas y los agentes",
            Permission::SignInAgents => "iniciar y cerrar la sesión de los agentes",
            Permission::ViewReports => "ver los informes",
            Permission::ListenCalls => "escuchar las llamadas",
            Permission::WhisperCalls => "susurrar a los agentes durante las llamadas",
            Permission::BargeCalls => "entrar en llamadas en curso",
            Permission::UseAgentDashboard => "utilizar el panel del agente",
            Permission::AcceptDirectCalls => "aceptar llamadas directas",
            Permission::PlaceOutboundCalls => "realizar llamadas salientes",
            Permission::ServeQueue => "atender contactos",
            Permission::ManagePrerecordedMessages => "gestionar los mensajes pregrabados",
            Permission::ManagePublicCannedMessages => "gestionar las respuestas predefinidas compartidas",
            Permission::CreateCustomTags => "crear etiquetas propias",
        }
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::ContactAdmin => "administrador del contact center",
        Role::Supervisor => "supervisor",
        Role::Agent => "agente",
    }
}
