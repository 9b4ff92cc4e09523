//! What all of Phantasia's crates share: numbers that change over a render ([`Schedule`]), places in a render ([`StepContext`]), prompts
//! and their weights, random numbers with a key, diagnostics of what a user wrote, reading pictures, and writing whole files.

pub mod check;
mod config;
pub mod diagnostic;
mod expression;
pub mod files;
mod format;
mod keyframe;
pub mod memory;
pub mod picture;
mod prompt;
pub mod random;
mod region;
mod schedule;
pub mod schema;
mod seamless;
pub mod shorthand;
mod step;

pub use diagnostic::{Diagnostic, DiagnosticKind, Location};
pub use keyframe::Keyframe;
pub use prompt::{EmbeddedPrompt, Fade, Prompt, PromptSchedule, unique_label, weighted};
pub use region::{NamedRegion, Region};
pub use schedule::{InvalidSchedule, Schedule};
pub use seamless::Seamless;
pub use step::{StepContext, StepOrPercent};
