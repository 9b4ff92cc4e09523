//! When, and how much, a prompt counts.

use crate::recipe::{Moment, Number, Prompt};

/// A place in a render.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct At {
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
}

impl At {
    /// The share of the render that is done, 0 at the first step and 1 at the last.
    pub fn t(&self) -> f64 {
        let last = self.steps.saturating_sub(1).max(1);
        (self.step as f64 / last as f64).min(1.0)
    }
}

/// The course of a prompt's weight over a render.
#[derive(Clone, Debug, PartialEq)]
pub struct Influence {
    weight: Number,
    from: Option<Moment>,
    until: Option<Moment>,
    fade: Option<Moment>,
}

impl Influence {
    /// The course that a prompt asks for.
    pub fn of(prompt: &Prompt) -> Self {
        Self {
            weight: prompt.weight.clone(),
            from: prompt.from,
            until: prompt.until,
            fade: prompt.fade,
        }
    }

    /// The weight at a step: 0 outside of `from..until`, rising and falling over `fade` steps inside of it.
    pub fn at(&self, at: At) -> f64 {
        let steps = |moment: &Moment| moment.step(at.steps);
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
        let rise = self
            .from
            .as_ref()
            .map_or(1.0, |from| ramp(step - steps(from)));
        let fall = (self.until.as_ref()).map_or(1.0, |until| ramp(steps(until) - 1.0 - step));
        self.weight.at(at.t()) * rise.min(fall)
    }
}
