//! What a recipe is where it says nothing.

use super::{
    Augment, Border, ClipOptions, CutoutOptions, EMBEDDED, Number, OutputOptions, TermOptions,
};

pub(super) fn size() -> [usize; 2] {
    [256, 256]
}

pub(super) fn steps() -> usize {
    200
}

pub(super) fn clip() -> Vec<ClipOptions> {
    vec![ClipOptions::new(&embedded())]
}

pub(super) fn embedded() -> String {
    EMBEDDED.to_owned()
}

/// Falls along half a cosine, to a tenth.
pub(super) fn lr() -> Number {
    Number::parse("0.006 + 0.025 * (1 + cos(pi * t))").unwrap_or_else(|_| Number::from(0.05))
}

/// Falls to two fifths twice, as text-2-cellular-automata's does three times.
pub(super) fn cellular_lr() -> Number {
    Number::parse("0.004 * 0.4 ^ (step(0.5, t) + step(0.8, t))")
        .unwrap_or_else(|_| Number::from(0.002))
}

pub(super) fn pixels_lr() -> Number {
    Number::from(0.02)
}

pub(super) fn fft_lr() -> Number {
    Number::from(0.05)
}

/// What keeps a picture from being painted for one view of it alone.
pub(super) fn augment() -> Vec<Augment> {
    vec![
        Augment::Affine {
            degrees: Number::from(5.0),
            translate: Number::from(0.02),
            p: 1.0,
        },
        Augment::Jitter {
            hue: jitter(),
            saturation: jitter(),
            brightness: zero(),
            contrast: zero(),
            p: 1.0,
        },
        Augment::Noise {
            strength: Number::from(0.1),
        },
    ]
}

/// Disco Diffusion's.
pub(super) fn guidance_scale() -> Number {
    Number::from(5000.0)
}

pub(super) fn one() -> Number {
    Number::from(1.0)
}

pub(super) fn zero() -> Number {
    Number::from(0.0)
}

// The augmentations of VQGAN-CLIP (nerdyrodent), erasing as torchvision has it.

pub(super) fn flip_p() -> f64 {
    0.5
}

pub(super) fn affine_degrees() -> Number {
    Number::from(30.0)
}

pub(super) fn affine_translate() -> Number {
    Number::from(0.1)
}

pub(super) fn affine_p() -> f64 {
    0.8
}

pub(super) fn perspective_strength() -> Number {
    Number::from(0.2)
}

pub(super) fn perspective_p() -> f64 {
    0.4
}

pub(super) fn jitter() -> Number {
    Number::from(0.01)
}

pub(super) fn jitter_p() -> f64 {
    0.7
}

pub(super) fn erase_area() -> Number {
    Number::from(0.33)
}

pub(super) fn erase_p() -> f64 {
    0.7
}

pub(super) fn noise_strength() -> Number {
    Number::from(0.1)
}

impl Default for CutoutOptions {
    fn default() -> Self {
        Self {
            count: None,
            power: Number::from(1.0),
            min: None,
            max: Number::from(1.05),
            margin: Number::from(0.05),
            overview: Number::from(0.0),
            border: Border::Reflect,
            augment: augment(),
        }
    }
}

impl Default for TermOptions {
    fn default() -> Self {
        Self {
            total_variation: Number::from(0.0),
            range: Number::from(0.0),
            saturation: Number::from(0.0),
            mean: None,
            contrast: None,
            aesthetic: None,
        }
    }
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
