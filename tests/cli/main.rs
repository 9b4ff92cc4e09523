//! The program as scripts see it.

#[path = "../common/mod.rs"]
mod common;

mod commands;
mod disk;
mod embed;
mod rendering;
mod sweep;
mod web;
