//! The window.

mod display;
mod window;
