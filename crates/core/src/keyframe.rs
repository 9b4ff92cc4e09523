//! Keyframes: texts that a prompt goes through in the course of a render.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::Checker;
use crate::{StepContext, StepOrPercent};

/// One of the texts that a prompt goes through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keyframe {
    /// The text.
    pub text: String,
    /// The step at which this text alone counts. By default the first text has the prompt's first step, the last text the prompt's last step, and
    /// those in between are evenly spaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<StepOrPercent>,
}

/// Without a step of its own.
impl From<&str> for Keyframe {
    fn from(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            at: None,
        }
    }
}

/// Reports what the schema of keyframes cannot express, for a render of `steps` steps and a prompt that counts from `from` to `until`.
pub(crate) fn check(frames: &[Keyframe], span: [f64; 2], steps: usize, checker: &mut Checker) {
    if frames.len() < 2 {
        let message = "one text alone does not change: give two `keyframes` or more, or a `text`";
        return checker.invalid("keyframes", message);
    }
    for (index, frame) in frames.iter().enumerate() {
        let section = format!("keyframes.{index}");
        if frame.text.trim().is_empty() {
            checker.invalid(&format!("{section}.text"), "the text is empty");
        }
        if let Some(StepOrPercent::Steps(at)) = frame.at
            && at >= steps
            && steps > 0
        {
            let message =
                format!("the render has {steps} steps, so that this text would not be reached");
            checker.invalid(&format!("{section}.at"), message);
        }
    }
    let times = times(frames, span, steps);
    // a render of one step shows the first text alone
    let unordered = times.windows(2).position(|pair| pair[0] >= pair[1]);
    if let Some(index) = unordered.filter(|_| steps > 1) {
        let message = format!(
            "it comes at step {:.0}, and the text before it at step {:.0}: put keyframes in the order of their steps, between the prompt's `from` \
             and `until`",
            times[index + 1],
            times[index]
        );
        checker.invalid(&format!("keyframes.{}", index + 1), message);
    }
}

/// The steps at which the keyframes of a prompt that counts over this span of steps count alone.
pub(crate) fn times(frames: &[Keyframe], [from, until]: [f64; 2], steps: usize) -> Vec<f64> {
    let own = |frame: &Keyframe| frame.at.map(|at| at.step(steps));
    let last = frames.len().saturating_sub(1);
    let mut times: Vec<Option<f64>> = frames.iter().map(own).collect();
    if let Some(first) = times.first_mut() {
        first.get_or_insert(from);
    }
    if let Some(time) = times.get_mut(last) {
        // of the last step that counts
        time.get_or_insert(until - 1.0);
    }
    // those between two known ones are evenly spaced
    let mut known = (0, times.first().copied().flatten().unwrap_or(from));
    let mut all = vec![];
    for (index, time) in times.iter().enumerate() {
        let Some(time) = *time else { continue };
        let gap = index - known.0;
        for i in 1..=gap {
            all.push(known.1 + (time - known.1) * i as f64 / gap as f64);
        }
        if gap == 0 {
            all.push(time);
        }
        known = (index, time);
    }
    all
}

/// Between which keyframes a step lies: the index of the one before, and the share of the way to the next, 0..1. Before the first one and from
/// the last one on that one alone counts.
pub(crate) fn position(frames: &[Keyframe], span: [f64; 2], at: StepContext) -> (usize, f64) {
    let times = times(frames, span, at.steps);
    let step = at.step as f64;
    let before = times.iter().rposition(|time| *time <= step);
    match before {
        None => (0, 0.0),
        Some(last) if last + 1 >= times.len() => (last, 0.0),
        Some(index) => {
            let (a, b) = (times[index], times[index + 1]);
            (index, (step - a) / (b - a))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(at: &[Option<StepOrPercent>]) -> Vec<Keyframe> {
        let frame = |at: &Option<StepOrPercent>| Keyframe {
            text: "a".to_owned(),
            at: *at,
        };
        at.iter().map(frame).collect()
    }

    #[test]
    fn texts_without_a_step_are_evenly_spaced() {
        let even = frames(&[None, None, None]);
        assert_eq!(times(&even, [0.0, 101.0], 101), [0.0, 50.0, 100.0]);
        assert_eq!(times(&even, [20.0, 41.0], 101), [20.0, 30.0, 40.0]);
        let some = frames(&[None, None, Some(StepOrPercent::Share(0.5)), None]);
        assert_eq!(times(&some, [0.0, 101.0], 80), [0.0, 20.0, 40.0, 100.0]);
        let own = frames(&[
            Some(StepOrPercent::Steps(10)),
            Some(StepOrPercent::Steps(30)),
        ]);
        assert_eq!(times(&own, [0.0, 100.0], 100), [10.0, 30.0]);
    }

    #[test]
    fn a_step_lies_between_two_texts() {
        let even = frames(&[None, None, None]);
        let at = |step| position(&even, [0.0, 101.0], StepContext::new(step, 101));
        assert_eq!(at(0), (0, 0.0));
        assert_eq!(at(25), (0, 0.5));
        assert_eq!(at(50), (1, 0.0));
        assert_eq!(at(90), (1, 0.8));
        assert_eq!(at(100), (2, 0.0));
        assert_eq!(at(300), (2, 0.0));
        let late = frames(&[Some(StepOrPercent::Steps(10)), None]);
        assert_eq!(
            position(&late, [0.0, 21.0], StepContext::new(3, 21)),
            (0, 0.0)
        );
    }
}
