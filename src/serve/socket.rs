//! A reader's WebSocket: events go out, requests come in.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use tokio::time::{Instant, timeout};

use super::Site;
use super::events::Told;
use super::hub::{Hub, Picture, Snapshot};
use super::requests::{Failure, carry_out};
use crate::live::Severity;
use crate::protocol::{Event, PictureHead};

/// A reader who does not take what is sent for this long is dropped.
const SEND_TIMEOUT: Duration = Duration::from_secs(8);
/// A silent connection is asked whether it is still there this often.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A reader who sends more requests than this that are refused is dropped.
const MOST_ERRORS: usize = 50;

/// Serves a reader until it leaves, fails or falls behind.
pub(super) async fn serve(mut socket: WebSocket, site: Arc<Site>, hub: Arc<Hub>) {
    let reader = hub.join();
    let mut newest = hub.subscribe();
    let mut told = Told::at(&newest.borrow());
    let mut shown = None;
    let (mut ping, mut errors) = (Instant::now() + PING_EVERY, 0);
    loop {
        let snapshot = newest.borrow_and_update().clone();
        let sent = timeout(
            SEND_TIMEOUT,
            tell(&mut socket, &hub, &snapshot, &mut told, &mut shown),
        );
        if !matches!(sent.await, Ok(Ok(()))) {
            break;
        }
        tokio::select! {
            changed = newest.changed() => if changed.is_err() { break },
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) => {
                    if let Err(Failure(_, why)) = carry_out(&site, &hub, &text) {
                        errors += 1;
                        let refused = refusal(&why);
                        if errors > MOST_ERRORS
                            || !matches!(timeout(SEND_TIMEOUT, send(&mut socket, &refused)).await, Ok(Ok(())))
                        {
                            break;
                        }
                    }
                }
                Some(Ok(Message::Binary(_))) => {
                    let frame = CloseFrame {
                        code: close_code::UNSUPPORTED,
                        reason: "requests are texts".into(),
                    };
                    let _ = timeout(SEND_TIMEOUT, socket.send(Message::Close(Some(frame)))).await;
                    break;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
            },
            () = tokio::time::sleep_until(ping) => {
                ping = Instant::now() + PING_EVERY;
                let sent = timeout(SEND_TIMEOUT, socket.send(Message::Ping(Vec::new().into())));
                if !matches!(sent.await, Ok(Ok(()))) {
                    break;
                }
            }
        }
    }
    drop(reader);
}

/// Sends what has changed since the reader was told.
async fn tell(
    socket: &mut WebSocket,
    hub: &Arc<Hub>,
    snapshot: &Snapshot,
    told: &mut Told,
    shown: &mut Option<Arc<Picture>>,
) -> Result<(), axum::Error> {
    for event in told.news(hub, snapshot) {
        send(socket, &event).await?;
    }
    let Some(picture) = &snapshot.picture else {
        return Ok(());
    };
    if (shown.as_ref()).is_some_and(|shown| Arc::ptr_eq(shown, picture)) {
        return Ok(());
    }
    *shown = Some(Arc::clone(picture));
    let (encoder, encoded) = (Arc::clone(hub), Arc::clone(picture));
    let bytes = tokio::task::spawn_blocking(move || encoded.bytes(&encoder)).await;
    if let Ok(Ok(bytes)) = bytes {
        let head = PictureHead {
            render: picture.render,
            step: picture.step,
            view: picture.view,
            width: picture.image.width(),
            height: picture.image.height(),
            media_type: picture.media_type().to_owned(),
        };
        send(socket, &Event::Picture(head)).await?;
        (socket.send(Message::Binary(Vec::clone(&bytes).into()))).await?;
    }
    Ok(())
}

/// A refusal is told to the one who asked alone, and so has no number.
fn refusal(why: &str) -> Event {
    Event::Message(crate::live::Message {
        number: 0,
        severity: Severity::Error,
        text: why.to_owned(),
    })
}

async fn send(socket: &mut WebSocket, event: &Event) -> Result<(), axum::Error> {
    let text = serde_json::to_string(event).map_err(axum::Error::new)?;
    socket.send(Message::Text(text.into())).await
}
