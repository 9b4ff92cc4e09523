//! A render that is watched and talked to while it runs: the session lives on a worker thread, front ends (a window, a
//! terminal, another program) send it [`Command`]s and take the newest [`Frame`] from a [`Mailbox`].
//!
//! Nothing that a front end does, or fails to do, holds the optimiser up: the mailbox keeps one frame, the newest, and
//! commands wait in their channel until the step at hand is done.

mod control;
mod mailbox;
mod sheet;
mod watch;
mod worker;

use std::fmt;

use image::RgbImage;

use crate::recipe::{Prompt, TermOptions};

pub use control::read_commands;
pub use mailbox::Mailbox;
pub use watch::RecipeWatch;
pub use worker::{Event, Worker, WorkerOptions, drive};

/// What a front end may ask of a render. Commands take effect between steps, in the order in which they were sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// These prompts instead of the present ones, faded over as many steps as [`Command::Fade`] says.
    SetPrompts(Vec<Prompt>),
    /// These terms instead of the present ones.
    SetTerms(TermOptions),
    /// Over how many steps later changes of prompts fade; 0 changes at once.
    Fade(usize),
    /// The recipe's learning rate times this, above 0.
    LearningRate(f64),
    /// The schedule begins again.
    Restart {
        /// From the picture as it is; else from the generator's own start.
        from_image: bool,
    },
    /// Takes the last edit back: of prompts, weights, learning rate, or a restart.
    Undo,
    /// The schedule has so many steps from its beginning.
    Steps(usize),
    /// Waits, or goes on.
    Pause(bool),
    /// Writes the picture as it is to the run's `snapshots`.
    Snapshot,
    /// What frames show.
    Show(View),
    /// Something that front ends should show to the user. The sender has reported it to standard error already.
    Say(Severity, String),
    /// Ends the render; the picture is saved.
    Stop,
}

/// What a frame shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// The picture.
    #[default]
    Image,
    /// The cutouts that CLIP is shown, as a sheet.
    Cutouts,
}

/// How severe a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A request was carried out.
    Info,
    /// It was carried out, but not exactly as requested.
    Warning,
    /// It was not carried out.
    Error,
}

/// Something that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// A number that grows with each message, so that a front end knows which ones it has shown.
    pub number: u64,
    /// How severe it is.
    pub severity: Severity,
    /// The text, on one line or several.
    pub text: String,
}

impl fmt::Display for Message {
    /// The text as a terminal prints it, behind `warning: ` or `error: `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = match self.severity {
            Severity::Info => "",
            Severity::Warning => "warning: ",
            Severity::Error => "error: ",
        };
        write!(f, "{label}{}", self.text)
    }
}

/// What is known of one prompt at a step.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptStatus {
    /// The prompt as it was given.
    pub prompt: Prompt,
    /// What it counts at this step, fades and moments taken in.
    pub weight: f64,
    /// The mean cosine of the cutouts to it; not a number before the first step that judged it.
    pub similarity: f64,
}

/// A render at one moment, all that a front end shows.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The picture.
    pub image: RgbImage,
    /// What the picture is of.
    pub view: View,
    /// Steps done.
    pub step: usize,
    /// The step at which the render ends.
    pub steps: usize,
    /// The loss of the last step.
    pub loss: f64,
    /// The prompts that are asked for, in order; those that are fading out are left out.
    pub prompts: Vec<PromptStatus>,
    /// Steps in a second, over the last few; 0 before the first.
    pub steps_per_second: f64,
    /// Seconds until the end, at that speed.
    pub eta: f64,
    /// Where it is computed.
    pub device: String,
    /// What the recipe's learning rate is multiplied by.
    pub learning_rate: f64,
    /// Over how many steps changes of prompts fade.
    pub fade: usize,
    /// Whether it waits.
    pub paused: bool,
    /// Whether the last step is done.
    pub finished: bool,
    /// Once the render is finished: how many steps it would continue after an edit. `None` before, and if the generator cannot be given
    /// more steps.
    pub extension: Option<usize>,
    /// Something that the person should know: what was saved, what could not be done.
    pub message: Option<Message>,
}
