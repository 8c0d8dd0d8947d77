//! The addresses of the pages.

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    response::{IntoResponse, Redirect},
    routing::{get, post},
};
use http::header::CONTENT_TYPE;

use super::{
    api::Connect,
    guard,
    pages::{audit, audit_live, enter, event, floor, live, matrix, me, people, permissions, queues, supervise, why},
    settings::Settings,
    shared::{Now, Shared},
};
use crate::auth::Links;

/// The largest form, in bytes.
const FORM_BYTES: usize = 64 * 1024;

/// The console of a server.
pub struct Console(Arc<Shared>);

impl Console {
    /// Create a console. Must be called within an async runtime.
    pub fn new(settings: Settings, connect: Connect, links: Arc<Links>, now: Now) -> Self {
        Self(Arc::new(Shared::new(settings, connect, links, now)))
    }

    /// Return the pages. All addresses are relative, so that a proxy may serve them below a path of its own.
    pub fn router(self) -> Router {
        let Self(shared) = self;
        Router::new()
            .route("/", get(|| async { Redirect::to("floor") }))
            .route("/enter", get(enter::ask).post(enter::enter))
            .route("/leave", post(enter::leave))
            .route("/floor", get(floor::show))
            .route("/live", get(live::stream))
            .route("/sign-in-agent", get(supervise::ask).post(supervise::sign_in))
            .route("/sign-out-agent", post(supervise::sign_out))
            .route("/why", get(why::show))
            .route("/permissions", get(permissions::show).post(permissions::save))
            .route("/permissions-preview", post(permissions::preview))
            .route("/matrix", get(matrix::show))
            .route("/people", get(people::list))
            .route("/person", get(people::show))
            .route("/license", post(people::license))
            .route("/assign", post(people::assign))
            .route("/unassign", post(people::unassign))
            .route("/queues", get(queues::list))
            .route("/queue", get(queues::show).post(queues::update))
            .route("/queue-new", post(queues::create))
            .route("/queue-delete", post(queues::delete))
            .route("/audit", get(audit::list))
            .route("/audit-live", get(audit_live::stream))
            .route("/audit.csv", get(audit::file))
            .route("/event", get(event::show))
            .route("/verify", get(audit::head).post(audit::verify))
            .route("/me", get(me::show))
            .route("/sign-out", post(me::sign_out))
            .route("/set-pin", post(me::set_pin))
            .route("/clear-pin", post(me::clear_pin))
            .route("/choose", post(enter::choose))
            .route("/console.css", asset("text/css; charset=utf-8", include_str!("assets/console.css")))
            .route("/console.js", asset("text/javascript; charset=utf-8", include_str!("assets/console.js")))
            .route("/icon.svg", asset("image/svg+xml", include_str!("assets/icon.svg")))
            .fallback(guard::nothing_here)
            .method_not_allowed_fallback(guard::wrong_method)
            .layer(DefaultBodyLimit::max(FORM_BYTES))
            .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard::guard))
            .with_state(shared)
    }
}

/// Serve an embedded file.
fn asset(kind: &'static str, content: &'static str) -> axum::routing::MethodRouter<Arc<Shared>> {
    get(move || async move { ([(CONTENT_TYPE, kind)], content).into_response() })
}
