//! Detects a finished picture that is nearly one even colour, and suggests which keys of the recipe to change.

use image::RgbImage;

use crate::recipe::{GeneratorOptions, Palette, PixelsOptions, Recipe, Terms};

/// Pictures with less contrast than this, six of 255 levels, look like one even colour. Measured: 0.002 to 0.013 for cellular automata
/// that formed no pattern, 0.07 for those with a faint one.
const FLAT: f64 = 0.025;
/// Renders of fewer steps are not expected to show anything yet.
const FEWEST_STEPS: usize = 20;
/// With fewer updates of its rule than this, a cellular automaton seldom forms a pattern.
const CHANGES: usize = 200;

/// The root mean square distance of a picture's channels from their means over all pixels: 0 for an even colour, at most 0.5. It is
/// what the term `contrast` controls.
pub fn contrast(image: &RgbImage) -> f64 {
    let pixels = image.pixels().len().max(1) as f64;
    let variance = |channel: usize| {
        let values = || {
            image
                .pixels()
                .map(|pixel| f64::from(pixel.0[channel]) / 255.0)
        };
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
    let options = &stages.last()?.options;
    let wanted = (terms(recipe).contrast.as_ref()).map(|wanted| wanted.0.at(1.0));
    let asked_for = wanted.is_some_and(|wanted| wanted < FLAT) || has_one_colour(options);
    if steps < FEWEST_STEPS || asked_for || contrast(image) >= FLAT {
        return None;
    }
    let key = |name: &str| match stages.len() {
        1 => format!("`generator.{name}`"),
        count => format!("`generator.{}.{name}`", count - 1),
    };
    let mut changes = match options {
        GeneratorOptions::Cellular(options) => {
            let changes = steps / options.batch.max(1);
            let batch =
                (options.batch > 1 && changes < CHANGES).then(|| format!("{}: 1", key("batch")));
            let longer = (changes < 2 * CHANGES).then(|| "more `steps`".to_owned());
            let lr = format!("another {} (0.002 to 0.006)", key("lr"));
            batch.into_iter().chain(longer).chain([lr]).collect()
        }
        GeneratorOptions::Diffusion(_) => {
            vec![
                format!("a lower {}", key("scale")),
                "more `steps`".to_owned(),
            ]
        }
        GeneratorOptions::Noise(_) => {
            vec![format!("a lower {}", key("lr")), "fewer `steps`".to_owned()]
        }
        _ => {
            vec!["more `steps`".to_owned(), format!("a higher {}", key("lr"))]
        }
    };
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

fn has_one_colour(options: &GeneratorOptions) -> bool {
    let GeneratorOptions::Pixels(PixelsOptions {
        palette: Some(palette),
        ..
    }) = options
    else {
        return false;
    };
    match palette {
        Palette::Learned(colours) => *colours == 1,
        Palette::Fixed(colours) => colours.len() == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{CellularOptions, Prompt, terms};
    use image::Rgb;

    fn recipe(options: GeneratorOptions) -> Recipe {
        let mut recipe = Recipe::new(vec![Prompt::new("moss")]);
        recipe.generator = options.into();
        recipe
    }

    fn cellular() -> Recipe {
        recipe(GeneratorOptions::Cellular(CellularOptions::default()))
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
        slow.generator = GeneratorOptions::Cellular(CellularOptions {
            batch: 4,
            ..CellularOptions::default()
        })
        .into();
        let words = warning(&image(2), &slow, 400).expect("a warning");
        assert!(words.contains("`generator.batch`: 1"), "{words}");
        let mut firm = cellular();
        firm.terms.contrast = Some(terms::contrast::Config(0.2.into()));
        let words = warning(&image(2), &firm, 4000).expect("a warning");
        assert!(!words.contains("contrast"), "{words}");
        assert!(!words.contains("steps"), "{words}");
    }

    #[test]
    fn each_kind_has_keys_of_its_own() {
        let words = |options| warning(&image(2), &recipe(options), 100).expect("a warning");
        let pyramid = words(GeneratorOptions::default());
        assert!(pyramid.contains("a higher `generator.lr`"), "{pyramid}");
        let mut chain = recipe(GeneratorOptions::default());
        chain.generator.0.push(chain.generator.0[0].clone());
        let words_of_chain = warning(&image(2), &chain, 100).expect("a warning");
        assert!(
            words_of_chain.contains("`generator.1.lr`"),
            "{words_of_chain}"
        );
        let pixels = words(GeneratorOptions::Pixels(PixelsOptions::default()));
        assert!(pixels.contains("more `steps`"), "{pixels}");
    }

    #[test]
    fn a_picture_that_is_meant_to_be_flat_gives_no_warning() {
        assert_eq!(warning(&image(0), &cellular(), 0), None);
        assert_eq!(warning(&image(0), &cellular(), 3), None);
        let mut calm = cellular();
        calm.terms.contrast = Some(terms::contrast::Config(0.01.into()));
        assert_eq!(warning(&image(0), &calm, 100), None);
        let one = PixelsOptions {
            palette: Some(Palette::Learned(1)),
            ..PixelsOptions::default()
        };
        assert_eq!(
            warning(&image(0), &recipe(GeneratorOptions::Pixels(one)), 100),
            None
        );
    }
}
