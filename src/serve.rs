//! A page in the browser, and the protocol over HTTP and WebSocket: see `docs/protocol.md`.
//!
//! The server has a thread of its own. A [`Relay`] stands between it and the painter: it takes the render's newest frames and passes
//! requests on, and neither side waits for the other. Pictures are encoded on the server's side, and only for a reader.

mod access;
mod events;
mod gallery;
mod hub;
mod page;
mod queue;
mod relay;
mod requests;
mod routes;
mod server;
mod socket;

pub use access::{Access, Listen};
pub use events::follow;
pub use hub::Hub;
pub use queue::{Painter, Queue};
pub use relay::Relay;
pub use server::{DEFAULT_PORT, Listener, Server, Site};
