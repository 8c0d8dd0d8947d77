//! Portuguese as it is written in Brazil, with the terms of telephony there: fila, ramal, grupo de toque, código de
//! recurso. Participles agree with the noun "usuário".

use super::{
    catalogue::{Sentences, roles, sentence},
    name::Name,
};
use crate::domain::{ids::Extension, model::Role, settings::Switch, vocabulary::Permission};

/// Portuguese.
pub struct Portuguese;

impl Sentences for Portuguese {
    fn unknown_user_id(&self, user_id: &str) -> String {
        sentence!("Não há nenhum usuário com o ID “{user_id}”.")
    }

    fn unknown_user_extension(&self, extension: Extension) -> String {
        sentence!("Não há nenhum usuário com o ramal {extension}.")
    }

    fn unknown_queue_id(&self, queue_id: &str) -> String {
        sentence!("Não há nenhuma fila com o ID “{queue_id}”.")
    }

    fn unknown_queue_extension(&self, extension: Extension) -> String {
        sentence!("Não há nenhuma fila com o ramal {extension}.")
    }

    fn unknown_supervisor_id(&self, user_id: &str) -> String {
        sentence!("O supervisor indicado é desconhecido: não há nenhum usuário com o ID “{user_id}”.")
    }

    fn unknown_supervisor_extension(&self, extension: Extension) -> String {
        sentence!("O supervisor indicado é desconhecido: não há nenhum usuário com o ramal {extension}.")
    }

    fn user_disabled(&self, user: &Name<'_>) -> String {
        sentence!("O usuário {user} está desativado e não pode fazer login em nenhuma fila.")
    }

    fn ring_group(&self, queue: &Name<'_>) -> String {
        sentence!("{queue} é um grupo de toque, e ninguém faz login em um grupo de toque.")
    }

    fn inbox_by_feature_code(&self, queue: &Name<'_>) -> String {
        sentence!("{queue} é uma caixa de entrada, que não é acessível pelo código de recurso; use o painel do agente.")
    }

    fn campaign_by_feature_code(&self, queue: &Name<'_>) -> String {
        sentence!("{queue} é uma campanha, que não é acessível pelo código de recurso; use o painel do agente.")
    }

    fn agent_role_required(&self, user: &Name<'_>) -> String {
        sentence!("O usuário {user} não tem a função de agente, necessária para o painel do agente.")
    }

    fn already_signed_in(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("O usuário {user} já fez login na fila {queue}.")
    }

    fn assigned(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("O usuário {user} está atribuído à fila {queue}.")
    }

    fn unassigned_allowed(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!(
            "O usuário {user} não está atribuído à fila {queue}, mas esta organização permite o login em filas não \
             atribuídas."
        )
    }

    fn unassigned_restricted(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!(
            "O usuário {user} não está atribuído à fila {queue}, e esta organização limita o login às filas \
             atribuídas."
        )
    }

    fn supervisor_disabled(&self, supervisor: &Name<'_>) -> String {
        sentence!("O usuário {supervisor} está desativado e não pode fazer o login nem o logout de ninguém.")
    }

    fn supervisor_role_required(&self, supervisor: &Name<'_>) -> String {
        sentence!("O usuário {supervisor} não tem a função de supervisor nem a de administrador do contact center.")
    }

    fn supervisor_queue_not_assigned(&self, supervisor: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!(
            "O usuário {supervisor} não supervisiona a fila {queue}, e aqui os supervisores estão limitados às \
             próprias filas."
        )
    }

    fn supervisor_sign_in(&self, supervisor: &Name<'_>, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("O usuário {supervisor} pode fazer o login do usuário {user} na fila {queue}.")
    }

    fn supervisor_sign_out(&self, supervisor: &Name<'_>, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("O usuário {supervisor} pode fazer o logout do usuário {user} na fila {queue}.")
    }

    fn disabled(&self, user: &Name<'_>) -> String {
        sentence!("O usuário {user} está desativado e não pode fazer nada.")
    }

    fn granted(&self, user: &Name<'_>, permission: Permission, queue: Option<&Name<'_>>, role: Role) -> String {
        let (doing, role) = (self.permission(permission), role_name(role));
        match queue {
            None => sentence!("O usuário {user} tem a permissão “{doing}” pela função de {role}."),
            Some(queue) => {
                sentence!("O usuário {user} tem a permissão “{doing}” para a fila {queue} pela função de {role}.")
            }
        }
    }

    fn queue_not_served(&self, user: &Name<'_>, permission: Permission, queue: &Name<'_>) -> String {
        let doing = self.permission(permission);
        sentence!(
            "O usuário {user} não tem a permissão “{doing}” para a fila {queue}: não está atribuído a ela nem fez \
             login nela."
        )
    }

    fn queue_not_supervised(&self, user: &Name<'_>, permission: Permission, queue: &Name<'_>) -> String {
        let doing = self.permission(permission);
        sentence!(
            "O usuário {user} não tem a permissão “{doing}” para a fila {queue}: não a supervisiona, e aqui os \
             supervisores estão limitados às próprias filas."
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
                "O usuário {user} tem a função de {role}, mas não a permissão “{doing}”: a configuração {setting} está \
                 desativada."
            ),
            Some(queue) => sentence!(
                "O usuário {user} tem a função de {role}, mas não a permissão “{doing}” para a fila {queue}: a \
                 configuração {setting} está desativada."
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
                "O usuário {user} tem a função de {role}, mas não a permissão “{doing}”: as configurações {first} e \
                 {second} estão desativadas."
            ),
            Some(queue) => sentence!(
                "O usuário {user} tem a função de {role}, mas não a permissão “{doing}” para a fila {queue}: as \
                 configurações {first} e {second} estão desativadas."
            ),
        }
    }

    fn role_required(&self, user: &Name<'_>, permission: Permission, queue: Option<&Name<'_>>) -> String {
        let (doing, roles) = (self.permission(permission), roles(permission, role_name, " ou de "));
        match queue {
            None => sentence!("O usuário {user} não tem a permissão “{doing}”: é necessária a função de {roles}."),
            Some(queue) => sentence!(
                "O usuário {user} não tem a permissão “{doing}” para a fila {queue}: é necessária a função de {roles}."
            ),
        }
    }

    fn no_user_may(&self) -> String {
        sentence!("Nenhum usuário pode fazer isso, apenas um sistema que não aja em nome de um usuário.")
    }

    fn permission(&self, permission: Permission) -> &'static str {
        match permission {
            Permission::ManagePermissions => "alterar as permissões das funções",
            Permission::AssignLicenses => "atribuir e retirar licenças do contact center",
            Permission::AssignRoles => "atribuir e retirar funções",
            Permission::ConfigureQueues => "criar, alterar e excluir filas",
            Permission::ViewAnalytics => "ver as análises",
            Permission::AccessConfigurationPortal => "abrir o portal de configuração",
            Permission::ViewQueueSettings => "ver as configurações",
            Permission::ManageQueueSettings => "alterar as configurações",
            Permission::ViewPauseReasons => "ver os motivos de pausa",
            Permission::ManagePauseReasons => "alterar os motivos de pausa",
            Permission::ViewSkills => "ver as habilidades e sua atribuição aos agentes",
            Permission::ManageSkills => "alterar as habilidades e sua atribuição aos agentes",
            Permission::MonitorQueue => "monitorar as chamadas e os agentes",
            Permission::SignInAgents => "fazer o login e o logout dos agentes",
            Permission::ViewReports => "ver os relatórios",
            Permission::ListenCalls => "ouvir as chamadas",
            Permission::WhisperCalls => "sussurrar para os agentes durante as chamadas",
            Permission::BargeCalls => "entrar em chamadas em andamento",
            Permission::UseAgentDashboard => "usar o painel do agente",
            Permission::AcceptDirectCalls => "atender chamadas diretas",
            Permission::PlaceOutboundCalls => "fazer chamadas de saída",
            Permission::ServeQueue => "atender contatos",
            Permission::ManagePrerecordedMessages => "gerenciar as mensagens pré-gravadas",
            Permission::ManagePublicCannedMessages => "gerenciar as respostas prontas compartilhadas",
            Permission::CreateCustomTags => "criar tags próprias",
        }
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::ContactAdmin => "administrador do contact center",
        Role::Supervisor => "supervisor",
        Role::Agent => "agente",
    }
}
