//! What the sections that judge a picture cannot hold: `clip`, `cutouts`, `terms`.

use super::Checker;
use crate::clip::ClipActivation;
use crate::load::{EMBEDDED, EMBEDDED_ACTIVATION};
use crate::recipe::{Augment, CutoutChanges, CutoutOptions, Recipe, Schedule, TermOptions};

const MOST_CUTOUTS: f64 = 65_536.0;

impl Checker {
    pub(super) fn terms(&mut self, path: &str, terms: &TermOptions, recipe: &Recipe) {
        if let Some(mean) = &terms.mean {
            self.number(&format!("{path}.mean"), mean, 0.0, 1.0);
        }
        if let Some(contrast) = &terms.contrast {
            self.number(&format!("{path}.contrast"), contrast, 0.0, 1.0);
        }
        if let Some(aesthetic) = &terms.aesthetic {
            let path = format!("{path}.aesthetic");
            self.model(&format!("{path}.model"), &aesthetic.model);
            self.model(&format!("{path}.clip"), &aesthetic.clip);
            self.activation(&path, &aesthetic.clip, aesthetic.activation);
            self.own_cutouts(&path, recipe, aesthetic.cutouts.as_ref());
        }
    }

    pub(super) fn clip(&mut self, recipe: &Recipe) {
        if recipe.clip.is_empty() {
            self.invalid(
                "clip",
                "there is no model to judge the picture: `embedded` is always there",
            );
            return;
        }
        for (index, clip) in recipe.clip.iter().enumerate() {
            let path = format!("clip.{index}");
            self.model(&format!("{path}.model"), &clip.model);
            self.activation(&path, &clip.model, clip.activation);
            self.number(&format!("{path}.weight"), &clip.weight, 0.0, f64::MAX);
            if let Some(center) = clip.center {
                self.range(&format!("{path}.center"), center, 0.0, 1.0);
            }
            self.own_cutouts(&path, recipe, clip.cutouts.as_ref());
        }
        if recipe
            .clip
            .iter()
            .all(|clip| clip.weight.bounds() == (0.0, 0.0))
        {
            self.invalid("clip", "all weights are 0, so that no model would count");
        }
    }

    /// Refuses to override the nonlinearity of the embedded model.
    fn activation(&mut self, path: &str, model: &str, activation: Option<ClipActivation>) {
        if activation.is_some() && model == EMBEDDED {
            self.invalid(&format!("{path}.activation"), EMBEDDED_ACTIVATION);
        }
    }

    /// What the recipe's cutouts and one model's changes come to.
    fn own_cutouts(&mut self, path: &str, recipe: &Recipe, changes: Option<&CutoutChanges>) {
        let mut base = Self::default();
        base.cutouts("cutouts", &recipe.cutouts);
        // else every fault would be told again
        if changes.is_some() && base.findings.is_empty() {
            let cutouts = recipe.cutouts.with(changes);
            self.cutouts(&format!("{path}.cutouts"), &cutouts);
        }
    }

    pub(super) fn cutouts(&mut self, path: &str, cutouts: &CutoutOptions) {
        if let Some(count) = &cutouts.count {
            self.number(&format!("{path}.count"), count, 1.0, MOST_CUTOUTS);
        }
        self.positive(&format!("{path}.power"), &cutouts.power);
        self.positive(&format!("{path}.max"), &cutouts.max);
        if let Some(min) = &cutouts.min {
            self.positive(&format!("{path}.min"), min);
            if let (Some(min), Some(max)) = (min.constant(), cutouts.max.constant())
                && min > max
            {
                self.unexpected(
                    &format!("{path}.min"),
                    &format!("at most `max`, which is {max}"),
                    min,
                );
            }
        }
        self.number(&format!("{path}.margin"), &cutouts.margin, 0.0, 16.0);
        self.number(
            &format!("{path}.overview"),
            &cutouts.overview,
            0.0,
            MOST_CUTOUTS,
        );
        for (index, augment) in cutouts.augment.iter().enumerate() {
            self.augment(&format!("{path}.augment.{index}"), augment);
        }
    }

    fn augment(&mut self, path: &str, augment: &Augment) {
        let (name, p, numbers): (_, _, &[(&str, &Schedule, f64)]) = match augment {
            Augment::Flip { p } => ("flip", Some(p), &[]),
            Augment::Affine {
                degrees,
                translate,
                p,
            } => (
                "affine",
                Some(p),
                &[("degrees", degrees, 180.0), ("translate", translate, 1.0)],
            ),
            Augment::Perspective { strength, p } => {
                ("perspective", Some(p), &[("strength", strength, 1.0)])
            }
            Augment::Jitter {
                hue,
                saturation,
                brightness,
                contrast,
                p,
            } => (
                "jitter",
                Some(p),
                &[
                    ("hue", hue, 0.5),
                    ("saturation", saturation, 1.0),
                    ("brightness", brightness, 1.0),
                    ("contrast", contrast, 1.0),
                ],
            ),
            Augment::Erase { area, p } => ("erase", Some(p), &[("area", area, 1.0)]),
            Augment::Noise { strength } => ("noise", None, &[("strength", strength, 16.0)]),
        };
        if let Some(p) = p {
            self.range(&format!("{path}.{name}.p"), *p, 0.0, 1.0);
        }
        for (key, number, most) in numbers {
            self.number(&format!("{path}.{name}.{key}"), number, 0.0, *most);
        }
    }
}
