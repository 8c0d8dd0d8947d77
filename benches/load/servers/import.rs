//! Servers with an organization, which `queuegate import` writes.

use std::{fmt::Write, fs};

use queuegate::domain::model::{Queue, User};

use crate::{
    organization::{self, Plan, queue_extension, queue_id, user_extension},
    servers::{environment::Environment, process::Process},
};

/// Start queuegate on a new database with an organization.
///
/// The server is restarted after the import, so that the import's memory isn't part of the peak.
pub fn start_with_organization(environment: &Environment, database: &str, plan: &Plan) -> anyhow::Result<Process> {
    let database = environment.path(database);
    let server = Process::queuegate(environment, &database)?;
    import(environment, &server, plan)?;
    server.stop()?;
    Process::queuegate(environment, &database)
}

/// Create an organization by an import.
pub fn import(environment: &Environment, server: &Process, plan: &Plan) -> anyhow::Result<()> {
    let file = environment.path("organization.yaml");
    fs::write(&file, document(plan)?)?;
    let scheme = if environment.tls.is_some() { "https" } else { "http" };
    let address = format!("{scheme}://{}", server.address());
    let mut arguments = vec!["import".into(), file.into_os_string()];
    arguments.extend(["--server", &address, "--organization", plan.organization_id.as_str()].map(Into::into));
    if let Some(tls) = &environment.tls {
        arguments.extend(["--ca".into(), tls.certificate.clone().into_os_string()]);
    }
    environment.run(arguments).map(drop)
}

/// Write the organization as a document.
fn document(plan: &Plan) -> anyhow::Result<String> {
    let Plan { organization_id, users, queues, assignments, sessions: _ } = plan;
    let mut text = format!(
        "organization: {{ organization_id: {organization_id}, display_name: A contact center }}\n\
         settings: {{ organization: {{ unassigned_queue_sign_in: RESTRICTED }} }}\nqueues:\n"
    );
    for number in 0..*queues {
        let Queue { queue_id, display_name, .. } = organization::queue(number)?;
        let extension = queue_extension(number)?;
        writeln!(
            text,
            "  - {{ queue_id: {queue_id}, display_name: {display_name}, extension: {extension}, kind: CALL_QUEUE }}"
        )?;
    }
    text.push_str("users:\n");
    for number in 0..*users {
        let User { user_id, display_name, .. } = organization::user(number)?;
        let agent_of: Vec<String> = (0..*assignments)
            .map(|assignment| Ok(queue_id(plan.queue_of(number, assignment))?.to_string()))
            .collect::<anyhow::Result<_>>()?;
        writeln!(
            text,
            "  - {{ user_id: {user_id}, display_name: {display_name}, extension: {}, \
             contact_center_license: true, agent_of: [{}] }}",
            user_extension(number)?,
            agent_of.join(", ")
        )?;
    }
    Ok(text)
}
