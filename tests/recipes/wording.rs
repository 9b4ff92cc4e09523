//! The wording of all messages about recipes and edits, with their places, in `tests/wording/*.snap`: one file shows what changed
//! when messages are rewritten. To accept a change, `INSTA_UPDATE=always cargo test wording`, and read the difference.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::mpsc::sync_channel;

use phantasia::live::{Command, read_commands};
use phantasia::recipe::{Location, PartialRecipe, Prompt, Recipe, RecipeError};

/// Compares with `tests/wording/NAME.snap`.
fn assert_wording(name: &str, told: &str) {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path("wording");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, told));
}

/// A line for each fault: its kind, and what is printed.
fn told(error: &RecipeError) -> String {
    let mut lines = String::new();
    for diagnostic in &error.diagnostics {
        let kind = format!("{:?}", diagnostic.kind);
        let kind = kind.split(|c: char| !c.is_alphanumeric()).next();
        writeln!(lines, "  => [{}] {diagnostic}", kind.unwrap_or_default()).expect("a line");
    }
    lines
}

/// Faulty recipes, divided by lines of `====`, each followed by what is said about it.
#[test]
fn recipes() {
    let mut all = String::new();
    for text in include_str!("wording/recipes.txt").split("====\n") {
        write!(all, "\n{text}").expect("a recipe");
        match PartialRecipe::parse(text, "r.yaml", Path::new("")) {
            Err(error) => all.push_str(&told(&error)),
            Ok(partial) => {
                for warning in partial.warnings() {
                    writeln!(all, "  => warning: {warning}").expect("a line");
                }
                match partial.finish() {
                    Ok(_) => all.push_str("  => accepted\n"),
                    Err(error) => all.push_str(&told(&error)),
                }
            }
        }
    }
    assert_wording("recipes", &all);
}

/// A recipe of each kind of generator, with a value for every key that may be left out.
const COMPLETE: [&str; 9] = [
    "{ kind: pyramid, sides: [4, 8] }",
    "{ kind: diffusion, model: src, skip: 1, clamp: 0.1, resolution: [64, 64], prompt: a, negative_prompt: b, vae: src, eta: 0.5, spacing: karras }",
    "{ kind: noise, model: src, resolution: [64, 64], prompt: a, negative_prompt: b, vae: src }",
    "{ kind: vqgan, model: src, start: codes, tile: 64 }",
    "{ kind: latent, model: src, tile: 64 }",
    "{ kind: gan, model: src, space: w, noise: fixed, classes: 3, class: [1] }",
    "{ kind: cellular }",
    "{ kind: pixels, palette: 4 }",
    "{ kind: fft }",
];
const REST: &str = "\
prompts: [{ text: a, stop: 0.5, from: 1, until: 90%, fade: 2, region: left }]
clip: [{ model: src, activation: gelu, precision: bf16, cutouts: { count: 2 } }]
cutouts: { count: 2, min: 0.5, augment: [flip, affine, perspective, jitter, erase, noise] }
terms: { mean: 0.5, contrast: 0.5, aesthetic: { weight: 1, cutouts: { count: 1 } } }
output: { video: gif }
timeline: [{ step: 1, prompts: [b], fade: 1, terms: { mean: 0.5 }, lr: 0.5, steps: 20, restart: image, stop: true }]
";
const FIRST: &str = "seamless: true\nsymmetry: { mirror: both, rotate: 2 }\n";
/// What each value of a complete recipe is replaced by in turn.
const VALUES: [&str; 10] = [
    "-1", "0", "0.5", "3", "1e9", ".inf", "wrod", "[]", "{ a: 1 }", "null",
];

/// The path and the value of each leaf.
fn leaves(value: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    let under = |key: &str| match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    };
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                leaves(value, &under(key), found);
            }
        }
        serde_json::Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                leaves(item, &under(&index.to_string()), found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

/// For every key of every section, which values it refuses, and in which words.
#[test]
fn values() {
    let mut all = String::new();
    for (index, generator) in COMPLETE.iter().enumerate() {
        // not all kinds paint symmetric pictures
        let first = if index == 0 { FIRST } else { "" };
        let text = format!("{REST}{first}generator: {generator}\n");
        let partial = PartialRecipe::parse(&text, "r.yaml", Path::new("")).expect("a recipe");
        let recipe = partial.finish().unwrap_or_else(|error| panic!("{error}"));
        let mut paths = vec![];
        let json = serde_json::to_value(&recipe).expect("a value");
        leaves(&json, "", &mut paths);
        writeln!(all, "# {generator}").expect("a line");
        // the other sections are the same for all generators
        paths.retain(|path| index == 0 || path.starts_with("generator."));
        for path in paths {
            for value in VALUES {
                let flag = format!("{path}={value}");
                let mut partial =
                    PartialRecipe::parse(&text, "r.yaml", Path::new("")).expect("a recipe");
                let refused = partial
                    .set(&flag)
                    .and_then(|()| partial.finish().map(drop))
                    .err();
                for diagnostic in refused.iter().flat_map(|error| &error.diagnostics) {
                    let message = &diagnostic.kind;
                    match &diagnostic.location {
                        Location::Flag(_) if diagnostic.path == path => {
                            writeln!(all, "{flag}: {message}").expect("a line");
                        }
                        Location::Flag(_) => {
                            writeln!(all, "{flag}: {}: {message}", diagnostic.path)
                                .expect("a line");
                        }
                        _ => writeln!(all, "{flag}: {diagnostic}").expect("a line"),
                    }
                }
            }
        }
    }
    assert_wording("values", &all);
}

/// Lines of `--control`, each followed by what is said: by the reader of lines, or by the check of the edit.
#[test]
fn edits() {
    let mut all = String::new();
    for line in include_str!("wording/edits.txt").lines() {
        let (sender, receiver) = sync_channel(64);
        let mut said = vec![];
        read_commands(line.as_bytes(), &sender, |line| said.push(line.to_owned()));
        drop(sender);
        let recipe = Recipe::new(vec![Prompt::new("a cat")]);
        let accepted: Vec<_> = receiver.iter().collect();
        assert!(said.is_empty() != accepted.is_empty(), "{line}");
        for command in accepted {
            if let Command::Edit(edit) = command.plain()
                && let Err(error) = recipe.check_edit(edit.clone())
            {
                said.push(error.to_string());
            }
        }
        let outcome = said.pop().unwrap_or_else(|| "accepted".to_owned());
        writeln!(all, "\n{line}\n  => {outcome}").expect("a line");
    }
    assert_wording("edits", &all);
}

/// `--set` with paths that lead nowhere, and values that are no YAML.
#[test]
fn assignments() {
    let mut all = String::new();
    for line in include_str!("wording/assignments.txt").lines() {
        let text = "prompts: [a cat, { text: a dog }]\ncutouts: { augment: [flip] }\n";
        let mut partial = PartialRecipe::parse(text, "r.yaml", Path::new("")).expect("a recipe");
        let refused = partial.set(line).and_then(|()| partial.finish().map(drop));
        let outcome = refused.map_or_else(|error| told(&error), |()| "  => accepted\n".to_owned());
        write!(all, "\n{line}\n{outcome}").expect("a line");
    }
    assert_wording("assignments", &all);
}
