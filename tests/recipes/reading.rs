//! Recipes: those of the repository load, short forms mean their long ones, and what is wrong with others has a kind and a place.

use std::fs;
use std::path::Path;

use generators::pixels::{self, Color, Palette};
use generators::pyramid::{self, Sides};
use phantasia::recipe::{
    Augment, Diagnostic, DiagnosticKind, GeneratorConfig, Location, PartialRecipe, Prompt, Recipe,
    RecipeError, Restart, Schedule, Select, StepOrPercent, augment, clip_guide, terms,
};
use serde_json::Value;

use crate::common::{parse, refusal};

/// The pyramid that a recipe paints with.
#[allow(irrefutable_let_patterns)]
fn pyramid(recipe: &Recipe) -> &pyramid::Config {
    let GeneratorConfig::Pyramid(pyramid) = &recipe.generator.0[0].config else {
        panic!("not a pyramid")
    };
    pyramid
}

#[test]
fn the_recipes_of_the_repository_load_and_come_back_from_yaml() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    for entry in fs::read_dir(folder).expect("the folder of recipes") {
        let path = entry.expect("an entry").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let recipe = Recipe::load(&path).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(
                parse(&recipe.to_yaml().expect("YAML")),
                recipe,
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn short_forms_mean_their_long_ones() {
    let short = parse(
        "prompts: 1984\nsize: 64x32\ngenerator: pyramid\nclip: embedded\n\
         cutouts: { augment: [flip, affine: { degrees: 10 }] }\n",
    );
    let long = parse(
        "prompts: [{ text: '1984', weight: 1 }]\nsize: [64, 32]\ngenerator: { kind: pyramid }\n\
         clip: [{ model: embedded, weight: 1 }]\n\
         cutouts: { augment: [flip: { p: 0.5 }, affine: { degrees: 10, translate: 0.1, p: 0.8 }] }\n",
    );
    assert_eq!(short, long);
}

#[test]
fn defaults_fill_in_what_is_not_said() {
    let recipe = parse("prompts: a cat\n");
    assert_eq!(recipe, Recipe::new(vec![Prompt::new("a cat")]));
    assert_eq!(recipe.clip, [clip_guide::Config::new("embedded")]);
}

#[test]
fn a_section_whose_keys_are_commented_out_is_its_default() {
    assert_eq!(
        parse("prompts: a cat\ncutouts:\n  # count: 4\n"),
        parse("prompts: a cat\n")
    );
}

#[test]
fn the_kind_may_stand_anywhere() {
    let recipe = parse("prompts: a cat\ngenerator: { sides: all, kind: pyramid }\n");
    let pyramid = pyramid(&recipe);
    assert!(matches!(pyramid.sides, Some(Sides::Word(_))));
}

#[test]
fn generators_may_form_a_chain() {
    let recipe = parse(
        "prompts: a cat\ngenerator:\n  - pyramid\n  - { size: 64x32, kind: pyramid, steps: 7, layers: 2, prompts: a dog, terms: { mean: 0.5 } }\n",
    );
    let [first, second] = recipe.generator.0.as_slice() else {
        panic!("two stages")
    };
    assert_eq!((first.steps, first.size), (None, None));
    assert_eq!(second.prompts, Some(vec![Prompt::new("a dog")]));
    assert_eq!(
        second.terms.as_ref().and_then(|terms| terms.mean.clone()),
        Some(terms::mean::Config(0.5.into()))
    );
    assert_eq!((recipe.stage_steps(0), recipe.stage_steps(1)), (200, 7));
    assert_eq!(recipe.stage_size(1), [64, 32]);
    assert_eq!(parse(&recipe.to_yaml().expect("YAML")), recipe);
}

#[test]
fn a_timeline_reads_back() {
    let recipe = parse(
        "prompts: a cat\ntimeline:\n  - { step: 3, prompts: a dog, fade: 2 }\n  - { step: 9, lr: 0.5, restart: image }\n",
    );
    assert_eq!(recipe.timeline[0].prompts, Some(vec![Prompt::new("a dog")]));
    assert_eq!(recipe.timeline[1].restart, Some(Restart::Image));
    assert_eq!(parse(&recipe.to_yaml().expect("YAML")), recipe);
}

#[test]
fn numbers_may_be_expressions_of_t() {
    let recipe = parse("prompts: { text: a cat, weight: 1 - t^2, from: 10%, until: 150 }\n");
    let prompt = &recipe.prompts[0];
    assert_eq!(prompt.weight.at(0.5), 0.75);
    assert_eq!(prompt.from, Some(StepOrPercent::Share(0.1)));
    assert_eq!(prompt.until, Some(StepOrPercent::Steps(150)));
}

#[test]
fn a_positive_and_a_negative_weight_that_cancel_are_legal() {
    parse("prompts: [a cat, { text: a dog, weight: -1 }]\n");
}

/// The only diagnostic of a recipe that is refused.
#[track_caller]
fn diagnostic(error: RecipeError) -> Diagnostic {
    let [diagnostic] = error.diagnostics.try_into().expect("one diagnostic");
    diagnostic
}

/// Other diagnostics, and the wording of all, are in `wording.rs`.
#[test]
fn diagnostics_have_a_kind_a_location_and_a_path() {
    type Is = fn(&DiagnosticKind) -> bool;
    let cases: [(&str, (usize, usize), &str, Is); 6] = [
        (
            "prompts: a\nsetps: 1\n",
            (2, 1),
            "",
            |kind| matches!(kind, DiagnosticKind::UnknownKey { key, .. } if key == "setps"),
        ),
        (
            "prompts: a\ngenerator: { kind: gna }\n",
            (2, 20),
            "generator.kind",
            |kind| matches!(kind, DiagnosticKind::UnknownWord { word, .. } if word == "gna"),
        ),
        (
            "steps: 10\n",
            (1, 1),
            "",
            |kind| matches!(kind, DiagnosticKind::MissingKey { key } if key == "prompts"),
        ),
        ("prompts: a\nsize: [256, 0]\n", (2, 13), "size.1", |kind| {
            matches!(kind, DiagnosticKind::Unexpected { .. })
        }),
        (
            "prompts: a\nsteps: 1e2\n",
            (2, 8),
            "steps",
            |kind| matches!(kind, DiagnosticKind::NotInDigits { digits, .. } if digits == "100"),
        ),
        ("prompts: [\n", (1, 10), "", |kind| {
            matches!(kind, DiagnosticKind::Syntax(_))
        }),
    ];
    for (text, (line, column), path, is_expected) in cases {
        let found = diagnostic(refusal(text));
        assert_eq!(found.location, Location::Text { line, column }, "{text}");
        assert_eq!(found.path, path, "{text}");
        assert!(is_expected(&found.kind), "{text}: {:?}", found.kind);
    }
}

#[test]
fn paths_start_from_the_recipes_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = folder.path().join("r.yaml");
    fs::write(&recipe, "prompts: a cat\ninit: photo.png\nclip: model\n").expect("a file");
    let photo = folder.path().join("photo.png");
    let missing = diagnostic(Recipe::load(&recipe).unwrap_err()).kind;
    assert!(
        matches!(&missing, DiagnosticKind::MissingFile { resolved, .. } if *resolved == photo),
        "{missing:?}"
    );
    fs::write(&photo, "").expect("a file");
    fs::create_dir(folder.path().join("model")).expect("a folder");
    let loaded = Recipe::load(&recipe).expect("a recipe");
    assert_eq!(loaded.init, Some(photo));
    assert_eq!(
        Path::new(&loaded.clip[0].model),
        folder.path().join("model")
    );
}

#[test]
fn a_path_from_the_home_folder_is_one() {
    let refused = refusal("prompts: [a]\ninit: ~/photo-that-is-not-there.png\n");
    let home = std::env::home_dir().expect("a home");
    let path = home.join("photo-that-is-not-there.png");
    let missing = diagnostic(refused).kind;
    assert!(
        matches!(&missing, DiagnosticKind::MissingFile { resolved, .. } if *resolved == path),
        "{missing:?}"
    );
}

#[test]
fn files_that_are_no_recipes_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let fault = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("a file");
        let found = diagnostic(Recipe::load(&path).unwrap_err());
        assert_eq!(found.location, Location::File, "{name}");
        found.kind
    };
    let text = fault("a.yaml", b"prompts: \xff");
    assert!(
        matches!(text, DiagnosticKind::NotText { byte: 9 }),
        "{text:?}"
    );
    // UTF-16 with and without a byte order mark
    for (bytes, at) in [(&b"\xff\xfep\0r\0"[..], 0), (&b"p\0r\0"[..], 1)] {
        let text = fault("a.yaml", bytes);
        assert!(text.to_string().contains("save it as UTF-8"), "{text}");
        assert!(matches!(text, DiagnosticKind::NotText { byte } if byte <= 3 && byte >= at));
    }
    let large = fault("b.yaml", &vec![b'#'; 10 << 20]);
    assert!(
        matches!(large, DiagnosticKind::TooLarge { most: 1_048_576 }),
        "{large:?}"
    );
    let mut png = std::io::Cursor::new(vec![]);
    image::RgbImage::new(1, 1)
        .write_to(&mut png, image::ImageFormat::Png)
        .expect("a picture");
    for (name, bytes, words) in [
        (
            "c.png",
            &png.get_ref()[..],
            "there is no recipe in this PNG",
        ),
        ("d.png", &png.get_ref()[..20], "cannot read this PNG"),
    ] {
        let DiagnosticKind::NoRecipe(why) = fault(name, bytes) else {
            panic!("{name}")
        };
        assert!(why.contains(words), "{why}");
    }
    let error = Recipe::load(folder.path()).unwrap_err();
    assert!(matches!(diagnostic(error).kind, DiagnosticKind::Folder));
    let error = Recipe::load(&folder.path().join("none.yaml")).unwrap_err();
    assert!(matches!(
        diagnostic(error).kind,
        DiagnosticKind::Unreadable(_)
    ));
}

fn set(assignments: &[&str]) -> Result<Recipe, String> {
    let text = "prompts: [a cat, { text: a dog }]\ncutouts: { augment: [flip] }\n";
    let mut partial = PartialRecipe::parse(text, "r.yaml", Path::new("")).expect("a recipe");
    for assignment in assignments {
        partial.set(assignment).map_err(|error| error.to_string())?;
    }
    partial.finish().map_err(|error| error.to_string())
}

#[test]
fn single_values_can_be_set() {
    let recipe = set(&[
        "prompts.0.weight=2",
        "prompts.1.text=a fox, red",
        "prompts.2=a bird",
        "size=[64, 32]",
        "generator.lr=1 - t",
        "clip.0.weight=3",
        "cutouts.augment.0.flip.p=0.25",
        "cutouts.augment.1=noise",
        "select=mix",
        "terms.mean=0.5",
        "terms.mean=",
    ])
    .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(recipe.prompts[0].text.as_deref(), Some("a cat"));
    assert_eq!(recipe.prompts[0].weight, Schedule::from(2.0));
    assert_eq!(recipe.prompts[1].text.as_deref(), Some("a fox, red"));
    assert_eq!(recipe.prompts[2], Prompt::new("a bird"));
    assert_eq!(recipe.size, [64, 32]);
    let pyramid = pyramid(&recipe);
    assert_eq!(pyramid.lr.at(0.25), 0.75);
    assert_eq!(recipe.clip[0].model, "embedded");
    assert_eq!(recipe.clip[0].weight, Schedule::from(3.0));
    assert_eq!(
        recipe.cutouts.augment[0],
        Augment::Flip(augment::flip::Config { p: 0.25 })
    );
    assert!(matches!(recipe.cutouts.augment[1], Augment::Noise(_)));
    assert_eq!(recipe.select, Select::Mix);
    assert_eq!(recipe.terms.mean, None);
}

#[test]
fn a_checked_recipe_can_be_changed() {
    let mut recipe = parse("prompts: a cat\n");
    recipe
        .set("generator.lr=0.5")
        .unwrap_or_else(|error| panic!("{error}"));
    let before = recipe.clone();
    assert!(recipe.set("steps=0").is_err());
    assert_eq!(recipe, before);
    recipe.steps = 0;
    let found = diagnostic(recipe.check().unwrap_err());
    assert_eq!(
        (found.location, found.path.as_str()),
        (Location::File, "steps")
    );
    assert!(matches!(found.kind, DiagnosticKind::Unexpected { .. }));
}

/// The schema's keys are those that a complete recipe is written with.
#[test]
fn the_schema_knows_the_keys() {
    let schema = Recipe::schema();
    let recipe = serde_json::to_value(parse("prompts: a cat\n")).expect("a value");
    let keys = |value: &Value| -> Vec<String> {
        let mut keys: Vec<_> = value.as_object().expect("a map").keys().cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(&schema["properties"]), keys(&recipe));
    let definitions = &schema["$defs"];
    let pyramid = &definitions["GeneratorConfig"]["oneOf"][0];
    assert_eq!(keys(&pyramid["properties"]), keys(&recipe["generator"]));
    for (name, section) in [
        ("Cutouts", "cutouts"),
        ("Terms", "terms"),
        ("Output", "output"),
    ] {
        assert_eq!(
            keys(&definitions[name]["properties"]),
            keys(&recipe[section]),
            "{name}"
        );
    }
    let last = definitions["Augment"]["oneOf"]
        .as_array()
        .and_then(|all| all.last());
    assert_eq!(
        last.expect("the bare words")["enum"]
            .as_array()
            .map(Vec::len),
        Some(6)
    );
}

#[test]
fn a_palette_is_a_number_or_colours() {
    let palette = |text: &str| {
        let recipe = parse(&format!(
            "prompts: a cat\ngenerator: {{ kind: pixels, palette: {text} }}\n"
        ));
        assert_eq!(parse(&recipe.to_yaml().expect("YAML")), recipe);
        recipe.generator.0[0].config.clone()
    };
    let expected = |palette| {
        GeneratorConfig::from(pixels::Config {
            palette: Some(palette),
            ..pixels::Config::default()
        })
    };
    assert_eq!(palette("8"), expected(Palette::Learned(8)));
    assert_eq!(
        palette("['#ff8000']"),
        expected(Palette::Fixed(vec![Color([255, 128, 0])]))
    );
}

#[test]
fn another_kind_of_generator_comes_with_its_defaults() {
    let text = "prompts: [a]\ngenerator: { kind: pyramid, lr: 0.3, sides: all }\n";
    let changed = |assignments: &[&str]| {
        let mut partial = PartialRecipe::parse(text, "r.yaml", Path::new("")).expect("a recipe");
        for assignment in assignments {
            partial.set(assignment).expect("a value");
        }
        partial.finish().map(|recipe| recipe.generator)
    };
    let fft = parse("prompts: [a]\ngenerator: fft\n").generator;
    assert_eq!(changed(&["generator.kind=fft"]).expect("a recipe"), fft);
    // a recipe that says nothing of its generator has the default one
    let mut partial =
        PartialRecipe::parse("prompts: [a]\n", "r.yaml", Path::new("")).expect("a recipe");
    partial.set("generator.kind=fft").expect("a value");
    assert_eq!(partial.finish().expect("a recipe").generator, fft);
    // the same kind again changes nothing
    let same = changed(&["generator.kind=pyramid"]).expect("a recipe");
    assert_eq!(same, parse(text).generator);
    // what the command line says stays
    let own = parse("prompts: [a]\ngenerator: { kind: fft, lr: 0.2 }\n").generator;
    assert_eq!(
        changed(&["generator.lr=0.2", "generator.kind=fft"]).expect("a recipe"),
        own
    );
    assert!(changed(&["generator.kind=ftf"]).is_err());
    // a stage keeps what is its own
    let mut partial = PartialRecipe::parse(
        "prompts: [a]\ngenerator: [pyramid, { kind: pyramid, lr: 0.3, steps: 7 }]\n",
        "r.yaml",
        Path::new(""),
    )
    .expect("a recipe");
    for assignment in ["generator.0.kind=fft", "generator.1.kind=fft"] {
        partial.set(assignment).expect("a value");
    }
    let stages = partial.finish().expect("a recipe").generator.0;
    assert_eq!(stages[0].config, fft.0[0].config);
    assert_eq!(
        (&stages[1].config, stages[1].steps),
        (&fft.0[0].config, Some(7))
    );
    let mut recipe = parse(text);
    recipe.set("generator.kind=fft").expect("a recipe");
    assert_eq!(recipe.generator, fft);
}

#[test]
fn a_value_may_be_set_to_null() {
    for nothing in ["null", "~", "", "  "] {
        let mut recipe = parse("prompts: [a]\nterms: { contrast: 0.2, mean: 0.5 }\n");
        recipe
            .set(&format!("terms.contrast={nothing}"))
            .expect("a recipe");
        assert_eq!(
            recipe.terms,
            parse("prompts: [a]\nterms: { mean: 0.5 }\n").terms
        );
    }
}

/// A run's folder holds the complete recipe, which is longer than what was written, and is to be read again.
#[test]
fn a_recipe_whose_complete_form_could_not_be_read_again_is_refused() {
    let long = |length: usize| format!("prompts: [\"{}\"]\n", "a".repeat(length));
    let told = refusal(&long((1 << 20) - 100)).to_string();
    assert!(told.contains("could not be read again"), "{told}");
    let recipe = parse(&long(900_000));
    assert_eq!(parse(&recipe.to_yaml().expect("YAML")), recipe);
}

#[test]
fn steps_that_no_stage_takes_are_told() {
    let told = |generator: &str| {
        let text = format!("prompts: [a]\ngenerator: {generator}\n");
        let mut partial = PartialRecipe::parse(&text, "r.yaml", Path::new("")).expect("a recipe");
        let silent = partial.finish().expect("a recipe");
        assert!(partial.warnings_about(&silent).is_empty(), "{generator}");
        partial.set("steps=5").expect("a setting");
        partial.warnings_about(&partial.finish().expect("a recipe"))
    };
    let all = "[{ kind: pyramid, steps: 3 }, { kind: fft, steps: 2 }]";
    let told_of_all = told(all).join("\n");
    assert!(told_of_all.contains("`generator.1.steps`"), "{told_of_all}");
    assert!(told("[{ kind: pyramid, steps: 3 }, fft]").is_empty());
    assert!(told("pyramid").is_empty());
}
