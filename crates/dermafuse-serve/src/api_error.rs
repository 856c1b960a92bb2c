use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use thiserror::Error;

/// Seconds after which a client that found the queue full may come again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

/// Why a request is not answered. Clients get it as `{"error": {"code", "message", "field"}}` under its status.
///
/// Codes are stable words for programs, messages are sentences for people. A message may quote the request, and never a file
/// of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ApiError {
    status: u16,
    code: &'static str,
    message: String,
    field: Option<String>,
    /// What went wrong inside, for the audit line alone.
    fault: Option<String>,
}

/// What went wrong inside, on its way from an answer to its audit line.
#[derive(Clone, Debug)]
pub(crate) struct Fault(pub(crate) String);

impl ApiError {
    /// An error of a part of the request that is called `field`, such as `clinical` or `fields.age`: what was said cannot be used
    /// (422).
    pub fn input(code: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message) }
    }

    /// An error of the whole case, such as one without anything that the model could answer from (422).
    pub fn case(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    /// Something went wrong that is not the client's fault (500). What it was is not told.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server failed at this request; others are answered",
        )
    }

    /// The same with what went wrong, which the audit line says and the client is not told. It must have nothing of a patient in it.
    #[must_use]
    pub fn internal_because(fault: impl Into<String>) -> Self {
        Self { fault: Some(fault.into()), ..Self::internal() }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The stable word for what it is.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The part of the request that it is about.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status: status.as_u16(), code, message: message.into(), field: None, fault: None }
    }

    pub(crate) fn busy() -> Self {
        let message = "as many requests wait as the server takes; come again in some seconds";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    }

    /// A body that is not what it says it is (400).
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", message)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("the request has more than {limit} bytes; send smaller photos");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub(crate) fn late_body(seconds: f64) -> Self {
        let message = format!("the request was not there whole after {seconds} seconds");
        Self::new(StatusCode::REQUEST_TIMEOUT, "late_request", message)
    }

    pub(crate) fn late_answer(seconds: f64) -> Self {
        let message = format!("there was no answer after {seconds} seconds; ask again, or with smaller photos");
        Self::new(StatusCode::GATEWAY_TIMEOUT, "late_answer", message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(field) = self.field {
            error["field"] = field.into();
        }
        let body = json!({ "error": error }).to_string();
        let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        let further: Option<(HeaderName, HeaderValue)> = match status {
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, RETRY_AFTER)),
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            // The rest of the body is not read.
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
                Some((header::CONNECTION, HeaderValue::from_static("close")))
            }
            _ => None,
        };
        response.headers_mut().extend(further);
        if let Some(fault) = self.fault {
            response.extensions_mut().insert(Fault(fault));
        }
        response
    }
}
