//! Texts as people type them: read by every command, named where they are not, and cleaned as each model's own library does it.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use image::{Rgb, RgbImage};
use phantasia::clip::{Clip, LongText, dot, unit};
use phantasia::recipe::{Edit, Prompt, Recipe, Schedule};
use phantasia::session::Session;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::fixture;
use crate::common::program::{assert_refused, json, run, text};

/// Words that the embedded vocabulary lacks in whole or in part.
const PROMPTS: [&str; 11] = [
    "a cat (cute)",
    "rock & roll",
    "50% grey",
    "a \"sign\" that says no",
    "black/white",
    "snake_case fox",
    "a café at night",
    "it’s — a “dream”…",
    "日本の山",
    "a cat 🐈",
    "it's a cat (cute), 50% grey",
];

fn fixtures() -> PathBuf {
    fixture("open-clip-text")
}

/// `a.png`, `b.png`, and `r.yaml`.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, colour) in [("a.png", [220, 20, 30]), ("b.png", [30, 40, 220])] {
        let picture = RgbImage::from_pixel(64, 64, Rgb(colour));
        picture.save(folder.path().join(name)).expect("a picture");
    }
    let recipe = "prompts: [\"a fox (red), 50% grey, black/white\"]\nsize: [32, 32]\nsteps: 2\ncutouts: { count: 1 }\n";
    fs::write(folder.path().join("r.yaml"), recipe).expect("a file");
    folder
}

/// Each prompt behind a flag.
fn each<'a>(flag: &'a str, prompts: &[&'a str]) -> Vec<&'a str> {
    prompts.iter().flat_map(|prompt| [flag, prompt]).collect()
}

fn cosines(report: &Value, prompt: &str) -> Vec<f64> {
    let results = report["results"].as_array().expect("results");
    (results.iter())
        .map(|result| result["similarity"][prompt].as_f64().expect("a cosine"))
        .collect()
}

#[test]
fn score_reads_any_prompt_and_names_what_it_leaves_out() {
    let folder = folder();
    let more = [&PROMPTS[..], &["a cat (cute)!", "a cat cute"]].concat();
    let args = [
        &["score", "--json", "--quiet"],
        &each("--prompt", &more)[..],
        &["a.png", "b.png"],
    ]
    .concat();
    let output = run(folder.path(), &args);
    let report = json(&output);
    let (signs, plain) = (
        cosines(&report, "a cat (cute)!"),
        cosines(&report, "a cat cute"),
    );
    for (signs, plain) in signs.iter().zip(plain) {
        assert!((signs - plain).abs() < 0.02, "{signs} {plain}");
    }
    let told = text(&output.stderr);
    for words in [
        "warning: `embedded` leaves out \"(\", \")\" in a prompt",
        "\"&\"",
        "\"%\"",
        "\"/\"",
        "\"_\"",
        "reads \"café\" as \"cafe\"",
        "reads \"日本の山\" as \"ri ben noshan\"",
        "reads \"🐈\" as \"cat\"",
    ] {
        assert!(told.contains(words), "{words}\n{told}");
    }
}

#[test]
fn classify_and_search_read_any_text() {
    let folder = folder();
    let labels = PROMPTS[..10].join(",");
    let args = [
        "classify", "--json", "--quiet", "--labels", &labels, "a.png",
    ];
    let report = json(&run(folder.path(), &args));
    assert_eq!(report["labels"], Value::from(PROMPTS[..10].to_vec()));
    let probabilities = report["results"][0]["probabilities"].as_object();
    let sum: f64 = (probabilities.expect("probabilities").values())
        .filter_map(Value::as_f64)
        .sum();
    assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    let args = ["search", "--json", "--quiet", "--query", "R&B café 🐈", "."];
    let output = run(folder.path(), &args);
    assert_eq!(json(&output)["pictures"], 2);
    assert!(text(&output.stderr).contains("\"&\""));
}

#[test]
fn a_render_reads_any_prompt_and_reports_each_loss_once() {
    let folder = folder();
    let args = [
        &["render", "r.yaml", "--quiet", "--json"],
        &each("--prompt", &PROMPTS)[..],
    ]
    .concat();
    let report = json(&run(folder.path(), &args));
    let read = report["similarity"].as_object().expect("cosines");
    assert_eq!(read.len(), PROMPTS.len());
    assert!(PROMPTS.iter().all(|prompt| read.contains_key(*prompt)));
    let output = run(
        folder.path(),
        &["render", "r.yaml", "--steps", "3", "--quiet"],
    );
    assert!(output.status.success());
    let told = text(&output.stderr);
    assert_eq!(told.matches("leaves out").count(), 1, "{told}");
}

#[test]
fn a_text_without_known_characters_is_refused() {
    let folder = folder();
    let message = "`embedded` can read nothing of \"(%)\"";
    fs::write(
        folder.path().join("nothing.yaml"),
        "prompts:\n  - a fox\n  - { text: \"(%)\", weight: 2 }\ntimeline:\n  - { step: 3, prompts: [\"&\"] }\n",
    )
    .expect("a file");
    let checked = run(folder.path(), &["recipe", "check", "nothing.yaml"]);
    assert_refused(
        &checked,
        2,
        &format!("nothing.yaml:3:13: prompts.1.text: {message}"),
    );
    assert_refused(
        &checked,
        2,
        "nothing.yaml:5:26: timeline.0.prompts.0.text: ",
    );
    let rendered = run(folder.path(), &["render", "r.yaml", "--prompt", "(%)"]);
    assert_refused(&rendered, 2, message);
    assert!(!folder.path().join("outputs").exists());
    assert_refused(
        &run(folder.path(), &["score", "--prompt", "(%)", "a.png"]),
        1,
        message,
    );
    assert_refused(
        &run(folder.path(), &["search", "--query", "(%)", "."]),
        1,
        message,
    );
}

#[test]
fn recipe_check_reads_the_prompts() {
    let folder = folder();
    let output = run(folder.path(), &["recipe", "check", "r.yaml"]);
    assert_eq!(text(&output.stdout), "r.yaml: ok\n");
    let told = text(&output.stderr);
    assert!(
        told.starts_with("warning: r.yaml:1:11: prompts.0.text: `embedded` leaves out \"(\", \"),\", \"%\", \"/\" in the prompt"),
        "{told}"
    );
}

#[test]
fn recipe_check_reads_the_prompts_with_the_recipes_own_clips() {
    let folder = folder();
    let long = "it dog ".repeat(60);
    let recipe = format!(
        "prompts: [\"{long}\"]\nclip: [{{ model: {:?} }}, {{ model: not/here }}]\n",
        fixtures().join("model")
    );
    fs::write(folder.path().join("long.yaml"), recipe).expect("a file");
    let output = run(folder.path(), &["recipe", "check", "long.yaml"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = text(&output.stderr);
    assert!(
        told.starts_with("warning: long.yaml:1:11: prompts.0.text: "),
        "{told}"
    );
    assert!(
        told.contains("does not read all of the prompt: it stops before \"it dog"),
        "{told}"
    );
}

#[test]
fn a_long_text_is_the_mean_of_its_parts_by_their_tokens() {
    let clip = Clip::from_folder("tiny", &fixtures().join("model"), &Device::Cpu).expect("a CLIP");
    let average = |text: &str| clip.embed_long_text(text, LongText::Average).expect(text);
    // 30 words of one token each fill a context, and 10 are left
    let (first, second) = ("it dog it ".repeat(10), "dog it dog dog it ".repeat(2));
    let [one, two] = [&first, &second].map(|text| clip.embed_text(text).expect(text));
    let whole = average(&format!("{first}{second}"));
    assert_eq!((one.unread.lost, whole.unread.lost), (None, None));
    let parts = one.vector.iter().zip(&two.vector);
    let expected = unit(parts.map(|(one, two)| 30.0 * one + 10.0 * two).collect());
    assert!(dot(&whole.vector, &expected) > 0.999_999);
    assert!(dot(&whole.vector, &one.vector) < 0.999);
    assert_eq!(average(&first).vector, one.vector);
}

#[test]
fn long_texts_are_averaged_where_a_recipe_or_a_command_says_so() {
    let folder = folder();
    let model = fixtures().join("model");
    let long = format!("{}red apple", "it dog ".repeat(60));
    let recipe = |how: &str| {
        format!(
            "prompts: [\"{long}\"]\nclip: [{{ model: {model:?}, long_text: {how} }}]\nsize: 32x32\nsteps: 1\n"
        )
    };
    let said = |args: &[&str]| {
        let output = run(folder.path(), args);
        (output.status.code(), text(&output.stderr))
    };
    for (how, warns) in [("truncate", true), ("average", false)] {
        fs::write(folder.path().join("long.yaml"), recipe(how)).expect("a file");
        for args in [
            &["recipe", "check", "long.yaml"][..],
            &["render", "long.yaml", "--quiet"],
        ] {
            let (code, said) = said(args);
            assert_eq!(code, Some(0), "{said}");
            assert_eq!(
                said.contains("does not read all of"),
                warns,
                "{how}: {said}"
            );
        }
    }
    let written = fs::read_to_string(folder.path().join("outputs/long-002/recipe.yaml"));
    assert!(written.expect("a recipe").contains("long_text: average"));
    let model = model.to_string_lossy();
    let score = |how: &str| {
        let args = [
            "score", "--clip", &model, "--prompt", &long, "--json", "--quiet",
        ];
        let output = run(
            folder.path(),
            &[&args[..], &["--long-text", how, "a.png"]].concat(),
        );
        let warns = text(&output.stderr).contains("does not read all of");
        (cosines(&json(&output), &long), warns)
    };
    let (cut, average) = (score("truncate"), score("average"));
    assert!(
        cut.1 && !average.1 && cut.0 != average.0,
        "{cut:?} {average:?}"
    );
    fs::write(folder.path().join("long.yaml"), recipe("mean")).expect("a file");
    assert_refused(
        &run(folder.path(), &["recipe", "check", "long.yaml"]),
        2,
        "long_text",
    );
    let args = ["score", "--prompt", "a", "--long-text", "mean", "a.png"];
    assert_refused(
        &run(folder.path(), &args),
        2,
        "expected truncate or average",
    );
}

#[test]
fn an_unreadable_edit_is_refused_and_losses_are_reported_once() {
    let mut recipe = Recipe::new(vec![Prompt::new("a fox")]);
    recipe.size = [32, 32];
    recipe.cutouts.count = Some(Schedule::from(1.0));
    let mut session = Session::new(&recipe, &Device::Cpu).expect("a session");
    let edit = |text: &str| Edit {
        prompts: Some(vec![Prompt::new(text)]),
        ..Edit::default()
    };
    let error = session.edit(edit("(%)")).expect_err("nothing is left");
    assert!(
        format!("{error:#}").contains("can read nothing of \"(%)\""),
        "{error:#}"
    );
    assert_eq!(session.prompts(), recipe.prompts);
    assert_eq!(
        (session.timeline(), session.take_warnings()),
        (vec![], vec![])
    );
    session.edit(edit("a café")).expect("an edit");
    session.tick().expect("a step");
    let told = session.take_warnings();
    assert!(
        told.len() == 1 && told[0].contains("\"café\" as \"cafe\""),
        "{told:?}"
    );
    for text in ["a fox", "a café"] {
        session.edit(edit(text)).expect("an edit");
        session.tick().expect("a step");
    }
    assert_eq!(session.take_warnings(), [""; 0]);
}

#[test]
fn texts_are_cleaned_as_open_clip_cleans_them() {
    let expected = fs::read(fixtures().join("model/expected.json")).expect("the fixture");
    let expected: Value = serde_json::from_slice(&expected).expect("JSON");
    let texts: Vec<&str> = (expected["texts"].as_array().expect("texts").iter())
        .map(|text| text.as_str().expect("a text"))
        .collect();
    let args = [
        &["score", "--clip", "model", "--json", "--quiet"],
        &each("--prompt", &texts)[..],
        &["pic0.png", "pic1.png", "pic2.png"],
    ]
    .concat();
    let report = json(&run(&fixtures(), &args));
    for (row, prompt) in texts.iter().enumerate() {
        for (column, found) in cosines(&report, prompt).into_iter().enumerate() {
            let wanted = expected["cosine"][row][column].as_f64().expect("a cosine");
            assert!(
                (found - wanted).abs() < 1e-3,
                "{prompt}: {found} for {wanted}"
            );
        }
    }
}

#[test]
fn a_weight_means_the_same_in_every_command() {
    let folder = folder();
    let args = [
        "render",
        "r.yaml",
        "--quiet",
        "--prompt",
        "a fox",
        "--prompt",
        "blurry :: -0.5",
    ];
    let output = run(folder.path(), &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let written =
        fs::read_to_string(folder.path().join("outputs/r-001/recipe.yaml")).expect("a recipe");
    let recipe = Recipe::parse(&written, "r", Path::new("")).expect("a recipe");
    let prompts: Vec<_> = (recipe.prompts.iter())
        .map(|prompt| {
            (
                prompt.text.as_deref().unwrap_or_default(),
                prompt.weight.constant(),
            )
        })
        .collect();
    assert_eq!(prompts, [("a fox", Some(1.0)), ("blurry", Some(-0.5))]);
    for args in [
        &["render", "r.yaml", "--prompt", "a cat::heavy"][..],
        &["live", "r.yaml", "--prompt", "a cat::heavy"],
        &["resume", "outputs/r-001", "--prompt", "a cat::heavy"],
        &["rerank", "--prompt", "a cat::heavy", "a.png"],
        &["score", "--prompt", "a cat::heavy", "a.png"],
    ] {
        let output = run(folder.path(), args);
        assert_refused(&output, 2, "`heavy` is not a weight");
        assert_refused(&output, 2, "`a cat::heavy::1`");
    }
}

#[test]
fn numbers_out_of_range_state_the_range() {
    let folder = folder();
    for (args, words) in [
        (
            &["render", "r.yaml", "--steps", "-3"][..],
            "expected a whole number from 0 to 10000000",
        ),
        (
            &["render", "r.yaml", "--steps", "1e9"],
            "expected a whole number from 0 to 10000000",
        ),
        (
            &["resume", "outputs/r-001", "--steps", "-3"],
            "expected a whole number from 0 to 10000000",
        ),
        (
            &["render", "r.yaml", "--seed", "-1"],
            "expected a whole number from 0",
        ),
        (
            &["rerank", "--prompt", "a", "--top", "-1", "a.png"],
            "expected a whole number from 1",
        ),
        (
            &["render", "r.yaml", "--set", "steps=1e9"],
            "a whole number from 1 to 10000000, found 1000000000",
        ),
        (
            &["render", "r.yaml", "--set", "steps=-3"],
            "expected a whole number, 0 or more, found -3",
        ),
    ] {
        assert_refused(&run(folder.path(), args), 2, words);
    }
}
