//! The routes and what each does.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout, timeout_at};

use crate::app::App;
use crate::assets::ASSETS;
use crate::{ApiError, CaseInput, ModelBody, NoteBody, StoredDiagnosis};

/// The largest body with a diagnosis, in bytes.
const DIAGNOSIS_BYTES: usize = 16 << 10;
/// How long the rest of a refused body is read, so that its client gets to read the answer.
const DISCARD: Duration = Duration::from_secs(5);

/// The routes of the API with their methods, as `openapi.json` describes them; `/` and the files of the page are besides.
pub const ROUTES: [(&str, &str); 6] = [
    ("get", "/healthz"),
    ("get", "/openapi.json"),
    ("post", "/v1/answers/{id}/diagnosis"),
    ("post", "/v1/explain"),
    ("get", "/v1/model"),
    ("post", "/v1/predict"),
];

/// The page, and [`ROUTES`].
pub(crate) fn router() -> Router<App> {
    let mut router = Router::new();
    for asset in ASSETS {
        router = router.route(asset.path, get(move || async move { asset.response() }));
    }
    for (_, path) in ROUTES {
        if let Some(handler) = handler(path) {
            router = router.route(path, handler);
        }
    }
    router.fallback(no_route).method_not_allowed_fallback(no_method)
}

/// What answers at a path; nothing where a file of the page does.
fn handler(path: &str) -> Option<MethodRouter<App>> {
    Some(match path {
        "/healthz" => get(healthz),
        "/v1/answers/{id}/diagnosis" => post(diagnosis),
        "/v1/explain" => post(explain),
        "/v1/model" => get(model),
        "/v1/predict" => post(predict),
        _ => return None,
    })
}

async fn healthz() -> Response {
    json(&serde_json::json!({ "status": "ok" }))
}

async fn model(State(app): State<App>) -> Response {
    let (max_body_bytes, stores_answers) = (app.config().max_body_bytes, app.store().is_some());
    json(&ModelBody { max_body_bytes, stores_answers, ..app.classifier().model().clone() })
}

async fn predict(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let answer = asked(app.clone(), request, move |case: &CaseInput| {
        if case.task.is_some() {
            let message = "`task` chooses what is explained; predict answers to all tasks";
            return Err(ApiError::input("unknown_part", "task", message));
        }
        let mut answer = app.classifier().answer(case)?;
        answer.id = new_id()?;
        if let Some(store) = app.store() {
            match store.add(app.classifier().model(), &answer) {
                Ok(()) => answer.stored = true,
                Err(error) => {
                    answer.notes.push(NoteBody::new("not_kept", format!("The answer was not kept: {error}.")))
                }
            }
        }
        Ok(answer)
    });
    Ok(json(&answer.await?))
}

async fn explain(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let classifier = Arc::clone(app.classifier());
    Ok(json(&asked(app, request, move |case: &CaseInput| classifier.explain(case)).await?))
}

/// What `POST /v1/answers/{id}/diagnosis` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiagnosisBody {
    task: String,
    class: String,
}

async fn diagnosis(
    State(app): State<App>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::malformed("the id of the answer is no text in UTF-8"))?;
    if app.store().is_none() {
        let message = "this server keeps no answers; start it with --store DIR to add diagnoses";
        return Err(refused(ApiError::new(StatusCode::NOT_FOUND, "no_store", message), body).await);
    }
    let deadline = Instant::now() + app.config().timeout;
    let body = within(deadline, &app, read_whole(&headers, body, DIAGNOSIS_BYTES)).await?;
    let DiagnosisBody { task, class } = serde_json::from_slice(&body).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        ApiError::malformed(format!("send {{\"task\": NAME, \"class\": NAME}} as JSON: {place} is something else"))
    })?;
    let kept = tokio::task::spawn_blocking(move || -> Result<StoredDiagnosis, ApiError> {
        app.store().ok_or_else(ApiError::internal)?.add_diagnosis(&id, &task, &class)
    });
    Ok(json(&kept.await.map_err(|_| ApiError::internal())??))
}

async fn no_route() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "no_route",
        "there is nothing at this address; /openapi.json lists what there is",
    )
}

async fn no_method() -> ApiError {
    let message = "this address is not asked by this method; /openapi.json lists what there is";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "no_method", message)
}

/// Reads a case and has a thread work on it, within the limits.
async fn asked<T: Send + 'static>(
    app: App,
    request: Request,
    work: impl FnOnce(&CaseInput) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let deadline = Instant::now() + app.config().timeout;
    let (head, body) = request.into_parts();
    // Before the body is read, so that bodies in memory are counted too.
    let admitted = match app.admission().admit() {
        Ok(admitted) => admitted,
        Err(error) => return Err(refused(error, body).await),
    };
    let body = within(deadline, &app, read_whole(&head.headers, body, app.config().max_body_bytes)).await?;
    let case = CaseInput::read(&head.headers, body).await?;
    let answer = app.workers().run(admitted, move || work(&case));
    timeout_at(deadline, answer).await.unwrap_or_else(|_| Err(ApiError::late_answer(seconds(&app))))
}

/// A body that has to be there in time.
async fn within(
    deadline: Instant,
    app: &App,
    body: impl Future<Output = Result<Bytes, ApiError>>,
) -> Result<Bytes, ApiError> {
    timeout_at(deadline, body).await.unwrap_or_else(|_| Err(ApiError::late_body(seconds(app))))
}

fn seconds(app: &App) -> f64 {
    app.config().timeout.as_secs_f64()
}

/// A body of at most so many bytes.
async fn read_whole(headers: &HeaderMap, body: Body, most: usize) -> Result<Bytes, ApiError> {
    let said = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|said| said > most as u64) {
        return Err(refused(ApiError::too_large(most), body).await);
    }
    match Limited::new(body, most).collect().await {
        Ok(read) => Ok(read.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => Err(ApiError::too_large(most)),
        Err(_) => Err(ApiError::malformed("the body ended before its end")),
    }
}

/// Reads on for a while without keeping anything: a client that still sends would not see the answer.
pub(crate) async fn refused(error: ApiError, mut body: Body) -> ApiError {
    let _ = timeout(DISCARD, async { while let Some(Ok(_)) = body.frame().await {} }).await;
    error
}

fn json<T: Serialize>(body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(_) => ApiError::internal().into_response(),
    }
}

/// 128 random bits in hexadecimal.
fn new_id() -> Result<String, ApiError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|_| ApiError::internal())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
