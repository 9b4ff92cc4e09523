//! What a recipe is where it says nothing.

use super::{OutputOptions, clip_guide};

pub(super) fn size() -> [usize; 2] {
    [256, 256]
}

pub(super) fn steps() -> usize {
    200
}

pub(super) fn clip() -> Vec<clip_guide::Config> {
    vec![clip_guide::Config::default()]
}

impl Default for OutputOptions {
    fn default() -> Self {
        Self {
            every: 0,
            video: None,
            fps: 20.0,
            checkpoint: 50,
        }
    }
}
