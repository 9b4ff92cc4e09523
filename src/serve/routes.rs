//! What is answered at which path.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde::Deserialize;
use serde_json::json;

use super::access::file_within;
use super::requests::{Failure, carry_out, json_body};
use super::{Access, Hub, Site, gallery, page, socket};
use crate::protocol::LONGEST_REQUEST;

/// The longest body, in bytes, and how long it may take.
const LONGEST_BODY: usize = 2 << 20;
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a request for the newest picture waits for one that is newer.
const NEWER: Duration = Duration::from_millis(400);

/// What only this page's own files may do: no request to another site, no frame around it, no script but its own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

type Shared = Arc<Site>;

type Answer = Result<Response, Failure>;

pub(super) fn router(site: Shared, access: Access) -> Router {
    let access = Arc::new(access);
    Router::new()
        .route("/api/state", get(state))
        .route("/api/edit", any(edit))
        .route("/api/events", any(events))
        .route("/api/picture", get(picture))
        .route("/api/runs", get(runs).post(queue))
        .route("/api/runs/{name}", axum::routing::delete(cancel))
        .route("/api/runs/{name}/{file}", get(run_file))
        .fallback(page_file)
        .with_state(site)
        .layer(from_fn_with_state(access, guard))
}

/// Checks where a request comes from before anything of it is read, and adds what all answers have.
async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let is_page = page::file(request.uri().path()).is_some();
    let checked = access.check_origin(request.headers()).and_then(|()| {
        if is_page {
            return Ok(());
        }
        access.check_token(request.headers(), request.uri())
    });
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            let code = match refusal {
                super::access::Refusal::Token => StatusCode::UNAUTHORIZED,
                _ => StatusCode::FORBIDDEN,
            };
            Failure(code, refusal.message().to_owned()).into_response()
        }
    };
    let headers = response.headers_mut();
    let mut set = |name, value| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    // the link has the token
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

async fn page_file(request: Request) -> Answer {
    let (media_type, content) = page::file(request.uri().path()).ok_or_else(Failure::missing)?;
    Ok(([(header::CONTENT_TYPE, media_type)], content).into_response())
}

/// Which device's render is meant.
#[derive(Deserialize)]
struct Which {
    device: Option<String>,
}

impl Which {
    fn hub<'a>(&self, site: &'a Site) -> Result<&'a Arc<Hub>, Failure> {
        let device = self.device.as_deref();
        site.hub(device).ok_or_else(|| {
            let why = format!(
                "there is no device `{}` here: {}",
                device.unwrap_or_default(),
                Vec::from_iter(site.hubs.iter().map(|hub| hub.device())).join(", ")
            );
            Failure(StatusCode::NOT_FOUND, why)
        })
    }
}

async fn state(State(site): State<Shared>, Query(which): Query<Which>) -> Answer {
    let hub = which.hub(&site)?;
    newer(hub).await;
    Ok(json_body(&hub.snapshot().whole_state()))
}

#[derive(Deserialize)]
struct Format {
    format: Option<String>,
}

async fn picture(
    State(site): State<Shared>,
    Query(which): Query<Which>,
    Query(query): Query<Format>,
) -> Answer {
    let hub = Arc::clone(which.hub(&site)?);
    newer(&hub).await;
    let snapshot = hub.snapshot();
    let picture = snapshot
        .picture
        .ok_or_else(|| Failure(StatusCode::NOT_FOUND, "there is no picture yet".to_owned()))?;
    let wants_png = match query.format.as_deref() {
        None | Some("png") => true,
        Some("jpeg") => false,
        Some(_) => return Err(Failure::refused("`format` is png or jpeg")),
    };
    let step = picture.step;
    let encoded = work(move || {
        let (media_type, bytes) = if wants_png {
            ("image/png", picture.png())
        } else {
            ("image/jpeg", picture.jpeg())
        };
        bytes.map(|bytes| (media_type, bytes)).map_err(internal)
    });
    let (media_type, bytes) = encoded.await??;
    let headers = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::HeaderName::from_static("x-step"), step.to_string()),
    ];
    Ok((headers, bytes).into_response())
}

/// Waits a moment for a newer frame, where one may come.
async fn newer(hub: &Hub) {
    let mut newest = hub.subscribe();
    newest.mark_unchanged();
    hub.demand();
    let state = Arc::clone(&newest.borrow().state);
    let may_come = state.run.is_some() && !state.ended && !state.paused && !state.finished;
    if may_come {
        let _ = tokio::time::timeout(NEWER, newest.changed()).await;
    }
}

async fn edit(State(site): State<Shared>, Query(which): Query<Which>, request: Request) -> Answer {
    if request.method() != axum::http::Method::POST {
        return Err(Failure(
            StatusCode::METHOD_NOT_ALLOWED,
            "send it with POST".to_owned(),
        ));
    }
    let body = body(request, LONGEST_REQUEST).await?;
    let text = std::str::from_utf8(&body).map_err(|_| Failure::refused("it is not UTF-8 text"))?;
    carry_out(&site, which.hub(&site)?, text)?;
    Ok((
        StatusCode::ACCEPTED,
        json_body(&json!({ "accepted": true })),
    )
        .into_response())
}

async fn events(
    State(site): State<Shared>,
    Query(which): Query<Which>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer {
    let upgrade = upgrade.map_err(|error| Failure(error.status(), error.body_text()))?;
    let upgrade = upgrade
        .max_message_size(LONGEST_REQUEST)
        .max_frame_size(LONGEST_REQUEST);
    let hub = Arc::clone(which.hub(&site)?);
    Ok(upgrade.on_upgrade(move |socket| socket::serve(socket, site, hub)))
}

async fn runs(State(site): State<Shared>) -> Answer {
    let jobs = site.queue.as_ref().map(|queue| queue.jobs());
    let dir = site.dir.clone();
    let runs = work(move || gallery::list(&dir)).await?;
    Ok(json_body(&json!({ "queue": jobs, "runs": runs })))
}

async fn queue(State(site): State<Shared>, request: Request) -> Answer {
    let queue = site.queue.clone().ok_or_else(no_queue)?;
    let body = body(request, LONGEST_BODY).await?;
    let order = serde_json::from_slice(&body).map_err(Failure::refused)?;
    let job = work(move || queue.add(order)).await?;
    let job = job.map_err(|error| Failure::refused(format!("{error:#}")))?;
    Ok((StatusCode::ACCEPTED, json_body(&job)).into_response())
}

async fn cancel(State(site): State<Shared>, Path(id): Path<String>) -> Answer {
    let queue = site.queue.as_ref().ok_or_else(no_queue)?;
    let id = id.parse().map_err(|_| Failure::missing())?;
    match queue.cancel(id) {
        Ok(true) => Ok(json_body(&json!({ "cancelled": id }))),
        Ok(false) => Err(Failure::missing()),
        Err(error) => Err(internal(format!("{error:#}"))),
    }
}

fn no_queue() -> Failure {
    let why = "this page shows one render: `phantasia serve` has a queue";
    Failure(StatusCode::CONFLICT, why.to_owned())
}

#[derive(Deserialize)]
struct Download {
    download: Option<String>,
}

/// A file of a run: its picture, recipe, measurements, video, or a small picture of it.
async fn run_file(
    State(site): State<Shared>,
    Path((name, file)): Path<(String, String)>,
    Query(query): Query<Download>,
) -> Answer {
    let media_type = gallery::media_type(&file).ok_or_else(Failure::missing)?;
    let (dir, run, wanted) = (site.dir.clone(), name.clone(), file.clone());
    let read = work(move || {
        if wanted == gallery::THUMBNAIL {
            return gallery::thumbnail(&dir, &run);
        }
        let path: PathBuf = file_within(&dir, &run, &wanted)?;
        std::fs::read(path).ok()
    });
    let bytes = read.await?.ok_or_else(Failure::missing)?;
    let mut response = ([(header::CONTENT_TYPE, media_type)], bytes).into_response();
    if query.download.is_some() {
        let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
        // names that a header cannot hold are the file's own
        let value = format!("attachment; filename=\"{name}.{extension}\"");
        let plain = HeaderValue::from_str(&value)
            .ok()
            .filter(|_| !name.contains(['"', '\\']));
        let value = plain.unwrap_or(HeaderValue::from_static("attachment"));
        response
            .headers_mut()
            .insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// Does slow work on another thread.
async fn work<T: Send + 'static>(task: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(task).await;
    done.map_err(|_| internal("the program failed; its standard error has more"))
}

fn internal(why: impl ToString) -> Failure {
    Failure(StatusCode::INTERNAL_SERVER_ERROR, why.to_string())
}

/// A request's body, if it is short and arrives soon.
async fn body(request: Request<Body>, most: usize) -> Result<Bytes, Failure> {
    let too_long = || {
        let why = format!("it is longer than {most} bytes");
        Failure(StatusCode::PAYLOAD_TOO_LARGE, why)
    };
    let told = (request.headers().get(header::CONTENT_LENGTH))
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|length| length > most as u64) {
        return Err(too_long());
    }
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), most)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(too_long()),
        Err(_) => Err(Failure(
            StatusCode::REQUEST_TIMEOUT,
            "it came too slowly".to_owned(),
        )),
    }
}
