//! One file a command, each with a flat `run`.

pub mod console;
pub mod device;
pub mod doctor;
pub mod models;
pub mod recipe;
pub mod render;
