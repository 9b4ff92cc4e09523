//! The protocol between a render and the programs that steer and show it: what they send, and what they are told, as JSON.
//!
//! The same objects pass over standard input and output (`--control -`, a [`Request`] a line; `--events`, an [`Event`] a line), HTTP and
//! WebSocket ([`crate::serve`]).
//! The repository's `docs/protocol.md` describes them, from the [`schema`] of these types.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use phantasia_core::shorthand::some_entries;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::live::{Command, Frame, Message, View};
use crate::recipe::{Edit, Prompt, Restart, Terms, from_json};
use crate::session::Tick;

/// The longest request, in bytes.
pub const LONGEST_REQUEST: usize = 1 << 18;

/// What a program asks of a render. Its parts are carried out in the order of these fields; what is not given stays as it is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// Over how many steps later changes of prompts fade; 0 changes at once.
    pub fade: Option<usize>,
    /// Replaces the prompts.
    #[serde(deserialize_with = "some_entries")]
    #[schemars(schema_with = "phantasia_core::schema::entries::<Prompt>")]
    pub set_prompts: Option<Vec<Prompt>>,
    /// Replaces the terms.
    pub set_terms: Option<Terms>,
    /// Multiplies the recipe's learning rate, instead of the factor before.
    #[schemars(range(max = 1e6), extend("exclusiveMinimum" = 0))]
    pub lr: Option<f64>,
    /// The total number of steps of the current stage.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub steps: Option<usize>,
    /// Begins the current stage again.
    pub restart: Option<Restart>,
    /// Takes the last edit back.
    pub undo: bool,
    /// Writes the present picture to the run's `snapshots`.
    pub snapshot: bool,
    /// What pictures show from here on.
    pub show: Option<View>,
    /// Pauses, or continues.
    pub pause: Option<bool>,
    /// Ends the render; the picture is saved.
    pub stop: bool,
}

impl Request {
    /// Reads a request; `None` if the text is empty.
    ///
    /// # Errors
    /// When it is no JSON object, or a key or a type is wrong.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        // some editors begin a text with a byte order mark
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            return Ok(None);
        }
        if !text.starts_with('{') {
            bail!("it is not understood: a command is a JSON object, such as {{\"stop\":true}}");
        }
        let mut keys: Map<String, Value> =
            serde_json::from_str(text).context("it is not understood")?;
        keys.retain(|_, value| !value.is_null());
        Ok(Some(from_json(&keys.into(), "it is not understood")?))
    }

    /// The commands that carry it out.
    pub fn commands(self) -> Vec<Command> {
        // an edit for each key, so that they can be undone one by one
        let edits = [
            Edit::with(|edit| edit.prompts = self.set_prompts),
            Edit::with(|edit| edit.terms = self.set_terms),
            Edit::with(|edit| edit.lr = self.lr),
            Edit::with(|edit| edit.steps = self.steps),
            Edit::with(|edit| edit.restart = self.restart),
        ];
        let edits = edits.into_iter().filter(|edit| !edit.is_empty());
        let mut commands = Vec::from_iter(self.fade.map(Command::Fade));
        commands.extend(edits.map(Command::Edit));
        commands.extend(self.undo.then_some(Command::Undo));
        commands.extend(self.snapshot.then_some(Command::Snapshot));
        commands.extend(self.show.map(Command::Show));
        commands.extend(self.pause.map(Command::Pause));
        commands.extend(self.stop.then_some(Command::Stop));
        commands
    }
}

/// What a program is told. On standard output each is a line, without pictures. Over a WebSocket each is a text, and the bytes of a picture
/// follow its event as a binary message.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The state of the render that is shown: the first event, and again whenever it changes.
    State(Box<State>),
    /// The measurements of steps since the last such event, oldest first.
    Metrics(Metrics),
    /// A message to the user.
    Message(Message),
    /// A picture: its bytes follow. Pictures that a reader is too slow for are left out.
    Picture(PictureHead),
    /// The queue or the runs of the folder have changed: `GET /api/runs` tells how.
    Runs,
}

/// What a render looks like between two steps: its progress, prompts, settings and timeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct State {
    /// A number that no other render of the device since the program began has; 0 while there is none.
    pub render: u64,
    /// The name of the run's folder; null while nothing is rendered.
    pub run: Option<String>,
    /// Whether the render has ended, and can be edited no more.
    pub ended: bool,
    /// Whether runs can be queued here.
    pub queue: bool,
    /// The devices that paint here. Each has a render of its own; `?device=NAME` asks for another than the first's.
    pub devices: Vec<String>,
    /// Steps done.
    pub step: usize,
    /// The step at which the render ends.
    pub steps: usize,
    /// The loss of the last step.
    pub loss: Option<f64>,
    /// The present prompts, in order; those that fade out are left out.
    pub prompts: Vec<PromptState>,
    /// The present terms.
    pub terms: Terms,
    /// The changes made so far and those to come, as a recipe's `timeline` keeps them. An event leaves it out where it is as in the event
    /// before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Vec<Edit>>,
    /// Steps per second, over the last few; 0 before the first.
    pub steps_per_second: f64,
    /// Seconds until the end, at that speed.
    pub eta: Option<f64>,
    /// The name of the device.
    pub device: String,
    /// What the recipe's learning rate is multiplied by.
    pub learning_rate: f64,
    /// Over how many steps changes of prompts fade.
    pub fade: usize,
    /// What pictures show.
    pub view: View,
    /// Whether the render is paused.
    pub paused: bool,
    /// Whether the last step is done.
    pub finished: bool,
    /// Once the last step is done: how many steps the render would continue after an edit; null if it cannot.
    pub extension: Option<usize>,
}

/// A prompt, and how the picture compares with it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PromptState {
    /// The prompt, as `set_prompts` takes it.
    pub prompt: Prompt,
    /// Its weight at this step, fades included.
    pub weight: f64,
    /// The mean cosine of the cutouts to it; null before the first step.
    pub similarity: Option<f64>,
}

/// Measurements of steps.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Metrics {
    /// The render that they are of.
    pub render: u64,
    /// Steps, oldest first; of a long render not all are kept.
    pub steps: Vec<StepMetrics>,
}

/// The measurements of one step, as in a run's `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct StepMetrics {
    /// Steps done, this one among them.
    pub step: usize,
    /// The loss.
    pub loss: Option<f64>,
    /// Each term's loss, by name.
    pub terms: BTreeMap<String, f64>,
    /// The mean cosine of the cutouts to each prompt, by its label.
    pub similarity: BTreeMap<String, f64>,
    /// How long the step took.
    pub seconds: f64,
}

/// A render to queue: one of `prompt`, `recipe`, `again` and `resume`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Order {
    /// A text to paint, with the defaults of everything else.
    pub prompt: Option<String>,
    /// A recipe, as YAML or JSON text. Files that it names lie in the folder of runs.
    pub recipe: Option<String>,
    /// With `recipe`: what the run's folder is called, before its number.
    pub name: Option<String>,
    /// The name of a run, whose recipe is painted again in a new run.
    pub again: Option<String>,
    /// The name of a run to continue, where it was stopped or beyond its last step.
    pub resume: Option<String>,
    /// The seed of every random number.
    pub seed: Option<u64>,
    /// The number of steps; with `resume` the new total.
    pub steps: Option<usize>,
    /// Values of the recipe to change, such as `size=512x512`.
    pub set: Vec<String>,
    /// The device that paints it, one of the state's `devices`; the first that is free by default.
    pub device: Option<String>,
}

/// A render in the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Its number, which no other has in the same folder: for `DELETE /api/runs/ID`.
    pub id: u64,
    /// Its texts, or what else says what it paints.
    pub title: String,
    /// How far it is.
    pub state: JobState,
    /// The name of its run's folder, once there is one.
    pub run: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// The device that paints it; null while any may.
    #[serde(default)]
    pub device: Option<String>,
}

/// How far a render of the queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits.
    Waiting,
    /// It is painted.
    Running,
    /// Its last step is done and its picture saved; while a page shows it and no other render waits for the device, it can be edited.
    Open,
    /// Its last step is done.
    Done,
    /// It was stopped before its last step; it can be resumed.
    Stopped,
    /// It ended with an error.
    Failed,
    /// It was cancelled before it began.
    Cancelled,
}

impl JobState {
    /// Whether nothing more becomes of it.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running | Self::Open)
    }
}

/// What is said of a picture before its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PictureHead {
    /// The render that it is of.
    pub render: u64,
    /// Steps done when it was made.
    pub step: usize,
    /// What it shows.
    pub view: View,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// `image/png`, or `image/jpeg` for a large picture while it is painted.
    pub media_type: String,
}

impl State {
    /// The state that a frame shows; what frames do not tell is as before. Without the timeline.
    pub(crate) fn of(frame: &Frame, before: &Self) -> Self {
        let prompts = (frame.prompts.iter())
            .map(|status| PromptState {
                prompt: status.prompt.clone(),
                weight: status.weight,
                similarity: finite(status.similarity),
            })
            .collect();
        Self {
            render: before.render,
            run: before.run.clone(),
            ended: false,
            queue: before.queue,
            devices: before.devices.clone(),
            step: frame.step,
            steps: frame.steps,
            loss: finite(frame.loss),
            prompts,
            terms: frame.plan.terms.clone(),
            timeline: None,
            steps_per_second: frame.steps_per_second,
            eta: finite(frame.eta),
            device: frame.device.clone(),
            learning_rate: frame.learning_rate,
            fade: frame.fade,
            view: frame.view,
            paused: frame.paused,
            finished: frame.finished,
            extension: frame.extension,
        }
    }
}

impl From<&Tick> for StepMetrics {
    fn from(tick: &Tick) -> Self {
        Self {
            step: tick.step,
            loss: finite(tick.loss),
            terms: tick.terms.clone(),
            similarity: tick.similarity.clone(),
            seconds: tick.seconds,
        }
    }
}

/// JSON has no NaN.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// The JSON Schema (2020-12) of the protocol: `Request` and `Event` among its definitions.
pub fn schema() -> Value {
    let mut generator = SchemaGenerator::default();
    generator.subschema_for::<Request>();
    generator.subschema_for::<Event>();
    generator.subschema_for::<Order>();
    generator.subschema_for::<Job>();
    let mut schema = serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Phantasia's protocol",
    });
    schema["$defs"] = Value::Object(generator.take_definitions(true));
    schema
}
