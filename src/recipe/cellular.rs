//! What a recipe may tell a neural cellular automaton.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Schedule, defaults};

/// A neural cellular automaton: what is learned is a rule that every pixel follows, so that the picture grows by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CellularOptions {
    /// Numbers a cell; the first three are its colour.
    #[schemars(range(min = 3, max = 256))]
    pub channels: usize,
    /// Hidden values between what a cell sees and how it changes.
    #[schemars(range(min = 1, max = 4096))]
    pub hidden: usize,
    /// The fewest and the most iterations of the rule a step.
    #[schemars(inner(range(min = 1)))]
    pub iterations: [usize; 2],
    /// The probability with which a cell changes in an iteration.
    #[schemars(range(min = 0, max = 1))]
    pub fire_rate: f64,
    /// How many states are kept, of which each step goes on with one.
    #[schemars(range(min = 1))]
    pub pool: usize,
    /// How many steps make one change of the rule.
    #[schemars(range(min = 1))]
    pub batch: usize,
    /// After so many changes of the rule one state starts anew; 0 for never.
    pub reseed: usize,
    /// The probability with which a state is damaged before a step, so that the rule learns to heal.
    #[schemars(range(min = 0, max = 1))]
    pub damage: f64,
    /// What lies beyond the edge.
    pub padding: CellularPadding,
    /// The weight of what keeps states within -1..=1.
    pub overflow: f64,
    /// The learning rate.
    pub lr: Schedule,
}

/// What lies beyond the edge of the cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CellularPadding {
    /// The opposite edge, so that the picture tiles.
    Circular,
    /// Nothing.
    Zero,
}

/// Those of text-2-cellular-automata, made for renders of hundreds of steps instead of thousands: the rule changes after every step, by
/// twice the learning rate, and a step has half the iterations. A render that changes its rule a hundred times only finds the mean
/// colour of its prompt. The pool is smaller because each checkpoint holds all of its states.
impl Default for CellularOptions {
    fn default() -> Self {
        Self {
            channels: 12,
            hidden: 128,
            iterations: [24, 48],
            fire_rate: 0.5,
            pool: 16,
            batch: 1,
            reseed: 8,
            damage: 0.0,
            padding: CellularPadding::Circular,
            overflow: 1.0,
            lr: defaults::cellular_lr(),
        }
    }
}
