//! Recipes: read, refused and written.

#[path = "../common/mod.rs"]
mod common;

mod reading;
mod reference;
mod robust;
mod wording;
