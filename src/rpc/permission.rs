//! PermissionService.

use prost_types::FieldMask;
use tonic::{Request, Response, Status};

use super::{
    batch,
    error::Error,
    from_proto::{self, all},
    language::received,
    page::{Page, Paging},
    proto::{self, permission_service_server::PermissionService},
    services::{CallerServices, authorize, try_out, unexpected},
    to_proto,
};
use crate::domain::{
    command::{Action, Command, Outcome, Rejection},
    explain::PermissionExplanation,
    ids::{OrganizationId, QueueRef, UserRef},
    language::Language,
    permission::{PermissionCheck, check},
    plan::{Plan, found_organization},
    preview::{Impact, SessionImpact, UserImpact, preview},
    snapshot::{OrganizationState, Snapshot},
    time::Timestamp,
    vocabulary::Permission,
};

#[tonic::async_trait]
impl PermissionService for CallerServices {
    async fn list_permissions(
        &self,
        request: Request<proto::ListPermissionsRequest>,
    ) -> Result<Response<proto::ListPermissionsResponse>, Status> {
        let (language, proto::ListPermissionsRequest {}) = received(request);
        let permissions = Permission::ALL.iter();
        Ok(Response::new(proto::ListPermissionsResponse {
            permissions: permissions.map(|&known| to_proto::permission_description(known, language)).collect(),
            description_language_code: language.code().to_owned(),
            revision: self.state()?.snapshot().revision().to_string(),
        }))
    }

    async fn get_permission_settings(
        &self,
        request: Request<proto::GetPermissionSettingsRequest>,
    ) -> Result<Response<proto::GetPermissionSettingsResponse>, Status> {
        let proto::GetPermissionSettingsRequest { organization_id, at_least_revision } = request.into_inner();
        let (organization_id, ()) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            from_proto::at_least(&at_least_revision),
        ))?;
        let snapshot = self.snapshot(&at_least_revision).await?;
        let organization = found_organization(&snapshot, &organization_id)?;
        Ok(Response::new(proto::GetPermissionSettingsResponse {
            settings: Some(to_proto::settings(&organization_id, organization.settings(), organization.settings_etag())),
            revision: snapshot.revision().to_string(),
        }))
    }

    async fn update_permission_settings(
        &self,
        request: Request<proto::UpdatePermissionSettingsRequest>,
    ) -> Result<Response<proto::UpdatePermissionSettingsResponse>, Status> {
        let (language, request) = received(request);
        let proto::UpdatePermissionSettingsRequest {
            organization_id,
            settings,
            update_mask,
            request_id,
            validate_only,
            actor_user_id,
        } = request;
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let action = update(&organization_id, settings, update_mask);
        if validate_only {
            let (snapshot, now) = (self.snapshot("").await?, self.state()?.now());
            let actor = from_proto::optional("actor_user_id", &actor_user_id);
            let (organization_id, action, actor) = all((organization, action, actor))?;
            let command = Command { organization_id, action, actor };
            authorize(&self.caller, &command)?;
            let planned = try_out(&snapshot, &command, now).map_err(|error| error.in_language(language))?;
            let settings = tried_out(&snapshot, &planned, &command.organization_id)?;
            let revision = snapshot.revision().to_string();
            return Ok(Response::new(proto::UpdatePermissionSettingsResponse { settings: Some(settings), revision }));
        }
        let (organization_id, done) = self.execute(language, organization, action, &actor_user_id, &request_id).await?;
        let Outcome::Settings { settings, etag } = &done.outcome else {
            return Err(unexpected(&done.outcome).into());
        };
        Ok(Response::new(proto::UpdatePermissionSettingsResponse {
            settings: Some(to_proto::settings(&organization_id, settings, *etag)),
            revision: done.revision.to_string(),
        }))
    }

    async fn preview_permission_settings(
        &self,
        request: Request<proto::PreviewPermissionSettingsRequest>,
    ) -> Result<Response<proto::PreviewPermissionSettingsResponse>, Status> {
        let proto::PreviewPermissionSettingsRequest {
            organization_id,
            settings,
            update_mask,
            page_size,
            page_token,
            at_least_revision,
        } = request.into_inner();
        let (organization_id, action, paging) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            update(&organization_id, settings, update_mask),
            Paging::read(page_size, &page_token, &at_least_revision),
        ))?;
        let page = Page::begin(self, &organization_id, &("PreviewPermissionSettings", &action), paging).await?;
        let now = self.state()?.now();
        let command = Command { organization_id, action, actor: None };
        let owner = page.owner.clone();
        Ok(Response::new(self.scan(&owner, move || impact(&page, &command, now)).await??))
    }

    async fn check_permission(
        &self,
        request: Request<proto::CheckPermissionRequest>,
    ) -> Result<Response<proto::CheckPermissionResponse>, Status> {
        let (language, request) = received(request);
        let proto::CheckPermissionRequest { organization_id, user, permission, queue, at_least_revision } = request;
        let (organization_id, asked, ()) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            Asked::new(user, permission, queue),
            from_proto::at_least(&at_least_revision),
        ))?;
        let snapshot = self.snapshot(&at_least_revision).await?;
        let organization = found_organization(&snapshot, &organization_id)?;
        Ok(Response::new(proto::CheckPermissionResponse {
            decision: Some(asked.answer(organization, language, self.state()?.now())?),
            revision: snapshot.revision().to_string(),
        }))
    }

    async fn batch_check_permissions(
        &self,
        request: Request<proto::BatchCheckPermissionsRequest>,
    ) -> Result<Response<proto::BatchCheckPermissionsResponse>, Status> {
        let (language, request) = received(request);
        let proto::BatchCheckPermissionsRequest { organization_id, items, at_least_revision } = request;
        let (organization_id, ()) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            from_proto::at_least(&at_least_revision),
        ))?;
        batch::check_size(items.len())?;
        let snapshot = self.snapshot(&at_least_revision).await?;
        let now = self.state()?.now();
        let (owner, small) = (organization_id.to_string(), items.len() <= batch::SMALL);
        let answer = move || check_all(&snapshot, &organization_id, items, language, now);
        Ok(Response::new(if small { answer()? } else { self.scan(&owner, answer).await?? }))
    }

    async fn list_user_permissions(
        &self,
        request: Request<proto::ListUserPermissionsRequest>,
    ) -> Result<Response<proto::ListUserPermissionsResponse>, Status> {
        let (language, request) = received(request);
        let proto::ListUserPermissionsRequest { organization_id, user, queue, at_least_revision } = request;
        let (organization_id, user, queue, ()) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            from_proto::user(user),
            from_proto::optional_queue(queue),
            from_proto::at_least(&at_least_revision),
        ))?;
        let snapshot = self.snapshot(&at_least_revision).await?;
        let organization = found_organization(&snapshot, &organization_id)?;
        let now = self.state()?.now();
        let permissions = Permission::ALL.iter().map(|&permission| {
            let asked = PermissionCheck::one_of_all(&user, permission, queue.as_ref());
            let decision = asked.map(|question| answer(organization, question, language, now));
            proto::UserPermission { permission: to_proto::permission(permission).into(), decision }
        });
        Ok(Response::new(proto::ListUserPermissionsResponse {
            permissions: permissions.collect(),
            revision: snapshot.revision().to_string(),
        }))
    }
}

/// Read the update of settings in a request.
fn update(
    organization_id: &str,
    settings: Option<proto::PermissionSettings>,
    update_mask: Option<FieldMask>,
) -> Result<Action, Error> {
    let settings = settings.ok_or_else(|| Error::invalid("settings", &"is required"))?;
    if !settings.organization_id.is_empty() && settings.organization_id != organization_id {
        let problem = format_args!("must be left out, or be `{organization_id}` as in the request");
        return Err(Error::invalid("settings.organization_id", &problem));
    }
    let expected_etag = from_proto::expected_etag(&settings.etag);
    Ok(Action::UpdateSettings { patch: from_proto::settings_patch(settings, update_mask)?, expected_etag })
}

/// Return the settings after a planned update, with their present etag.
fn tried_out(
    snapshot: &Snapshot,
    planned: &Plan,
    organization_id: &OrganizationId,
) -> Result<proto::PermissionSettings, Error> {
    let Outcome::Settings { settings, etag: _ } = &planned.outcome else {
        return Err(unexpected(&planned.outcome));
    };
    Ok(to_proto::settings(organization_id, settings, found_organization(snapshot, organization_id)?.settings_etag()))
}

/// One item of the lists of a preview: users first, then sessions.
enum Line<'s> {
    User(UserImpact<'s>),
    Session(SessionImpact<'s>),
}

impl Line<'_> {
    fn key(&self) -> Vec<String> {
        match self {
            Self::User(UserImpact { user, .. }) => vec!["users".to_owned(), user.user_id.to_string()],
            Self::Session(SessionImpact { session, .. }) => {
                vec!["~sessions".to_owned(), session.user_id.to_string(), session.queue_id.to_string()]
            }
        }
    }
}

fn impact(page: &Page, command: &Command, now: Timestamp) -> Result<proto::PreviewPermissionSettingsResponse, Error> {
    let Command { organization_id, .. } = command;
    let planned = try_out(&page.snapshot, command, now)?;
    let settings = tried_out(&page.snapshot, &planned, organization_id)?;
    let mut changed = Snapshot::clone(&page.snapshot);
    planned.changes.apply_to(&mut changed).map_err(Rejection::from)?;
    let (before, after) =
        (found_organization(&page.snapshot, organization_id)?, found_organization(&changed, organization_id)?);
    let Impact { permissions, supervisors, retained, users, sessions } = preview(before, after, now);
    let lines = users.into_iter().map(Line::User).chain(sessions.into_iter().map(Line::Session));
    let lines = lines.skip_while(|line| line.key() <= page.after);
    let (lines, next_page_token) = page.take(lines, Line::key);
    let mut impact = proto::PermissionSettingsImpact {
        settings: Some(settings),
        permissions: permissions.into_iter().map(to_proto::permission_impact).collect(),
        supervisors_gaining_queues: to_proto::count(supervisors.gaining),
        supervisors_losing_queues: to_proto::count(supervisors.losing),
        sessions_becoming_retained: to_proto::count(retained.gaining),
        sessions_ceasing_to_be_retained: to_proto::count(retained.losing),
        users: Vec::new(),
        sessions: Vec::new(),
    };
    for line in lines {
        match line {
            Line::User(user) => impact.users.push(to_proto::user_impact(user)),
            Line::Session(SessionImpact { session, retained }) => impact.sessions.push(proto::SessionImpact {
                session: Some(to_proto::session(organization_id, Some(before), session, now)),
                retained,
            }),
        }
    }
    let revision = page.snapshot.revision().to_string();
    Ok(proto::PreviewPermissionSettingsResponse { impact: Some(impact), next_page_token, revision })
}

/// Answer each item of a batch.
fn check_all(
    snapshot: &Snapshot,
    organization_id: &OrganizationId,
    items: Vec<proto::CheckPermissionItem>,
    language: Language,
    now: Timestamp,
) -> Result<proto::BatchCheckPermissionsResponse, Error> {
    let organization = found_organization(snapshot, organization_id)?;
    let results = items.into_iter().map(|item| {
        use proto::check_permission_result::Result as Answer;
        let proto::CheckPermissionItem { correlation_id, user, permission, queue } = item;
        let (correlation_id, result) =
            batch::answer(correlation_id, || Asked::new(user, permission, queue)?.answer(organization, language, now));
        let result = Some(result.map_or_else(Answer::Error, Answer::Decision));
        proto::CheckPermissionResult { correlation_id, result }
    });
    let (results, revision) = (results.collect(), snapshot.revision().to_string());
    Ok(proto::BatchCheckPermissionsResponse { results, revision })
}

/// The permission check in a request.
struct Asked {
    user: UserRef,
    permission: Permission,
    queue: Option<QueueRef>,
}

impl Asked {
    fn new(
        user: Option<impl from_proto::NamesUser>,
        permission: i32,
        queue: Option<impl from_proto::NamesQueue>,
    ) -> Result<Self, Error> {
        let fields =
            all((from_proto::user(user), from_proto::permission(permission), from_proto::optional_queue(queue)));
        fields.map(|(user, permission, queue)| Self { user, permission, queue })
    }

    fn answer(
        &self,
        organization: &OrganizationState,
        language: Language,
        now: Timestamp,
    ) -> Result<proto::PermissionDecision, Error> {
        let Self { user, permission, queue } = self;
        let question = PermissionCheck::new(user, *permission, queue.as_ref());
        let question = question.map_err(|error| from_proto::queue_mismatch(error, queue.as_ref()))?;
        Ok(answer(organization, question, language, now))
    }
}

fn answer(
    organization: &OrganizationState,
    question: PermissionCheck<'_>,
    language: Language,
    now: Timestamp,
) -> proto::PermissionDecision {
    let decision = check(organization, question, now);
    let explanation = PermissionExplanation::new(&decision, &question).in_language(language);
    to_proto::permission_decision(&decision, (explanation, language))
}
