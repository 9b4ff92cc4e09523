//! Judging pictures: scores, labels, folders, tournaments.

#[path = "../common/mod.rs"]
mod common;

mod aesthetic;
mod commands;
mod comparison;
mod evaluate;
mod folders;
mod index;
mod library;
mod tournament;
