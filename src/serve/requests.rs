//! Requests to the render, which come over HTTP and WebSocket alike, and the answer where one cannot be carried out.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::Site;
use super::access::check_edit_files;
use super::hub::{Hub, Undelivered};
use crate::live::{Command, changes_nothing};
use crate::protocol::Request;

/// An answer that tells why there is no other.
pub(super) struct Failure(pub StatusCode, pub String);

impl Failure {
    pub fn refused(why: impl ToString) -> Self {
        Self(StatusCode::BAD_REQUEST, why.to_string())
    }

    pub fn missing() -> Self {
        Self(StatusCode::NOT_FOUND, "there is nothing here".to_owned())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, json_body(&json!({ "error": self.1 }))).into_response()
    }
}

/// Passes a request on to the render of a hub. Whether it was carried out, a message tells.
pub(super) fn carry_out(site: &Site, hub: &Hub, text: &str) -> Result<(), Failure> {
    let request = Request::parse(text).map_err(|error| Failure::refused(format!("{error:#}")))?;
    let commands = request.map(Request::commands).unwrap_or_default();
    if commands.is_empty()
        && let Some(why) = changes_nothing(&commands)
    {
        return Err(Failure::refused(format!("it {why}")));
    }
    for command in &commands {
        if let Command::Edit(edit) = command {
            check_edit_files(edit, &site.dir, &hub.snapshot().whole_state())
                .map_err(|error| Failure::refused(format!("{error:#}")))?;
        }
    }
    hub.send(commands).map_err(|undelivered| match undelivered {
        Undelivered::NoRender => {
            Failure(StatusCode::CONFLICT, "nothing is being rendered".to_owned())
        }
        Undelivered::Full => Failure(
            StatusCode::TOO_MANY_REQUESTS,
            "more edits came than the render has carried out: try again".to_owned(),
        ),
    })
}

pub(super) fn json_body(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
