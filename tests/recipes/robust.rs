//! No input makes the readers panic, and what is written reads back.

use std::path::Path;

use generators::pyramid::{self, Sides};
use image::{DynamicImage, ImageFormat, RgbImage};
use phantasia::metadata;
use phantasia::picture::decode_rgb;
use phantasia::recipe::{
    Augment, Distance, Location, PartialRecipe, Prompt, Recipe, RecipeError, Schedule, Select,
    Stages, StepOrPercent, augment, clip_guide, terms,
};
use phantasia::{Keyframe, NamedRegion, Region};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const VALID: &str = "\
prompts:
  - a watercolor painting of an underwater submarine
  - { text: \"text, watermark\", weight: -0.3, from: 10%, until: 150, fade: 5 }
size: [64, 64]
generator: { kind: pyramid, sides: [1, 2, 4], lr: \"0.05 * (1 - 0.9 * t^4)\" }
clip: [{ model: embedded }]
cutouts: { count: 16, augment: [flip, affine: { degrees: 10, p: 0.5 }] }
";

fn read(text: &str) -> Result<Recipe, RecipeError> {
    Recipe::parse(text, "r.yaml", Path::new(""))
}

/// What is read reads back from what is written; what is refused says why, and at a place within the text.
fn assert_read_or_refused(text: &str) {
    match read(text) {
        Ok(recipe) => assert_eq!(
            read(&recipe.to_yaml().expect("YAML")).expect("a recipe"),
            recipe
        ),
        Err(error) => {
            assert!(!error.diagnostics.is_empty());
            for diagnostic in &error.diagnostics {
                let Location::Text { line, column } = diagnostic.location else {
                    panic!("{diagnostic}: not in the text")
                };
                assert!(
                    (1..=text.lines().count() + 1).contains(&line),
                    "{diagnostic}"
                );
                assert!(
                    column >= 1 && !diagnostic.kind.to_string().is_empty(),
                    "{diagnostic}"
                );
            }
        }
    }
}

fn number() -> impl Strategy<Value = Schedule> {
    prop_oneof![
        (0.001..100.0).prop_map(Schedule::from),
        Just(Schedule::parse("0.05 * (1 - 0.9 * t^4)").expect("an expression")),
        Just(Schedule::parse("2").expect("a constant")),
    ]
}

fn share() -> impl Strategy<Value = Schedule> {
    (0.0..=0.5).prop_map(Schedule::from)
}

fn prompt() -> impl Strategy<Value = Prompt> {
    let text = any::<String>().prop_map(|text| text + "x");
    let from = prop_oneof![
        (0..5usize).prop_map(StepOrPercent::Steps),
        (0.0..0.4).prop_map(StepOrPercent::Share)
    ];
    let fade = prop_oneof![
        (0..500usize).prop_map(StepOrPercent::Steps),
        (0.0..=1.0).prop_map(StepOrPercent::Share)
    ];
    let share = || 0.0..0.5f64;
    let rectangle = (share(), share(), 0.01..0.5f64, 0.01..0.5f64);
    let region = prop_oneof![
        proptest::sample::select(NamedRegion::ALL.to_vec())
            .prop_map(|(_, named)| Region::Named(named)),
        rectangle.prop_map(|(left, top, width, height)| {
            Region::Rectangle([left, top, width, height])
        })
    ];
    (
        proptest::collection::vec(text, 1..4),
        number(),
        option::of(-1.0..2.0),
        option::of(from),
        option::of(fade),
        option::of(region),
    )
        .prop_map(|(texts, weight, stop, from, fade, region)| Prompt {
            keyframes: (texts.len() > 1).then(|| {
                texts
                    .iter()
                    .map(|text| Keyframe::from(text.as_str()))
                    .collect()
            }),
            text: (texts.len() == 1).then(|| texts.concat()),
            source: None,
            image: None,
            weight,
            stop,
            from,
            until: None,
            fade,
            region,
        })
}

fn augment() -> impl Strategy<Value = Augment> {
    let p = 0.0..=1.0;
    prop_oneof![
        p.clone()
            .prop_map(|p| Augment::Flip(augment::flip::Config { p })),
        (share(), share(), p.clone()).prop_map(|(degrees, translate, p)| Augment::Affine(
            augment::affine::Config {
                degrees,
                translate,
                p
            }
        )),
        (share(), p.clone()).prop_map(|(strength, p)| Augment::Perspective(
            augment::perspective::Config { strength, p }
        )),
        (share(), share(), share(), share(), p.clone()).prop_map(
            |(hue, saturation, brightness, contrast, p)| Augment::Jitter(augment::jitter::Config {
                hue,
                saturation,
                brightness,
                contrast,
                p
            })
        ),
        (share(), p).prop_map(|(area, p)| Augment::Erase(augment::erase::Config { area, p })),
        share().prop_map(|strength| Augment::Noise(augment::noise::Config { strength })),
    ]
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let pyramid = (number(), option::of(vec(1..500usize, 1..60)), any::<bool>());
    (
        vec(prompt(), 1..4),
        [1..500usize, 1..500usize],
        10..1000usize,
        any::<u64>(),
        pyramid,
        vec(augment(), 0..4),
        (option::of(share()), any::<bool>()),
        any::<String>(),
    )
        .prop_map(
            |(prompts, size, steps, seed, (lr, sides, normalize), augment, (mean, flag), model)| {
                let mut recipe = Recipe::new(prompts);
                recipe.size = size;
                recipe.steps = steps;
                recipe.seed = seed;
                recipe.generator = Stages::from(pyramid::Config {
                    lr,
                    sides: sides.map(Sides::List),
                    normalize,
                    ..pyramid::Config::default()
                });
                recipe.clip.push(clip_guide::Config::new(&format!(
                    "x{}x",
                    model.replace(['/', '\0'], "")
                )));
                recipe.cutouts.augment = augment;
                recipe.terms.mean = mean.map(terms::mean::Config);
                if flag {
                    recipe.distance = Distance::Cosine;
                    recipe.select = Select::Best;
                }
                recipe
            },
        )
}

proptest! {
    #[test]
    fn any_text_is_a_recipe_or_an_error(text in any::<String>()) {
        assert_read_or_refused(&text);
    }

    #[test]
    fn any_yaml_like_text_is_a_recipe_or_an_error(
        text in "([a-z]{1,4}|[ \n\t:,\\[\\]{}&*!|>'\"%@`#?-]|prompts|size|generator|kind|[0-9.]{1,3}){0,80}"
    ) {
        assert_read_or_refused(&text);
    }

    #[test]
    fn a_damaged_recipe_is_a_recipe_or_an_error(
        edits in vec((0..VALID.len(), 0..8usize, "[ -~\n]{0,3}"), 1..4)
    ) {
        let mut text = VALID.to_owned();
        for (at, length, with) in edits {
            let at = at.min(text.len());
            let end = (at + length).min(text.len());
            text.replace_range(at..end, &with);
        }
        assert_read_or_refused(&text);
    }

    #[test]
    fn any_expression_is_a_number_or_an_error(text in "([0-9.te+*/^(), -]|sin|min|pow|e){0,40}") {
        if let Ok(number) = Schedule::parse(&text) {
            prop_assert!(number.at(0.5).is_finite());
        }
    }

    #[test]
    fn any_assignment_is_taken_or_refused(path in "[a-z.0-9]{0,12}", value in any::<String>()) {
        for path in [&path, "prompts.0.text", "cutouts.augment.0", "generator.lr"] {
            let mut partial = PartialRecipe::parse(VALID, "r.yaml", Path::new("")).expect("a recipe");
            let flag = format!("{path}={value}");
            match partial.set(&flag).and_then(|()| partial.finish()) {
                Ok(recipe) => prop_assert_eq!(read(&recipe.to_yaml().expect("YAML")).expect("a recipe"), recipe),
                Err(error) => prop_assert!(!error.diagnostics.is_empty(), "{}", flag),
            }
        }
    }

    #[test]
    fn a_recipe_reads_back_from_yaml(recipe in recipe()) {
        recipe.check().expect("a good recipe");
        let yaml = recipe.to_yaml().expect("YAML");
        let back = read(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        prop_assert_eq!(back, recipe, "{}", yaml);
    }

    #[test]
    fn any_bytes_are_a_picture_or_an_error(format in 0..6usize, bytes in vec(any::<u8>(), 0..300)) {
        const SIGNATURES: [&[u8]; 6] = [
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            b"\xff\xd8\xff\xe0",
            b"GIF89a",
            b"RIFF\0\0\0\0WEBPVP8",
            b"BM",
            b"II*\0",
        ];
        let bytes = [SIGNATURES[format], &bytes].concat();
        // so few bytes are no picture; that they are refused is what matters
        prop_assert!(decode_rgb(&bytes).is_err() || format == 4);
        prop_assert!(metadata::read(std::io::Cursor::new(&bytes)).is_err());
    }

    #[test]
    fn a_damaged_picture_is_a_picture_or_an_error(
        format in 0..6usize,
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        length in any::<prop::sample::Index>(),
    ) {
        const FORMATS: [ImageFormat; 6] = [
            ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff,
        ];
        let image = RgbImage::from_fn(20, 15, |x, y| image::Rgb([x as u8 * 9, y as u8 * 13, 70]));
        let mut bytes = std::io::Cursor::new(vec![]);
        DynamicImage::ImageRgb8(image.clone()).write_to(&mut bytes, FORMATS[format]).expect("a picture");
        let mut bytes = bytes.into_inner();
        let whole = decode_rgb(&bytes).expect("the picture");
        prop_assert_eq!(whole.dimensions(), image.dimensions());
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        // a decoder may read past the damage, or refuse the picture: both without a panic
        for bytes in [&bytes[..], &bytes[..length.index(bytes.len())]] {
            if let Ok(picture) = decode_rgb(bytes) {
                prop_assert!(picture.width() > 0 && picture.height() > 0);
            }
            let texts = metadata::read(std::io::Cursor::new(bytes)).unwrap_or_default();
            prop_assert!(!texts.contains_key(metadata::RECIPE));
        }
    }
}
