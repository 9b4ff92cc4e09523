//! One file a command, each with a flat `run`.

pub mod classify;
pub mod company;
pub mod console;
pub mod device;
pub mod doctor;
pub mod grow;
pub mod judge;
pub mod models;
pub mod recipe;
pub mod render;
pub mod rerank;
pub mod resume;
pub mod search;
pub mod table;
pub mod tournament;
