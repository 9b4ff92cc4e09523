//! Pixels: a frame buffer, text, and pictures in the size in which they are shown. The window and contact sheets are drawn with it.

mod canvas;
pub(crate) mod elide;
mod resize;
mod text;

pub use canvas::{Canvas, Color, Rect};
pub(crate) use resize::{fit, resize};
pub use text::{Fonts, Style, Weight};
