//! `compare`: what is refused, what it paints and counts, and going on after a stop.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use candle_core::Device;
use image::{Rgb, RgbImage};
use phantasia::judge::comparison::{Comparison, ComparisonOptions, Entry, RECORD, Record, SHEET};
use phantasia::recipe::Recipe;
use phantasia::session::SessionOptions;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::bytes;
use crate::common::program::{assert_refused, json, run, text};

const SMALL: &str = "size: [32, 24]\nsteps: 4\ncutouts: { count: 1 }\nclip: [embedded/transformer]\n\
     output: { checkpoint: 2 }\n";

/// `one.yaml` and `two.yaml`, which paint a red ball, and `prompts.txt` with two other prompts.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text);
    let recipe = |more: &str| format!("prompts: [a red ball]\n{SMALL}{more}");
    for (name, text) in [
        ("one.yaml", recipe("seed: 5\n").as_str()),
        ("two.yaml", recipe("generator: pixels\n").as_str()),
        ("prompts.txt", "# two\r\na blue sky\r\n\r\na green leaf\r\n"),
    ] {
        write(name, text).expect("a file");
    }
    folder
}

fn compare(folder: &TempDir, args: &[&str]) -> std::process::Output {
    let all = [&["compare"], args, &["--device", "cpu", "--quiet"]].concat();
    run(folder.path(), &all)
}

const JUDGED: [&str; 4] = ["one.yaml", "two.yaml", "--judge", "embedded/resnet"];

/// Without what differs from one time to the next.
fn timeless(mut record: Value) -> Value {
    for picture in record["pictures"].as_array_mut().expect("pictures") {
        picture["cost"]["seconds"] = 0.into();
    }
    record
}

fn record(folder: &Path) -> Value {
    timeless(serde_json::from_slice(&bytes(&folder.join(RECORD))).expect("a record"))
}

#[test]
fn a_battery_is_painted_by_every_recipe_and_judged() {
    let folder = folder();
    let battery = ["--prompts", "prompts.txt", "--seeds", "1,3", "--json"];
    let report = json(&compare(&folder, &[&JUDGED[..], &battery].concat()));
    assert_eq!(report["finished"], true);
    assert_eq!(report["noise_floor"], 0.004);
    let pictures = report["pictures"].as_array().expect("pictures");
    let row = |picture: &Value| {
        let text = |key: &str| picture[key].as_str().expect("a text").to_owned();
        let seed = picture["seed"].as_u64().expect("a seed");
        (text("prompt"), seed, text("recipe"))
    };
    let of = |prompt: &str, seed, recipe: &str| (prompt.to_owned(), seed, recipe.to_owned());
    assert_eq!(
        pictures.iter().map(row).collect::<Vec<_>>(),
        [
            of("a blue sky", 1, "one"),
            of("a blue sky", 1, "two"),
            of("a blue sky", 3, "one"),
            of("a blue sky", 3, "two"),
            of("a green leaf", 1, "one"),
            of("a green leaf", 1, "two"),
            of("a green leaf", 3, "one"),
            of("a green leaf", 3, "two"),
        ]
    );
    let score = |index: usize| pictures[index]["score"].as_f64().expect("a score");
    let [one, two] = report["recipes"].as_array().expect("recipes").as_slice() else {
        panic!("{report}");
    };
    let mean = [0, 2, 4, 6].map(score).iter().sum::<f64>() / 4.0;
    assert!((one["score"].as_f64().expect("a score") - mean).abs() < 1e-12);
    assert_eq!(one["cutouts"], 4.0);
    assert!(one["wins"].is_null() && one["spread"].is_f64());
    let count = |key: &str| two[key].as_u64().expect("a number");
    assert_eq!(count("wins") + count("losses") + count("draws"), 4);
    assert_eq!(two["judges"][0]["judge"], "embedded/resnet");
    assert_eq!(two["judges"][0]["score"], two["score"]);
    // a picture's recipe paints it again
    let picture = pictures[2]["picture"].as_str().expect("a picture");
    assert!(
        picture.ends_with("pictures/one/a-blue-sky-seed-3.png"),
        "{picture}"
    );
    let again = json(&run(
        folder.path(),
        &["render", picture, "--device", "cpu", "--json"],
    ));
    let again = again["image"].as_str().expect("a picture");
    assert!(bytes(&folder.path().join(picture)) == bytes(&folder.path().join(again)));
    // nothing but the results is left
    let out = folder.path().join("outputs/compare-001");
    let mut names: Vec<String> = (fs::read_dir(&out).expect("a folder"))
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    assert_eq!(names, [RECORD, "pictures", SHEET]);
    // whole pictures are not painted again
    let out = "outputs/compare-001";
    let resumed = json(&run(
        folder.path(),
        &["resume", out, "--device", "cpu", "--json"],
    ));
    assert_eq!(resumed["pictures"], report["pictures"]);
}

#[test]
fn recipes_may_paint_their_own_prompt_with_their_own_seed() {
    let folder = folder();
    let output = compare(
        &folder,
        &[&JUDGED[..], &["--steps", "1", "--json"]].concat(),
    );
    let report = json(&output);
    assert_eq!(report["prompts"], serde_json::json!(["a red ball"]));
    assert!(report["seeds"].is_null());
    let seeds = report["pictures"].as_array().expect("pictures").iter();
    let seeds: Vec<u64> = seeds
        .map(|one| one["seed"].as_u64().expect("a seed"))
        .collect();
    assert_eq!(seeds, [5, 0]);
    // the table says the same
    let output = compare(&folder, &[&JUDGED[..], &["--steps", "1"]].concat());
    let table = text(&output.stdout);
    assert!(
        table.starts_with("# recipe") && table.contains("\ntwo "),
        "{table}"
    );
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let folder = folder();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
    write(
        "other.yaml",
        "prompts: a blue ball\nclip: [embedded/transformer]\n",
    );
    write("whole.yaml", "prompts: a red ball\n");
    let look = image::RgbImage::new(8, 8);
    (look.save(folder.path().join("look.png"))).expect("a picture");
    write(
        "style.yaml",
        "prompts: a red ball\nclip: [embedded/transformer]\nterms: { style: look.png }\n",
    );
    write(
        "place.yaml",
        "prompts: 'an oil painting of {prompt}'\nclip: [embedded/transformer]\n",
    );
    write(
        "negative.yaml",
        "prompts: [{ text: blurry, weight: -1 }]\nclip: [embedded/transformer]\n",
    );
    write("empty.txt", "# nothing\n");
    write("unread.txt", "\u{263a}\n");
    for (args, message) in [
        (
            &["one.yaml", "--judge", "embedded/resnet"][..],
            "at least two recipes",
        ),
        (&["one.yaml", "two.yaml"], "--judge"),
        (
            &["one.yaml", "two.yaml", "--judge", "embedded/transformer"],
            "guiding one.yaml (`clip.0.model: embedded/transformer`) and would",
        ),
        (
            &["one.yaml", "whole.yaml", "--judge", "embedded/resnet"],
            "guiding whole.yaml (`clip.0.model: embedded`) and would",
        ),
        (
            &["one.yaml", "style.yaml", "--judge", "embedded/resnet"],
            "let `terms.style.model` be `embedded/transformer`",
        ),
        (
            &[
                "one.yaml",
                "two.yaml",
                "--judge",
                "embedded/resnet",
                "--judge",
                "embedded",
            ],
            "one model",
        ),
        (
            &["one.yaml", "other.yaml", "--judge", "embedded/resnet"],
            "\"a red ball\" and \"a blue ball\"",
        ),
        (
            &["one.yaml", "place.yaml", "--judge", "embedded/resnet"],
            "`{prompt}`",
        ),
        (
            &[&JUDGED[..], &["--activation", "gelu"]].concat(),
            "nonlinearity",
        ),
        (
            &[&JUDGED[..], &["--seeds", "3..1"]].concat(),
            "smaller number comes first",
        ),
        (
            &[&JUDGED[..], &["--seeds", "1..2,2"]].concat(),
            "seed 2 is given twice",
        ),
        (
            &[&JUDGED[..], &["--prompts", "empty.txt"]].concat(),
            "there is no prompt",
        ),
        (
            &[&JUDGED[..], &["--prompts", "."]].concat(),
            "cannot read the prompts",
        ),
        (
            &[&JUDGED[..], &["--prompts", "unread.txt"]].concat(),
            "can read nothing",
        ),
        (
            &[&JUDGED[..], &["--set", "clip.0.model=embedded/none"]].concat(),
            "`embedded/resnet`",
        ),
        (
            &["one.yaml", "none.yaml", "--judge", "embedded/resnet"],
            "none.yaml",
        ),
    ] {
        assert_refused(&compare(&folder, args), 2, message);
    }
    let battery = ["--prompts", "prompts.txt", "--judge", "embedded/resnet"];
    let output = compare(
        &folder,
        &[&["one.yaml", "negative.yaml"], &battery[..]].concat(),
    );
    assert_refused(
        &output,
        2,
        "negative.yaml: it has no text of positive weight",
    );
    assert!(!folder.path().join("outputs").exists());
}

/// The other pictures are painted, and `resume` tries the failed ones again.
#[test]
fn a_render_that_fails_is_listed() {
    let folder = folder();
    let broken = format!("prompts: [a red ball]\n{SMALL}terms: {{ total_variation: 1.0e300 }}\n");
    fs::write(folder.path().join("two.yaml"), broken).expect("a file");
    let output = compare(&folder, &[&JUDGED[..], &["--json"]].concat());
    assert_refused(&output, 1, "failed: two, \"a red ball\", seed 0:");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["recipes"][0]["pictures"], 1);
    assert_eq!(report["recipes"][1]["failed"], 1);
    assert_eq!(report["recipes"][1]["draws"], 0);
    assert!(report["pictures"][1]["score"].is_null());
    let out = folder.path().join("outputs/compare-001");
    assert!(out.join(SHEET).is_file());
    let before = record(&out);
    let args = [
        "resume",
        out.to_str().expect("a path"),
        "--device",
        "cpu",
        "--quiet",
    ];
    assert_refused(&run(folder.path(), &args), 1, "failed: two");
    let (run_before, run_now) = (
        &before["pictures"][1]["run"],
        &record(&out)["pictures"][1]["run"],
    );
    assert!(run_before.is_string() && run_now.is_string());
}

fn begin(out: &TempDir, session: &SessionOptions) -> Comparison {
    let entry = |name: &str| {
        let path = out.path().join(name);
        let recipe = Recipe::load(&path).expect("a recipe");
        Entry { path, recipe }
    };
    let options = ComparisonOptions {
        prompts: vec!["a blue sky".to_owned()],
        seeds: vec![1, 2],
        judges: vec!["embedded/resnet".to_owned()],
        activation: None,
    };
    let entries = [entry("one.yaml"), entry("two.yaml")];
    let session = session.clone();
    Comparison::new(out.path(), &entries, &options, session, &Device::Cpu).expect("a comparison")
}

fn resume(path: &Path, session: &SessionOptions) -> Result<Comparison> {
    Comparison::resume(path, session.clone(), &Device::Cpu)
}

/// Runs so many steps, or to the end. Whether it came there, and how many steps were made.
fn steps(comparison: &mut Comparison, most: usize) -> (bool, usize) {
    let stop = AtomicBool::new(most == 0);
    let mut made = 0;
    let is_over = comparison.run(&stop, |done, total| {
        made += 1;
        assert!(done <= total && total == 16, "{done} of {total}");
        stop.store(made >= most, Ordering::Relaxed);
    });
    (is_over.expect("a part"), made)
}

#[test]
fn a_comparison_that_is_stopped_anywhere_ends_as_if_it_was_not() {
    let (out, session) = (folder(), SessionOptions::default());
    let mut whole = begin(&out, &session);
    assert_eq!(steps(&mut whole, usize::MAX), (true, 16));
    let mut other = begin(&out, &session);
    let path = other.folder().to_owned();
    let mut made = steps(&mut other, 0).1;
    for part in 0.. {
        // a folder in use is locked
        drop(other);
        other = resume(&path, &session).expect("the comparison");
        let (is_over, more) = steps(&mut other, 3);
        made += more;
        if is_over {
            break;
        }
        if part == 1 {
            // as if the program was killed: the checkpoint is of another step than the record
            let text = String::from_utf8(bytes(&path.join(RECORD))).expect("a text");
            let killed = text.replace("\"steps\": 2", "\"steps\": 1");
            assert_ne!(text, killed);
            fs::write(path.join(RECORD), killed).expect("a file");
        }
    }
    // only the picture of which too little was known was begun again
    assert_eq!(made, 18);
    assert_eq!(record(whole.folder()), record(&path));
    for picture in &whole.record().pictures {
        let [a, b] = [whole.folder(), &path].map(|folder| bytes(&folder.join(&picture.file)));
        assert!(a == b, "{}", picture.file);
    }
    let [a, b] = [whole.folder(), &path].map(|folder| bytes(&folder.join(SHEET)));
    assert!(a == b, "the sheets differ");
}

#[test]
fn a_comparison_goes_on_with_the_recipes_that_it_began_with() {
    let (out, session) = (folder(), SessionOptions::default());
    let path = begin(&out, &session).folder().to_owned();
    let recipe = path.join("pictures/two/recipe.yaml");
    let text = fs::read_to_string(&recipe).expect("a recipe");
    fs::write(&recipe, text.replace("steps: 4", "steps: 9")).expect("a file");
    let error = format!(
        "{:#}",
        resume(&path, &session).err().expect("another recipe")
    );
    assert!(error.contains("steps: it is 9 here, and was 4"), "{error}");
    fs::write(&recipe, text).expect("a file");
    // flags of single renders have no effect on it
    let path = path.to_str().expect("a path");
    let output = run(out.path(), &["resume", path, "--steps", "9"]);
    assert_refused(&output, 2, "a comparison resumes as it began");
}

#[test]
fn a_lost_record_is_told() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("lost/pictures")).expect("a folder");
    let output = run(folder.path(), &["resume", "lost"]);
    assert_refused(&output, 1, "its record, comparison.json, is missing");
}

#[test]
fn a_damaged_record_is_told() {
    let (out, session) = (folder(), SessionOptions::default());
    let path = begin(&out, &session).folder().to_owned();
    let whole = fs::read_to_string(path.join(RECORD)).expect("a record");
    for damaged in ["", "{}", &whole.replace("one/a-blue", "../../a-blue")] {
        fs::write(path.join(RECORD), damaged).expect("a file");
        let error = resume(&path, &session).err().expect("damage");
        assert!(format!("{error:#}").contains("damaged"), "{error:#}");
        assert!(Record::load(&path).is_err());
    }
}

/// A comparison holds the images that its recipes start from.
#[test]
fn a_picture_finds_its_inputs() {
    let folder = folder();
    let start = folder.path().join("start.png");
    RgbImage::from_pixel(8, 8, Rgb([200, 30, 30]))
        .save(&start)
        .expect("a picture");
    let recipe = format!("prompts: ['a photo of {{prompt}}']\ninit: start.png\n{SMALL}");
    fs::create_dir(folder.path().join("other")).expect("a folder");
    fs::copy(&start, folder.path().join("other/start.png")).expect("a copy");
    for name in ["one.yaml", "other/one.yaml"] {
        fs::write(folder.path().join(name), &recipe).expect("a file");
    }
    let args = [
        "one.yaml",
        "other/one.yaml",
        "--prompts",
        "prompts.txt",
        "--steps",
        "1",
        "--judge",
        "embedded/resnet",
    ];
    let output = compare(&folder, &args);
    assert!(
        text(&output.stderr).contains("one-2 is other/one.yaml"),
        "{}",
        text(&output.stderr)
    );
    for path in [start, folder.path().join("other/start.png")] {
        fs::remove_file(path).expect("a file");
    }
    let picture = folder
        .path()
        .join("outputs/compare-001/pictures/one-2/a-green-leaf-seed-0.png");
    let recipe = Recipe::load(&picture).expect("a recipe that finds its images");
    assert_eq!(
        recipe.prompts[0].text.as_deref(),
        Some("a photo of a green leaf")
    );
}
