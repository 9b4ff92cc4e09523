//! Prompts: what a picture should show, when, and how much.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Checker, IMAGE_FORMAT};
use crate::diagnostic::shown;
use crate::keyframe::{self, Keyframe};
use crate::{Region, Schedule, StepContext, StepOrPercent, shorthand};

/// One prompt: a text or an image, and when and how much it counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// What the picture should show, in words. A prompt has exactly one of `text`, `keyframes` and `image`. Where it has
    /// alternatives in braces, with bars between them, the seed draws one of them, which the run's recipe records; a sweep paints all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Texts that follow one another in the course of the render, each a text or `{ text: a sprout, at: 30% }`: between two of them the prompt is
    /// interpolated. Without `at` they are evenly spaced between `from` and `until`.
    #[serde(
        default,
        deserialize_with = "shorthand::some_entries",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "crate::schema::entries::<Keyframe>")]
    pub keyframes: Option<Vec<Keyframe>>,
    /// What the picture shows at the start of the stage: the prompt then asks for the change from this text to its own, instead of for its own
    /// text, and what else the picture shows may stay (StyleGAN-nada). The stage must start from a picture: an `init`, or a stage before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// An image that the picture should resemble.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = IMAGE_FORMAT))]
    pub image: Option<PathBuf>,
    /// How much it counts; a negative weight pushes the picture away from it.
    #[serde(default = "one")]
    pub weight: Schedule,
    /// The distance below which the prompt has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<f64>,
    /// The step at which it begins to count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<StepOrPercent>,
    /// The step at which it ceases to count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<StepOrPercent>,
    /// Over how many steps it fades in after `from` and fades out before `until`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fade: Option<StepOrPercent>,
    /// The part of the picture that it is about: `left`, `right`, `top`, `bottom`, `center`, a rectangle `[left, top, width, height]` in shares
    /// of the picture, or an image that is white there. The whole picture by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
}

impl Prompt {
    /// A text of weight 1, over the whole render.
    pub fn new(text: &str) -> Self {
        Self {
            text: Some(text.to_owned()),
            keyframes: None,
            source: None,
            image: None,
            weight: one(),
            stop: None,
            from: None,
            until: None,
            fade: None,
            region: None,
        }
    }

    /// Reports what the schema cannot express, for a render of `steps` steps.
    pub fn check(&self, steps: usize, checker: &mut Checker) {
        match (&self.text, &self.keyframes, &self.image) {
            (Some(text), None, None) if text.trim().is_empty() => {
                checker.invalid("text", "the text is empty");
            }
            (Some(_), None, None) | (None, None, Some(_)) => {}
            (None, Some(frames), None) => {
                keyframe::check(frames, self.span(steps), steps, checker);
            }
            (None, None, None) => {
                checker.invalid("", "a prompt needs a `text`, `keyframes` or an `image`");
            }
            (Some(_), None, Some(_)) => checker.invalid(
                "",
                "a prompt is a `text` or an `image`: make these two entries of `prompts`",
            ),
            (_, Some(_), _) => checker.invalid(
                "",
                "a prompt has `keyframes`, a `text` or an `image`: make these entries of `prompts`",
            ),
        }
        self.check_source(checker);
        if let Some(stop) = self.stop
            && !stop.is_finite()
        {
            checker.unexpected("stop", "a finite number", stop);
        }
        if let Some(region) = &self.region {
            region.check("region", checker);
        }
        let from = self.from.map_or(0.0, |from| from.step(steps));
        let until = (self.until).map_or(f64::INFINITY, |until| until.step(steps));
        if from >= steps as f64 && steps > 0 {
            let message =
                format!("the render has {steps} steps, so that the prompt would never count");
            checker.invalid("from", message);
        } else if from >= until {
            let message = "`until` is not after `from`, so that the prompt would never count";
            checker.invalid("", message);
        }
    }

    fn check_source(&self, checker: &mut Checker) {
        let Some(source) = &self.source else { return };
        if self.image.is_some() {
            let message = "`source` is a text that another text is compared with: an `image` has no use for it";
            checker.invalid("source", message);
        } else if source.trim().is_empty() {
            checker.invalid("source", "the text is empty");
        } else if self.texts().any(|text| text.trim() == source.trim()) {
            let message = "it is the prompt's own text, so that there is no change to ask for: say what the picture shows at the start";
            checker.invalid("source", message);
        }
    }

    /// The texts that it asks for: its own, or those that it goes through.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let frames = self.keyframes.iter().flatten();
        (self.text.as_deref().into_iter()).chain(frames.map(|frame| frame.text.as_str()))
    }

    /// All texts in it, the `source` among them.
    pub fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let frames = self.keyframes.iter_mut().flatten();
        (self.text.iter_mut())
            .chain(frames.map(|frame| &mut frame.text))
            .chain(&mut self.source)
    }

    /// All texts in it, each with the path to it.
    pub fn texts_with_paths(&self) -> Vec<(String, &str)> {
        let frames = self.keyframes.iter().flatten().enumerate();
        let frames = frames.map(|(i, frame)| (format!("keyframes.{i}.text"), frame.text.as_str()));
        let [text, source] = [("text", &self.text), ("source", &self.source)]
            .map(|(key, text)| Some((key.to_owned(), text.as_deref()?)));
        text.into_iter().chain(frames).chain(source).collect()
    }

    /// Between which of its [`texts`](Self::texts) a step lies: the index of the one before, and the share of the way to the next, 0..1.
    pub fn text_position(&self, at: StepContext) -> (usize, f64) {
        match &self.keyframes {
            None => (0, 0.0),
            Some(frames) => keyframe::position(frames, self.span(at.steps), at),
        }
    }

    /// The step at which one of its [`texts`](Self::texts) begins to count: a keyframe's text at the keyframe before it.
    pub fn text_start(&self, index: usize, at: StepContext) -> f64 {
        let span = self.span(at.steps);
        match (&self.keyframes, index.checked_sub(1)) {
            (Some(frames), Some(before)) => {
                let times = keyframe::times(frames, span, at.steps);
                times.get(before).copied().unwrap_or(span[0])
            }
            _ => span[0],
        }
    }

    /// The text that it asks for most at a step; none if it is an image.
    pub fn text_at(&self, at: StepContext) -> Option<&str> {
        let (index, share) = self.text_position(at);
        self.texts().nth(index + usize::from(share >= 0.5))
    }

    /// The steps at which it begins and ceases to count.
    fn span(&self, steps: usize) -> [f64; 2] {
        let step = |moment: Option<StepOrPercent>, or: f64| moment.map_or(or, |at| at.step(steps));
        let end = steps as f64;
        [step(self.from, 0.0), step(self.until, end).min(end)]
    }

    /// What it is called in messages and metrics: its text, or all that it goes through, or the path of its image.
    pub fn label(&self) -> String {
        match &self.image {
            Some(path) => path.display().to_string(),
            None => self.texts().collect::<Vec<_>>().join(" > "),
        }
    }
}

/// [`Prompt::new`].
impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

fn one() -> Schedule {
    Schedule::from(1.0)
}

/// A prompt in the joint space of a CLIP's texts and pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddedPrompt {
    /// Its text; none for an image.
    pub text: Option<String>,
    /// How much it counts at a step; below 0 it pushes away.
    pub weight: f64,
    /// Of unit length.
    pub vector: Vec<f32>,
}

/// Splits a prompt as the command line takes it, `TEXT` or `TEXT::WEIGHT`, into its text and its weight, which is 1 by default. A text
/// that contains two colons itself needs an explicit weight: `std::vec::1`.
///
/// # Errors
/// When what follows the last two colons is not a finite number, or the text before them is empty; the message says what to write.
pub fn weighted(written: &str) -> Result<(&str, f64), String> {
    let Some((text, weight)) = written.rsplit_once("::") else {
        return Ok((written, 1.0));
    };
    let weight = weight.trim();
    match weight.parse() {
        Ok(_) if text.trim().is_empty() => Err(format!(
            "there is no text before the weight `{}`",
            shown(weight)
        )),
        Ok(number) if f64::is_finite(number) => Ok((text.trim_end(), number)),
        _ => Err(format!(
            "`{}` is not a weight: a number follows `::`, as in `{}::0.5`; write a text that contains `::` itself as `{}::1`",
            shown(weight),
            shown(text.trim()),
            shown(written)
        )),
    }
}

/// The label of a prompt in results: `label` itself, or with the first number from 2 on that makes it unique, as in `a cat (2)`.
pub fn unique_label(label: String, is_taken: impl Fn(&str) -> bool) -> String {
    let mut unique = label.clone();
    let mut number = 2;
    while is_taken(&unique) {
        unique = format!("{label} ({number})");
        number += 1;
    }
    unique
}

/// How a prompt fades in or out after an edit: over `steps` steps, from step `start` of the render on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fade {
    /// The step at which the edit took effect.
    pub start: usize,
    /// The number of steps; 0 changes at once.
    pub steps: usize,
}

impl Fade {
    /// The share that is done, 0..=1. The first step counts already, the step `steps` counts in full.
    pub fn done(&self, clock: usize) -> f64 {
        let distance = clock.saturating_sub(self.start) as f64;
        ((distance + 1.0) / (self.steps as f64 + 1.0)).min(1.0)
    }
}

/// The weight of a prompt over a render.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptSchedule {
    weight: Schedule,
    from: Option<StepOrPercent>,
    until: Option<StepOrPercent>,
    fade: Option<StepOrPercent>,
    comes: Option<Fade>,
    goes: Option<Fade>,
}

impl PromptSchedule {
    /// The schedule of a prompt.
    pub fn of(prompt: &Prompt) -> Self {
        Self {
            weight: prompt.weight.clone(),
            from: prompt.from,
            until: prompt.until,
            fade: prompt.fade,
            comes: None,
            goes: None,
        }
    }

    /// Fades it in after an edit.
    pub fn fade_in(&mut self, fade: Fade) {
        self.comes = Some(fade);
    }

    /// Fades it out after an edit. A fade that has begun goes on.
    pub fn fade_out(&mut self, fade: Fade) {
        self.goes.get_or_insert(fade);
    }

    /// The step of the schedule at which it began to count: its `from`, or the step of the edit that brought it.
    pub fn start(&self, at: StepContext) -> f64 {
        let from = self.from.map_or(0.0, |from| from.step(at.steps));
        // an edit's step is counted from the start of the render
        let origin = at.clock as f64 - at.step as f64;
        self.comes
            .map_or(from, |fade| from.max(fade.start as f64 - origin))
    }

    /// Whether another prompt counts at the same steps, apart from its weight.
    pub fn is_simultaneous(&self, other: &Self) -> bool {
        let weight = self.weight.clone();
        *self
            == Self {
                weight,
                ..other.clone()
            }
    }

    /// Whether an edit has removed the prompt.
    pub fn is_fading_out(&self) -> bool {
        self.goes.is_some()
    }

    /// Whether it has faded out.
    pub fn is_gone(&self, clock: usize) -> bool {
        self.goes.is_some_and(|fade| fade.done(clock) >= 1.0)
    }

    /// The weight at a step: 0 outside of `from..until`, rising and falling over `fade` steps inside of it.
    pub fn at(&self, at: StepContext) -> f64 {
        let steps = |moment: &StepOrPercent| moment.step(at.steps);
        let step = at.step as f64;
        let fade = self.fade.as_ref().map_or(0.0, steps);
        let ramp = |distance: f64| {
            if distance < 0.0 {
                0.0
            } else if fade > 0.0 {
                // the first step inside counts already, the step `fade` counts in full
                ((distance + 1.0) / (fade + 1.0)).min(1.0)
            } else {
                1.0
            }
        };
        let rise = (self.from.as_ref()).map_or(1.0, |from| ramp(step - steps(from)));
        let fall = (self.until.as_ref()).map_or(1.0, |until| ramp(steps(until) - 1.0 - step));
        let comes = self.comes.map_or(1.0, |fade| fade.done(at.clock));
        let goes = self.goes.map_or(1.0, |fade| 1.0 - fade.done(at.clock));
        self.weight.at(at.t()) * rise.min(fall) * comes * goes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_labels_get_numbers() {
        let taken = ["a", "a (2)"];
        let unique = |label: &str| unique_label(label.to_owned(), |label| taken.contains(&label));
        assert_eq!([unique("a"), unique("b")], ["a (3)", "b"]);
    }
}
