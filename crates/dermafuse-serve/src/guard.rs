//! What every request passes before it is looked at, and what every answer carries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;

use crate::api_error::Fault;
use crate::app::App;
use crate::{ApiError, AuditLine};

/// Nothing is loaded from elsewhere, framed, or kept.
const HEADERS: [(HeaderName, &str); 9] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("permissions-policy"), "camera=(self), geolocation=(), microphone=()"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
];

/// Writes the audit line of a request.
pub(crate) async fn audited(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "-",
    };
    let route = request.extensions().get::<MatchedPath>().map_or("-".to_owned(), |path| path.as_str().to_owned());
    let read = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&read);
    let request = request.map(|body| {
        Body::new(body.map_frame(move |frame| {
            counted.fetch_add(frame.data_ref().map_or(0, |data| data.len() as u64), Ordering::Relaxed);
            frame
        }))
    });
    let response = next.run(request).await;
    let line = AuditLine {
        time: SystemTime::now(),
        method,
        route,
        status: response.status().as_u16(),
        took: begun.elapsed(),
        bytes_in: read.load(Ordering::Relaxed),
        bytes_out: response.body().size_hint().exact().unwrap_or(0),
        fault: response.extensions().get::<Fault>().map(|Fault(fault)| fault.clone()),
    };
    app.audit(&line);
    response
}

/// Refuses requests that another site's page sends, and clients without the token where there is one; gives every answer its
/// headers.
pub(crate) async fn guarded(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = match check(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

fn check(app: &App, request: &Request) -> Result<(), ApiError> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    let named = host.is_some_and(|host| app.hosts().allow(host)) && hosts.next().is_none();
    // A request line may name a host too.
    let targeted = request.uri().authority().is_none_or(|host| app.hosts().allow(host.as_str()));
    if !named || !targeted {
        let message =
            "the server is not known by this name; ask it by its own address, or state the name with --host-name";
        return Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", message));
    }
    for origin in request.headers().get_all(header::ORIGIN) {
        if !origin.to_str().is_ok_and(|origin| app.hosts().allow_origin(origin)) {
            let message = "pages of other sites may not ask this server";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "wrong_origin", message));
        }
    }
    match app.token() {
        Some(token) if request.uri().path().starts_with("/v1/") => {
            let said = request.headers().get(header::AUTHORIZATION).and_then(|said| said.to_str().ok());
            let (scheme, word) = said.and_then(|said| said.split_once(' ')).unwrap_or_default();
            match scheme.eq_ignore_ascii_case("bearer") && token.is(word.trim()) {
                true => Ok(()),
                false => {
                    let message = "show the token of this server as `Authorization: Bearer TOKEN`";
                    Err(ApiError::new(StatusCode::UNAUTHORIZED, "no_token", message))
                }
            }
        }
        _ => Ok(()),
    }
}
