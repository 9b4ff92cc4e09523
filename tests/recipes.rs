//! Recipes: those of the repository load, and what is wrong with others is said in full.

use std::fs;
use std::path::Path;

use phantasia::recipe::{
    Augment, ClipOptions, Color, DiagnosticKind, GeneratorOptions, Location, Palette,
    PartialRecipe, PixelsOptions, Prompt, PyramidOptions, Recipe, Restart, Schedule, Select, Sides,
    StepOrPercent,
};
use serde_json::Value;

fn parse(text: &str) -> Recipe {
    Recipe::parse(text, "r.yaml", Path::new("")).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// The message about a recipe, without the file's name.
fn refused(text: &str) -> String {
    match Recipe::parse(text, "r.yaml", Path::new("")) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(error) => error.to_string().replace("r.yaml:", ""),
    }
}

/// The pyramid that a recipe paints with.
#[allow(irrefutable_let_patterns)]
fn pyramid(recipe: &Recipe) -> &PyramidOptions {
    let GeneratorOptions::Pyramid(pyramid) = &recipe.generator.0[0].options else {
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
            assert_eq!(parse(&recipe.to_yaml()), recipe, "{}", path.display());
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
    assert_eq!(recipe.clip, [ClipOptions::new("embedded")]);
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
        Some(Schedule::from(0.5))
    );
    assert_eq!((recipe.stage_steps(0), recipe.stage_steps(1)), (200, 7));
    assert_eq!(recipe.stage_size(1), [64, 32]);
    assert_eq!(parse(&recipe.to_yaml()), recipe);
}

#[test]
fn a_timeline_reads_back() {
    let recipe = parse(
        "prompts: a cat\ntimeline:\n  - { step: 3, prompts: a dog, fade: 2 }\n  - { step: 9, lr: 0.5, restart: image }\n",
    );
    assert_eq!(recipe.timeline[0].prompts, Some(vec![Prompt::new("a dog")]));
    assert_eq!(recipe.timeline[1].restart, Some(Restart::Image));
    assert_eq!(parse(&recipe.to_yaml()), recipe);
}

#[test]
fn numbers_may_be_expressions_of_t() {
    let recipe = parse("prompts: { text: a cat, weight: 1 - t^2, from: 10%, until: 150 }\n");
    let prompt = &recipe.prompts[0];
    assert_eq!(prompt.weight.at(0.5), 0.75);
    assert_eq!(prompt.from, Some(StepOrPercent::Share(0.1)));
    assert_eq!(prompt.until, Some(StepOrPercent::Steps(150)));
}

/// Each with its line, its column, what was expected and the nearest key.
#[test]
fn every_fault_is_said_with_its_place() {
    for (text, expected) in [
        // keys
        (
            "promts: a cat\n",
            "1:1: unknown key `promts`; did you mean `prompts`?",
        ),
        (
            "prompts: a cat\nbanana: 1\n",
            "2:1: unknown key `banana`; the keys here are prompts, size, steps, seed, generator, clip, cutouts, \
             distance, select, terms, mask, init, output, timeline",
        ),
        (
            "prompts:\n  - { txt: a cat }\n",
            "2:7: prompts.0: unknown key `txt`; did you mean `text`?",
        ),
        (
            "prompts: a cat\ngenerator: { lrr: 1, kind: pyramid }\n",
            "2:14: generator: unknown key `lrr`; did you mean `lr`?",
        ),
        (
            "prompts: a cat\ncutouts:\n  augment:\n    - affine: { degree: 10 }\n",
            "4:17: cutouts.augment.0.affine: unknown key `degree`; did you mean `degrees`?",
        ),
        (
            "prompts:\n  - a sign that says: stop\n",
            "2:5: prompts.0: unknown key `a sign that says`; the keys here are text, image, weight, stop, from, \
             until, fade (a text with `: ` in it needs quotes)",
        ),
        (
            "prompts: a cat\nsteps: 1\nsteps: 2\n",
            "3:1: the key `steps` is given twice, first at 2:1",
        ),
        ("steps: 10\n", "1:1: the key `prompts` is missing"),
        (
            "prompts: a cat\ngenerator: { lr: 1 }\n",
            "2:12: generator: the key `kind` is missing",
        ),
        // words
        (
            "prompts: a cat\ngenerator: { kind: pyramids }\n",
            "2:20: generator.kind: unknown value `pyramids`; did you mean `pyramid`?",
        ),
        (
            "prompts: a cat\ngenerator: { kind: gan }\n",
            "2:20: generator.kind: unknown value `gan`; the choices here are pyramid, diffusion, noise, vqgan, latent, cellular, pixels, fft",
        ),
        (
            "prompts: a cat\ncutouts: { augment: [flop] }\n",
            "2:22: cutouts.augment.0: unknown value `flop`; did you mean `flip`?",
        ),
        (
            "prompts: a cat\ncutouts: { augment: [{ flip: , affine: }] }\n",
            "2:22: cutouts.augment.0: expected one of flip, affine, perspective, jitter, erase, noise, found a map of 2 keys",
        ),
        (
            "prompts: a cat\nselect: any\n",
            "2:9: select: unknown value `any`; the choices here are all, mix, best, worst",
        ),
        // types
        (
            "prompts: a cat\nsteps: many\n",
            "2:8: steps: expected a whole number, 0 or more, found the text `many`",
        ),
        (
            "prompts: a cat\nsteps: 1.5\n",
            "2:8: steps: expected a whole number, 0 or more, found 1.5",
        ),
        (
            "prompts: a cat\nsteps:\n",
            "2:6: steps: expected a whole number, 0 or more, found nothing",
        ),
        (
            "prompts: a cat\nseed: -1\n",
            "2:7: seed: expected a whole number, 0 or more, found -1",
        ),
        (
            "prompts: a cat\nclip: [[embedded]]\n",
            "2:8: clip.0: expected a text or a map, found a list",
        ),
        (
            "prompts: a cat\nterms: [1]\n",
            "2:8: terms: expected a map of keys and values, found a list",
        ),
        (
            "prompts:\n",
            "1:8: prompts: expected a list of texts and maps, found nothing",
        ),
        (
            "prompts: [a cat, ~]\n",
            "1:18: prompts.1: expected a text or a map, found nothing",
        ),
        (
            "- a cat\n",
            "1:1: expected a map of keys and values, found a list",
        ),
        (
            "a cat\n",
            "1:1: expected a map of keys and values, found the text `a cat`",
        ),
        // numbers
        (
            "prompts: a cat\ngenerator: { kind: pyramid, decay: .nan }\n",
            "2:36: generator.decay: expected a finite number, found .nan",
        ),
        (
            "prompts: a cat\ngenerator: { kind: pyramid, lr: .inf }\n",
            "2:33: generator.lr: expected a finite number, found .inf",
        ),
        (
            "prompts: a cat\ngenerator: { kind: pyramid, lr: 1 / t }\n",
            "2:33: generator.lr: `1 / t` is not a number or an expression of t: it is infinite at t = 0",
        ),
        (
            "prompts: a cat\ngenerator: { kind: pyramid, lr: 0.1 - t }\n",
            "2:33: generator.lr: expected a number of 0 or more, found `0.1 - t`, which comes to -0.9",
        ),
        (
            "prompts: { text: a cat, weight: 2 x }\n",
            "1:33: prompts.weight: `2 x` is not a number or an expression of t: `x` at character 3 is one too many",
        ),
        (
            "prompts: a cat\ncutouts: { augment: [{ flip: { p: 1.5 } }] }\n",
            "2:35: cutouts.augment.0.flip.p: expected a number from 0 to 1, found 1.5",
        ),
        (
            "prompts: { text: a cat, from: 120% }\n",
            "1:31: prompts.from: expected a number of steps or a percentage from 0% to 100%, found the text `120%`",
        ),
        // sizes and counts
        (
            "prompts: a cat\nsize: [256, -1]\n",
            "2:13: size.1: expected a whole number, 0 or more, found -1",
        ),
        (
            "prompts: a cat\nsize: [256, 0]\n",
            "2:13: size.1: expected a whole number from 1 to 16384, found 0",
        ),
        (
            "prompts: a cat\nsize: 16384x16384\n",
            "2:7: size: expected at most 67108864 pixels, found 16384 x 16384 = 268435456",
        ),
        (
            "prompts: a cat\nsize: [256]\n",
            "2:7: size: expected width and height in pixels, such as [256, 256] or 256x256, found 1 entries",
        ),
        (
            "prompts: a cat\nsize: large\n",
            "2:7: size: expected width and height in pixels, such as [256, 256] or 256x256, found the text `large`",
        ),
        (
            "prompts: a cat\nsteps: 0\n",
            "2:8: steps: expected a whole number from 1 to 10000000, found 0",
        ),
        (
            "prompts: a cat\ngenerator: { kind: pyramid, layers: 0 }\n",
            "2:37: generator.layers: expected a whole number from 1 to 64, found 0",
        ),
        (
            "prompts: a cat\ngenerator: { kind: pyramid, sides: [1, 0] }\n",
            "2:40: generator.sides.1: expected a whole number from 1 to 16384, found 0",
        ),
        (
            "prompts: a cat\ncutouts: { count: 0 }\n",
            "2:19: cutouts.count: expected a number from 1 to 65536, found 0",
        ),
        // prompts
        (
            "prompts: []\n",
            "1:10: prompts: there is no prompt: say what the picture should show",
        ),
        ("prompts: ' '\n", "1:10: prompts.0.text: the text is empty"),
        (
            "prompts:\n  - { weight: 2 }\n",
            "2:5: prompts.0: a prompt needs a `text` or an `image`",
        ),
        (
            "prompts:\n  - { text: a, image: Cargo.toml }\n",
            "2:5: prompts.0: a prompt is a `text` or an `image`: make these two entries of `prompts`",
        ),
        (
            "prompts: [{ text: a, weight: 0 }, { text: b, weight: 0 }]\n",
            "1:10: prompts: all weights are 0, so that nothing is asked for: give one prompt another weight",
        ),
        (
            "prompts: [a, { text: b, weight: -1 }]\nselect: mix\n",
            "1:10: prompts: the weights sum to 0, so that `select: mix` has no mean to compare with: change a weight, \
             or take `select: all`",
        ),
        (
            "prompts: [{ text: a, from: 50%, until: 10 }]\n",
            "1:11: prompts.0: `until` is not after `from`, so that the prompt would never count",
        ),
        (
            "prompts: [{ text: a, from: 300 }]\n",
            "1:28: prompts.0.from: the render has 200 steps, so that the prompt would never count",
        ),
        // chains
        (
            "prompts: a cat\ngenerator: []\n",
            "2:12: generator: there is no generator: name at least one kind, such as `pyramid`",
        ),
        (
            "prompts: a cat\ngenerator: [pyramid, { kind: pyramid, steps: 0 }]\n",
            "2:46: generator.1.steps: expected a whole number from 1 to 10000000, found 0",
        ),
        (
            "prompts: a cat\ngenerator:\n  - { kind: pyramid, size: [0, 8] }\n",
            "3:29: generator.0.size.0: expected a whole number from 1 to 16384, found 0",
        ),
        (
            "prompts: a cat\ngenerator:\n  - pyramid\n  - { kind: pyramid, layerz: 3 }\n",
            "4:22: generator.1: unknown key `layerz`; did you mean `layers`?",
        ),
        // timelines
        (
            "prompts: a cat\ntimeline: [{ step: 9, lr: 2 }, { step: 8, lr: 1 }]\n",
            "2:40: timeline.1.step: it is before the edit above, which is at step 9: put edits in the order of their steps",
        ),
        (
            "prompts: a cat\ntimeline: [{ step: 9, lr: 0 }]\n",
            "2:27: timeline.0.lr: expected a number above 0, found 0",
        ),
        (
            "prompts: a cat\ntimeline: [{ step: 9, prompts: [] }]\n",
            "2:32: timeline.0.prompts: there is no prompt: say what the picture should show",
        ),
        // files
        (
            "prompts: a cat\ninit: photo.jpg\n",
            "2:7: init: there is no image `photo.jpg`",
        ),
        (
            "prompts: a cat\nmask: src\n",
            "2:7: mask: `src` is a folder, not an image",
        ),
        (
            "prompts: [{ image: a.png }]\n",
            "1:20: prompts.0.image: there is no image `a.png`",
        ),
        (
            "prompts: a cat\nclip: ./model\n",
            "2:7: clip.0.model: there is no model `./model`",
        ),
        // YAML
        (
            "",
            "1:1: the recipe is empty; `phantasia recipe new pyramid` prints one to start from",
        ),
        (
            "prompts: a\n---\nprompts: b\n",
            "2:1: a second document begins here; a recipe is one document",
        ),
        (
            "prompts: [!mine a]\n",
            "1:11: the tag `!mine` means nothing in a recipe; put quotes around a text that begins with `!`",
        ),
    ] {
        assert_eq!(refused(text), expected, "{text}");
    }
}

#[test]
fn a_positive_and_a_negative_weight_that_cancel_are_legal() {
    parse("prompts: [a cat, { text: a dog, weight: -1 }]\n");
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_lines() {
    let message = refused(
        "generator: { kind: pyramyd }\nprompts: a cat\nsteps: x\nsize: [1, y]\nclip: { weight: z }\n",
    );
    let places: Vec<_> = message
        .lines()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(places, ["1:20", "3:8", "4:11", "5:17"], "{message}");
}

#[test]
fn the_faults_are_typed() {
    let error = Recipe::parse("prompts: a\nsetps: 1\n", "r.yaml", Path::new("")).unwrap_err();
    let [problem] = &error.problems[..] else {
        panic!("{error}");
    };
    assert_eq!(problem.place, Location::Text { line: 2, column: 1 });
    assert!(matches!(&problem.fault, DiagnosticKind::UnknownKey { key, .. } if key == "setps"));
}

#[test]
fn paths_start_from_the_recipes_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = folder.path().join("r.yaml");
    fs::write(&recipe, "prompts: a cat\ninit: photo.png\nclip: model\n").expect("a file");
    let error = Recipe::load(&recipe).unwrap_err().to_string();
    let photo = folder.path().join("photo.png");
    assert!(
        error.ends_with(&format!("there is no image `{}`", photo.display())),
        "{error}"
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
fn files_that_are_no_recipes_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let load = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("a file");
        let error = Recipe::load(&path).unwrap_err().to_string();
        error
            .rsplit_once(name)
            .expect("the file's name")
            .1
            .to_owned()
    };
    assert_eq!(
        load("a.yaml", b"prompts: \xff"),
        ": is not UTF-8 text (byte 9); this is not a recipe"
    );
    assert_eq!(
        load("b.yaml", &vec![b'#'; 10 << 20]),
        ": is larger than 1048576 bytes; this is not a recipe"
    );
    let mut png = std::io::Cursor::new(vec![]);
    image::RgbImage::new(1, 1)
        .write_to(&mut png, image::ImageFormat::Png)
        .expect("a picture");
    assert!(load("c.png", png.get_ref()).contains("there is no recipe in this PNG"));
    assert!(load("d.png", &png.get_ref()[..20]).contains("cannot read this PNG"));
    let error = Recipe::load(folder.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("is a folder; a recipe is a .yaml file, or a .png that Phantasia wrote")
    );
    let error = Recipe::load(&folder.path().join("none.yaml"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("cannot read the recipe: "), "{error}");
}

fn set(assignments: &[&str]) -> Result<Recipe, String> {
    let text = "prompts: [a cat, { text: a dog }]\ncutouts: { augment: [flip] }\n";
    let mut draft = PartialRecipe::parse(text, "r.yaml", Path::new("")).expect("a draft");
    for assignment in assignments {
        draft.set(assignment).map_err(|error| error.to_string())?;
    }
    draft.finish().map_err(|error| error.to_string())
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
    assert_eq!(recipe.cutouts.augment[0], Augment::Flip { p: 0.25 });
    assert!(matches!(recipe.cutouts.augment[1], Augment::Noise { .. }));
    assert_eq!(recipe.select, Select::Mix);
    assert_eq!(recipe.terms.mean, None);
}

#[test]
fn setting_what_there_is_not_is_refused() {
    for (assignment, expected) in [
        (
            "generator.lrr=1",
            "--set generator.lrr=1: generator: unknown key `lrr`; did you mean `lr`?",
        ),
        (
            "stepz=1",
            "--set stepz=1: unknown key `stepz`; did you mean `steps`?",
        ),
        (
            "steps=x",
            "--set steps=x: steps: expected a whole number, 0 or more, found the text `x`",
        ),
        (
            "prompts.5.weight=1",
            "--set prompts.5.weight=1: `prompts` has 2 entries, counted from 0: there is no `5`",
        ),
        (
            "prompts.0.text.x=1",
            "--set prompts.0.text.x=1: `prompts.0.text` is a single value: there is no `x` in it",
        ),
        (
            "steps",
            "--set steps: expected path=value, such as generator.lr=0.1",
        ),
        (
            "=1",
            "--set =1: `` is not a path of keys and indices, such as prompts.0.weight",
        ),
        (
            "init=none.png",
            "--set init=none.png: init: there is no image `none.png`",
        ),
    ] {
        assert_eq!(set(&[assignment]).unwrap_err(), expected);
    }
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
    let error = recipe.check().unwrap_err().to_string();
    assert_eq!(
        error,
        "recipe: steps: expected a whole number from 1 to 10000000, found 0"
    );
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
    let pyramid = &definitions["GeneratorOptions"]["oneOf"][0];
    assert_eq!(keys(&pyramid["properties"]), keys(&recipe["generator"]));
    for (name, section) in [
        ("CutoutOptions", "cutouts"),
        ("TermOptions", "terms"),
        ("OutputOptions", "output"),
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
        assert_eq!(parse(&recipe.to_yaml()), recipe);
        recipe.generator.0[0].options.clone()
    };
    let expected = |palette| {
        GeneratorOptions::Pixels(PixelsOptions {
            palette: Some(palette),
            ..PixelsOptions::default()
        })
    };
    assert_eq!(palette("8"), expected(Palette::Learned(8)));
    assert_eq!(
        palette("['#ff8000']"),
        expected(Palette::Fixed(vec![Color([255, 128, 0])]))
    );
    for (text, message) in [
        ("0", "expected a whole number from 1 to 256, found 0"),
        ("[]", "there is no colour"),
        (
            "['#ff80']",
            "expected a colour such as \"#ff8800\", in quotes",
        ),
    ] {
        let error = refused(&format!(
            "prompts: a cat\ngenerator: {{ kind: pixels, palette: {text} }}\n"
        ));
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn texts_that_yaml_takes_for_something_else_come_with_advice() {
    for (line, words) in [
        (
            "  - @artist style",
            "put quotes around a text that begins with `@`",
        ),
        (
            "  - %50 grey",
            "put quotes around a text that begins with `%`",
        ),
        (
            "  - *wow a fox",
            "put quotes around a text that begins with `*`",
        ),
        (
            "  - `wow` a fox",
            "put quotes around a text that begins with",
        ),
        (
            "  - !wow a fox",
            "put quotes around a text that begins with `!`",
        ),
        (
            "  - 'a fox's tail'",
            "an apostrophe is written twice, 'a fox''s tail'",
        ),
        (
            "  - a fox: red: green",
            "put quotes around a text with `: ` in it",
        ),
        (
            "  - \"wow\" a fox",
            "put the whole text in the other kind of quotes",
        ),
        ("  - [a fox #1]\n  - b", "what follows ` #` is a comment"),
    ] {
        let error = refused(&format!("prompts:\n{line}\n"));
        assert!(error.starts_with("2:") || line.contains('\n'), "{error}");
        assert!(error.contains(words), "{error}");
    }
    let error = refused("prompts: [a]\ninit: \"C:\\Users\\me.png\"\n");
    assert!(
        error.contains("use single quotes, or write `\\\\`"),
        "{error}"
    );
}

#[test]
fn a_comment_after_a_prompt_is_reported() {
    let draft = |text: &str| {
        PartialRecipe::parse(text, "r.yaml", Path::new(""))
            .expect("a draft")
            .warnings()
    };
    let told = draft(
        "prompts:\n  - a fox #1 of the series\n  - text: a dog # old\n  - \"a cat\" # fine\n",
    );
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("r.yaml:2:5: the prompt is \"a fox\", and `#1 of the series`"),
        "{told:?}"
    );
    assert!(told[1].starts_with("r.yaml:3:11: "), "{told:?}");
    assert_eq!(draft("prompts: [a fox] # mine\nsteps: 3 # few\n"), [""; 0]);
    let told = draft("prompts:\n  - #1 fox\n");
    assert!(told[0].contains("begins with `#`"), "{told:?}");
    let told = draft("prompts:\n  - &friends a fox\n");
    assert!(told[0].contains("begins with `&`"), "{told:?}");
    assert_eq!(draft("prompts:\n  - &fox a fox\n  - *fox\n"), [""; 0]);
}

#[test]
fn whole_numbers_are_written_in_digits_and_their_limits_stated() {
    let error = refused("prompts: [a]\nsteps: 1e2\nseed: 3.0\n");
    assert_eq!(
        error,
        "2:8: steps: expected a whole number in digits, found `1e2`: write 100\n\
         3:7: seed: expected a whole number in digits, found `3.0`: write 3"
    );
    let error = refused("prompts: [a]\nsteps: 1e9\n");
    assert_eq!(
        error,
        "2:8: steps: expected a whole number from 1 to 10000000, found 1000000000"
    );
}

#[test]
fn a_path_from_the_home_folder_is_one() {
    let error = refused("prompts: [a]\ninit: ~/photo-that-is-not-there.png\n");
    let home = std::env::home_dir().expect("a home");
    let path = home.join("photo-that-is-not-there.png");
    assert!(
        error.contains(&format!("there is no image `{}`", path.display())),
        "{error}"
    );
}

#[test]
fn another_kind_of_generator_comes_with_its_defaults() {
    let text = "prompts: [a]\ngenerator: { kind: pyramid, lr: 0.3, sides: all }\n";
    let changed = |assignments: &[&str]| {
        let mut draft = PartialRecipe::parse(text, "r.yaml", Path::new("")).expect("a draft");
        for assignment in assignments {
            draft.set(assignment).expect("a value");
        }
        draft.finish().map(|recipe| recipe.generator)
    };
    let fft = parse("prompts: [a]\ngenerator: fft\n").generator;
    assert_eq!(changed(&["generator.kind=fft"]).expect("a recipe"), fft);
    // a recipe that says nothing of its generator has the default one
    let mut draft =
        PartialRecipe::parse("prompts: [a]\n", "r.yaml", Path::new("")).expect("a draft");
    draft.set("generator.kind=fft").expect("a value");
    assert_eq!(draft.finish().expect("a recipe").generator, fft);
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
    let mut draft = PartialRecipe::parse(
        "prompts: [a]\ngenerator: [pyramid, { kind: pyramid, lr: 0.3, steps: 7 }]\n",
        "r.yaml",
        Path::new(""),
    )
    .expect("a draft");
    for assignment in ["generator.0.kind=fft", "generator.1.kind=fft"] {
        draft.set(assignment).expect("a value");
    }
    let stages = draft.finish().expect("a recipe").generator.0;
    assert_eq!(stages[0].options, fft.0[0].options);
    assert_eq!(
        (&stages[1].options, stages[1].steps),
        (&fft.0[0].options, Some(7))
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
    let told = Recipe::parse(&long((1 << 20) - 100), "long.yaml", Path::new(""))
        .expect_err("too long")
        .to_string();
    assert!(told.contains("could not be read again"), "{told}");
    let recipe = Recipe::parse(&long(900_000), "long.yaml", Path::new("")).expect("a long recipe");
    Recipe::parse(&recipe.to_yaml(), "again.yaml", Path::new("")).expect("the same recipe");
}
