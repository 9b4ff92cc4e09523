//! What a person sees of a render, and types into: a window, or a picture in the terminal.
//!
//! [`panel`] knows how things stand and what keys do, [`layout`] and [`paint`] make pixels of it, [`window`] puts them on the screen:
//! all but the last can be tested without a display.

pub mod canvas;
pub mod choose;
pub mod display;
pub mod editor;
mod elision;
pub mod garden;
pub mod keyboard;
pub mod layout;
mod mouse;
mod pace;
pub mod paint;
pub mod panel;
#[doc(hidden)]
pub mod sample;
pub mod scale;
pub mod terminal;
pub mod text;
pub mod window;

pub use choose::{NoPreview, Preview, Surroundings};
pub use garden::GardenWindow;
pub use window::Window;
