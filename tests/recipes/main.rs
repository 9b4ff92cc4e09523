//! Recipes: read, refused and written.

#[path = "../common/mod.rs"]
mod common;

mod protocol;
mod reading;
mod reference;
mod robust;
mod wording;
