//! The program as scripts see it.

#[path = "../common/mod.rs"]
mod common;

mod commands;
mod disk;
mod rendering;
mod sweep;
mod web;
