//! Detects a finished picture that is nearly one even colour, and suggests which keys of the recipe to change.

use image::{Rgb, RgbImage};

use crate::recipe::{Recipe, Terms};

/// Pictures with less contrast than this, six of 255 levels, look like one even colour. Measured: 0.002 to 0.013 for cellular automata
/// that formed no pattern, 0.07 for those with a faint one.
const FLAT: f64 = 0.025;
/// Renders of fewer steps are not expected to show anything yet.
const FEWEST_STEPS: usize = 20;

/// The root mean square distance of a picture's channels from their means over all pixels: 0 for an even colour, at most 0.5. It is
/// what the term `contrast` controls.
pub fn contrast(image: &RgbImage) -> f64 {
    let pixels = image.pixels().len().max(1) as f64;
    let variance = |channel: usize| {
        let level = |pixel: &Rgb<u8>| f64::from(pixel.0[channel]) / 255.0;
        let values = || image.pixels().map(level);
        let mean = values().sum::<f64>() / pixels;
        values().map(|value| (value - mean).powi(2)).sum::<f64>() / pixels
    };
    ((0..3).map(variance).sum::<f64>() / 3.0).sqrt()
}

/// A warning that a picture is nearly one even colour, with the recipe's keys to change. `recipe` is the one that was painted in `steps`
/// steps, its timeline included.
///
/// `None` if the picture is not flat, if the recipe asks for a flat one (a palette of one colour, or the term `contrast` near 0), or after
/// fewer than 20 steps.
pub fn warning(image: &RgbImage, recipe: &Recipe, steps: usize) -> Option<String> {
    let stages = &recipe.generator.0;
    let generator = stages.last()?.config.settings();
    let wanted = (terms(recipe).contrast.as_ref()).map(|wanted| wanted.0.at(1.0));
    let asked_for = wanted.is_some_and(|wanted| wanted < FLAT) || generator.is_one_color();
    if steps < FEWEST_STEPS || asked_for || contrast(image) >= FLAT {
        return None;
    }
    let key = |name: &str| match stages.len() {
        1 => format!("`generator.{name}`"),
        count => format!("`generator.{}.{name}`", count - 1),
    };
    let mut changes = generator.remedies_for_flatness(steps, &key);
    if wanted.is_none() {
        changes.push("`terms.contrast: 0.15`".to_owned());
    }
    Some(format!(
        "the picture is nearly one even colour; to change that, try {} or another `seed`",
        changes.join(", ")
    ))
}

/// The terms in force at the end of a render.
fn terms(recipe: &Recipe) -> &Terms {
    let edited = (recipe.timeline.iter().rev()).find_map(|edit| edit.terms.as_ref());
    let staged = || (recipe.generator.0.iter().rev()).find_map(|stage| stage.terms.as_ref());
    edited.or_else(staged).unwrap_or(&recipe.terms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use generators::pixels::Palette;
    use generators::{Build as _, BuildContext, cellular, pixels};
    use image::Rgb;

    use crate::objective::{Objective, TermContext};
    use crate::picture;
    use crate::recipe::{GeneratorConfig, Prompt, terms as term_configs};
    use crate::session::Session;

    fn recipe(config: impl Into<GeneratorConfig>) -> Recipe {
        let mut recipe = Recipe::new(vec![Prompt::new("moss")]);
        recipe.generator = config.into().into();
        recipe
    }

    fn cellular() -> Recipe {
        recipe(cellular::Config::default())
    }

    /// An even colour with a checkerboard of this amplitude, in levels.
    fn image(levels: u8) -> RgbImage {
        RgbImage::from_fn(8, 8, |x, y| {
            let up = if (x + y) % 2 == 0 { levels } else { 0 };
            Rgb([140 + up, 200 - up, 40 + up])
        })
    }

    #[test]
    fn an_even_colour_has_no_contrast() {
        assert!(contrast(&image(0)) < 1e-9);
        assert!((contrast(&image(51)) - 0.1).abs() < 1e-9);
        let black_and_white = RgbImage::from_fn(4, 4, |x, _| Rgb([255 * (x % 2) as u8; 3]));
        assert!((contrast(&black_and_white) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn the_warning_about_a_flat_picture_names_keys_to_change() {
        let words = warning(&image(2), &cellular(), 100).expect("a warning");
        for key in ["more `steps`", "`generator.lr`", "`terms.contrast: 0.15`"] {
            assert!(words.contains(key), "{words}");
        }
        assert_eq!(warning(&image(40), &cellular(), 100), None);
        let mut slow = cellular();
        slow.generator = cellular::Config {
            batch: 4,
            ..cellular::Config::default()
        }
        .into();
        let words = warning(&image(2), &slow, 400).expect("a warning");
        assert!(words.contains("`generator.batch`: 1"), "{words}");
        let mut firm = cellular();
        firm.terms.contrast = Some(term_configs::contrast::Config(0.2.into()));
        let words = warning(&image(2), &firm, 4000).expect("a warning");
        assert!(!words.contains("contrast"), "{words}");
        assert!(!words.contains("steps"), "{words}");
    }

    #[test]
    fn each_kind_has_keys_of_its_own() {
        let words =
            |config: GeneratorConfig| warning(&image(2), &recipe(config), 100).expect("a warning");
        let pyramid = words(GeneratorConfig::default());
        assert!(pyramid.contains("a higher `generator.lr`"), "{pyramid}");
        let mut chain = recipe(GeneratorConfig::default());
        chain.generator.0.push(chain.generator.0[0].clone());
        let words_of_chain = warning(&image(2), &chain, 100).expect("a warning");
        assert!(
            words_of_chain.contains("`generator.1.lr`"),
            "{words_of_chain}"
        );
        let pixels = words(pixels::Config::default().into());
        assert!(pixels.contains("more `steps`"), "{pixels}");
    }

    #[test]
    fn a_picture_that_is_meant_to_be_flat_gives_no_warning() {
        assert_eq!(warning(&image(0), &cellular(), 0), None);
        assert_eq!(warning(&image(0), &cellular(), 3), None);
        let mut calm = cellular();
        calm.terms.contrast = Some(term_configs::contrast::Config(0.01.into()));
        assert_eq!(warning(&image(0), &calm, 100), None);
        let one = pixels::Config {
            palette: Some(Palette::Learned(1)),
            ..pixels::Config::default()
        };
        assert_eq!(warning(&image(0), &recipe(one), 100), None);
    }

    /// All cells begin alike and differ only by when they are updated; the term `mean` makes them change in the first place.
    #[test]
    fn the_term_contrast_makes_a_pattern_of_an_even_start() -> anyhow::Result<()> {
        let config = cellular::Config {
            iterations: [8, 16],
            ..cellular::Config::default()
        };
        let terms = Terms {
            mean: Some(term_configs::mean::Config(0.4.into())),
            contrast: Some(term_configs::contrast::Config(0.2.into())),
            ..Terms::default()
        };
        let steps = 150;
        let mut context = BuildContext::new([24, 24], steps, 1, &Device::Cpu);
        let objective = Objective::new(terms.build(&mut TermContext::default())?);
        let mut session = Session::from_parts(config.build(&mut context)?, objective, steps);
        while !session.is_finished() {
            session.tick()?;
        }
        let contrast = contrast(&picture::from_tensor(&session.image()?)?);
        assert!((0.1..0.3).contains(&contrast), "{contrast}");
        Ok(())
    }
}
