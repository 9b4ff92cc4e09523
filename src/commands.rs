//! One file a command, each with a flat `run`.

pub mod company;
pub mod console;
pub mod device;
pub mod doctor;
pub mod models;
pub mod recipe;
pub mod render;
pub mod resume;
