//! What a recipe is where it says nothing.

use super::{OutputOptions, Schedule, clip_guide};

pub(super) fn size() -> [usize; 2] {
    [256, 256]
}

pub(super) fn steps() -> usize {
    200
}

pub(super) fn clip() -> Vec<clip_guide::Config> {
    vec![clip_guide::Config::default()]
}

/// Falls along half a cosine, to a tenth.
pub(super) fn lr() -> Schedule {
    Schedule::parse("0.006 + 0.025 * (1 + cos(pi * t))").unwrap_or_else(|_| Schedule::from(0.05))
}

/// Falls to two fifths twice, as text-2-cellular-automata's does three times.
pub(super) fn cellular_lr() -> Schedule {
    Schedule::parse("0.004 * 0.4 ^ (step(0.5, t) + step(0.8, t))")
        .unwrap_or_else(|_| Schedule::from(0.002))
}

pub(super) fn pixels_lr() -> Schedule {
    Schedule::from(0.02)
}

pub(super) fn fft_lr() -> Schedule {
    Schedule::from(0.05)
}

/// Disco Diffusion's.
pub(super) fn guidance_scale() -> Schedule {
    Schedule::from(5000.0)
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
