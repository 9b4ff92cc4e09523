//! Renders: every generator from a recipe to a picture; edits, stops and replays.

#[path = "../common/mod.rs"]
mod common;

mod autoencoders;
mod bench;
mod blocks;
mod changed;
mod critics;
mod diffusion;
mod gans;
mod live;
mod processes;
mod regions;
mod resume;
mod seamless;
mod shows_its_prompt;
mod stable;
mod starts;
mod stops;
mod style;
