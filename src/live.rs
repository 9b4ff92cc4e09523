//! Live renders: the session runs on a worker thread; front ends (a window, a terminal, another program) send it [`Command`]s
//! and take the newest [`Frame`] from a [`Mailbox`].
//!
//! A front end never delays the optimiser: the mailbox keeps only the newest frame, and commands wait in their channel until
//! the current step is done.

mod control;
mod cutouts;
mod mailbox;
mod render;
mod watch;
mod worker;

use std::fmt;
use std::sync::Arc;

use image::RgbImage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::recipe::{Edit, Prompt, Terms};

pub(crate) use control::changes_nothing;
pub use control::read_commands;
pub use mailbox::Mailbox;
pub use render::{Event, RenderOptions, RenderWorker};
pub use watch::RecipeWatch;
pub use worker::Worker;
pub(crate) use worker::{Next, Task};

/// What a front end sends to a render. Commands are carried out between steps, in the order in which they were sent.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "commands are few, and an edit is boxed nowhere else"
)]
pub enum Command {
    /// Changes the render from the next step on; the edit's own step does not matter. Prompts without a fade take that of
    /// [`Command::Fade`].
    Edit(Edit),
    /// Takes the last edit back.
    Undo,
    /// Over how many steps later changes of prompts fade; 0 changes at once.
    Fade(usize),
    /// Pauses, or continues.
    Pause(bool),
    /// Writes the present picture to the run's `snapshots`.
    Snapshot,
    /// What frames show.
    Show(View),
    /// A message for front ends to show. The sender has reported it to standard error already.
    Report(Severity, String),
    /// Ends the render; the picture is saved.
    Stop,
    /// A command that another program or a file gave. If it is refused, the message says where it stands.
    Located {
        /// Such as `control line 3`, or a file's name.
        origin: String,
        /// What stands there.
        command: Box<Command>,
    },
}

impl Command {
    /// The command that stands at a place.
    pub(crate) fn at(self, origin: &str) -> Self {
        let (origin, command) = (origin.to_owned(), Box::new(self));
        Self::Located { origin, command }
    }

    /// Whether a command right before this one would have no effect.
    pub(crate) fn replaces(&self, earlier: &Self) -> bool {
        match (earlier.plain(), self.plain()) {
            (Self::Edit(earlier), Self::Edit(edit)) => edit.replaces(earlier),
            _ => false,
        }
    }

    /// The command, wherever it stands.
    pub fn plain(&self) -> &Self {
        match self {
            Self::Located { command, .. } => command.plain(),
            command => command,
        }
    }
}

impl From<Edit> for Command {
    fn from(edit: Edit) -> Self {
        Self::Edit(edit)
    }
}

/// What a frame shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// The picture.
    #[default]
    Image,
    /// The cutouts that CLIP is shown, as a sheet.
    Cutouts,
}

/// How severe a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A request was carried out.
    Info,
    /// It was carried out, but not exactly as requested.
    Warning,
    /// It was not carried out.
    Error,
}

/// A message to the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
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

/// A prompt, and how the picture compares with it.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptStatus {
    /// The prompt.
    pub prompt: Prompt,
    /// Its weight at this step, fades included.
    pub weight: f64,
    /// The mean cosine of the cutouts to it; NaN before the first step.
    pub similarity: f64,
}

/// What a render follows besides its prompts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The present terms.
    pub terms: Terms,
    /// The edits made so far, then those whose step has not come.
    pub timeline: Vec<Edit>,
}

/// The state of a render between two steps: all that a front end shows.
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
    /// The present prompts, in order; those that fade out are left out.
    pub prompts: Vec<PromptStatus>,
    /// The terms and the timeline.
    pub plan: Arc<Plan>,
    /// Steps per second, over the last few; 0 before the first.
    pub steps_per_second: f64,
    /// Seconds until the end, at that speed; NaN before the first step.
    pub eta: f64,
    /// The name of the device.
    pub device: String,
    /// What the recipe's learning rate is multiplied by.
    pub learning_rate: f64,
    /// Over how many steps changes of prompts fade.
    pub fade: usize,
    /// Whether the render is paused.
    pub paused: bool,
    /// Whether the last step is done.
    pub finished: bool,
    /// Once the render is finished: how many steps it would continue after an edit. `None` before, and if the generator cannot be given
    /// more steps.
    pub extension: Option<usize>,
    /// The last message, such as what was saved or what could not be done.
    pub message: Option<Message>,
}
