//! What the user sees of a run and types into: a window, or a picture in the terminal.
//!
//! A window's `Content` holds the state and what keys do to it, and draws its pixels: it can be tested without a display. The window puts
//! the pixels on the screen.

mod display;
mod editor;
mod environment;
mod grow;
mod keyboard;
mod layout;
mod mouse;
mod pace;
mod paint;
mod panel;
mod render;
pub mod terminal;
#[cfg(test)]
mod tests;
mod window;

pub use environment::{Environment, Preview, PreviewError};
pub use window::Window;

/// The window of a render.
pub type RenderWindow = Window<render::RenderContent>;
/// The window of a growing pattern.
pub type GrowWindow = Window<grow::GrowContent>;
