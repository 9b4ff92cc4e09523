//! One file a command, each with its arguments and a flat `run`.

mod arguments;
pub mod classify;
pub mod compare;
pub mod console;
pub mod doctor;
pub mod embed;
pub mod evaluate;
mod frontend;
pub mod grow;
mod interrupt;
mod judge;
pub mod models;
mod progress;
pub mod recipe;
pub mod render;
pub mod rerank;
pub mod resume;
pub mod search;
pub mod serve;
pub mod shell;
mod source;
pub mod sweep;
mod table;
mod tournament;
