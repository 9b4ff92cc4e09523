//! Recipes: read, refused and written.

#[path = "../common/mod.rs"]
mod common;

mod reading;
mod robust;
mod wording;
