//! `rerank`, `score`, `classify` and `search` as scripts see them.

use std::fs;

use image::{Rgb, RgbImage};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::fixture;
use crate::common::program::{assert_refused, json, run, text};

const RED: [u8; 3] = [220, 20, 30];
const BLUE: [u8; 3] = [30, 40, 220];
const GREEN: [u8; 3] = [20, 160, 40];

fn disc(colour: [u8; 3]) -> RgbImage {
    RgbImage::from_fn(64, 64, |x, y| {
        let (x, y) = (x as i32 - 32, y as i32 - 32);
        Rgb(if x * x + y * y < 400 {
            colour
        } else {
            [245; 3]
        })
    })
}

/// `red/1.png`, `blue/1.png`, `green/1.png`: discs; `red/copy.png`, and `broken.png`.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, colour) in [("red", RED), ("blue", BLUE), ("green", GREEN)] {
        let inside = folder.path().join("pictures").join(name);
        fs::create_dir_all(&inside).expect("a folder");
        disc(colour).save(inside.join("1.png")).expect("a picture");
    }
    let red = folder.path().join("pictures/red");
    fs::copy(red.join("1.png"), red.join("copy.png")).expect("a copy");
    fs::write(folder.path().join("pictures/broken.png"), "no picture").expect("a file");
    folder
}

fn paths(report: &Value) -> Vec<&str> {
    let results = report["results"].as_array().expect("results");
    results
        .iter()
        .map(|result| result["path"].as_str().expect("a path"))
        .collect()
}

#[test]
fn rerank_prints_the_best_first_with_the_cosine_to_each_prompt() {
    let folder = folder();
    let args = [
        "rerank",
        "--prompt",
        "a red circle",
        "--prompt",
        "blue::-0.5",
        "--json",
        "--quiet",
        "pictures",
    ];
    let report = json(&run(folder.path(), &args));
    assert_eq!(
        report["prompts"],
        serde_json::json!(["a red circle", "blue"])
    );
    assert_eq!(report["weights"], serde_json::json!([1.0, -0.5]));
    assert_eq!(paths(&report).len(), 3);
    let best = &report["results"][0];
    assert_eq!(best["path"], "pictures/red/1.png");
    assert_eq!(
        best["duplicates"],
        serde_json::json!(["pictures/red/copy.png"])
    );
    let cosine = |prompt: &str| best["similarity"][prompt].as_f64().expect("a cosine");
    let score = (cosine("a red circle") - 0.5 * cosine("blue")) / 1.5;
    assert!((best["score"].as_f64().expect("a score") - score).abs() < 1e-9);
    assert_eq!(report["skipped"][0]["path"], "pictures/broken.png");
}

#[test]
fn score_tells_every_file_in_its_order() {
    let folder = folder();
    let args = [
        "score",
        "--prompt",
        "a red circle",
        "--json",
        "--quiet",
        "pictures/red",
        "pictures/blue/1.png",
    ];
    let report = json(&run(folder.path(), &args));
    assert_eq!(
        paths(&report),
        [
            "pictures/red/1.png",
            "pictures/red/copy.png",
            "pictures/blue/1.png"
        ]
    );
    let scores: Vec<_> = (0..3)
        .map(|place| report["results"][place]["score"].clone())
        .collect();
    assert_eq!(scores[0], scores[1]);
    assert_ne!(scores[0], scores[2]);
}

#[test]
fn a_picture_can_be_the_prompt() {
    let folder = folder();
    let args = [
        "rerank",
        "--image-prompt",
        "pictures/green/1.png",
        "--top",
        "1",
        "--json",
        "--quiet",
        "pictures",
    ];
    let report = json(&run(folder.path(), &args));
    assert_eq!(paths(&report), ["pictures/green/1.png"]);
    assert!(report["results"][0]["score"].as_f64().expect("a score") > 0.9999);
}

#[test]
fn the_table_and_the_sheet_show_the_ranking() {
    let folder = folder();
    let args = [
        "rerank",
        "--prompt",
        "a red circle",
        "--sheet",
        "sheet.png",
        "--quiet",
        "pictures",
    ];
    let output = run(folder.path(), &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{stdout}");
    assert!(lines[0].starts_with("# rank"), "{stdout}");
    assert!(lines[1].trim_start().starts_with("1  "), "{stdout}");
    assert!(stdout.contains("(and 1 of the same content)"), "{stdout}");
    // the discs stand side by side, the best one on the left
    let sheet = (image::open(folder.path().join("sheet.png")).expect("a sheet")).into_rgb8();
    let column = |colour: [u8; 3]| {
        let found = sheet
            .enumerate_pixels()
            .find(|(.., pixel)| pixel.0 == colour);
        found.expect("a disc of that colour").0
    };
    assert!(column(RED) < column(BLUE) && column(RED) < column(GREEN));
}

#[test]
fn several_clips_are_averaged_by_rank() {
    let folder = folder();
    let model = fixture("clip-hf-quick");
    let model = model.to_str().expect("a path");
    let args = [
        "rerank",
        "--prompt",
        "a cat",
        "--clip",
        "embedded",
        "--clip",
        model,
        "--combine",
        "rank",
        "--json",
        "--quiet",
        "pictures",
    ];
    let report = json(&run(folder.path(), &args));
    assert_eq!(report["combine"], "rank");
    let clips = report["results"][0]["clips"]
        .as_object()
        .expect("each CLIP's score");
    assert!(clips.contains_key("embedded") && clips.contains_key(model));
    let sum: f64 = (0..3)
        .map(|place| report["results"][place]["score"].as_f64().expect("a score"))
        .sum();
    assert!((sum - 1.5).abs() < 1e-9, "{sum}");
}

#[test]
fn it_fails_where_nothing_can_be_read() {
    let folder = folder();
    fs::create_dir(folder.path().join("empty")).expect("a folder");
    for (path, message) in [
        ("empty", "there are no pictures in empty"),
        ("pictures/broken.png", "none of the pictures could be read"),
        ("nowhere.png", "skipped nowhere.png"),
    ] {
        for command in [
            &["rerank", "--prompt", "a"][..],
            &["score", "--prompt", "a"],
            &["classify", "--labels", "a,b"],
        ] {
            assert_refused(
                &run(folder.path(), &[command, &[path]].concat()),
                1,
                message,
            );
        }
    }
    assert_refused(
        &run(folder.path(), &["search", "--query", "a", "empty"]),
        1,
        "there are no pictures",
    );
}

#[test]
fn bad_usage_of_a_judge_exits_with_2() {
    let folder = folder();
    for args in [
        &["rerank", "pictures"][..],
        &["rerank", "--prompt", "a"],
        &["rerank", "--prompt", "", "pictures"],
        &["rerank", "--prompt", "a", "--top", "0", "pictures"],
        &[
            "rerank",
            "--prompt",
            "a",
            "--sheet",
            "sheet.txt",
            "pictures",
        ],
        &[
            "rerank", "--prompt", "a", "--clip", "embedded", "--clip", "embedded", "pictures",
        ],
        &["classify", "pictures"],
        &["classify", "--labels", "one", "pictures"],
        &["classify", "--labels", "a,a", "pictures"],
        &[
            "classify",
            "--labels",
            "a,b",
            "--template",
            "no place",
            "pictures",
        ],
        &["classify", "--labels", "a,b", "--csv", "--json", "pictures"],
        &["classify", "--labels-file", "nowhere.txt", "pictures"],
        &["search", "pictures"],
        &["search", "--query", "a", "nowhere"],
        &["search", "--query", " ", "pictures"],
    ] {
        let output = run(folder.path(), args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?} {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn classify_tells_the_probability_of_each_label() {
    let folder = folder();
    let args = [
        "classify",
        "--labels",
        "red,green,blue",
        "--template",
        "a {} circle",
        "--json",
        "--quiet",
        "pictures",
    ];
    let report = json(&run(folder.path(), &args));
    for result in report["results"].as_array().expect("results") {
        let probabilities = result["probabilities"].as_object().expect("probabilities");
        let sum: f64 = probabilities.values().filter_map(Value::as_f64).sum();
        assert!((sum - 1.0).abs() < 1e-9 && probabilities.len() == 3);
        assert_eq!(
            probabilities.keys().next().map(String::as_str),
            result["label"].as_str()
        );
        let path = result["path"].as_str().expect("a path");
        let label = result["label"].as_str().expect("a label");
        assert!(path.contains(&format!("/{label}/")), "{path} is {label}");
    }
}

#[test]
fn the_truth_of_folders_gives_an_accuracy_and_a_confusion_matrix() {
    let folder = folder();
    fs::write(
        folder.path().join("labels.txt"),
        "# colours\nred = scarlet\ngreen\nblue\n",
    )
    .expect("a file");
    let model = fixture("clip-hf-quick");
    let args = [
        "classify",
        "--labels-file",
        "labels.txt",
        "--template",
        "imagenet",
        "--truth",
        "--clip",
        "embedded",
        "--clip",
        model.to_str().expect("a path"),
        "--top",
        "1",
        "--json",
        "--quiet",
        "pictures",
    ];
    let report = json(&run(folder.path(), &args));
    assert_eq!(report["templates"].as_array().map(Vec::len), Some(80));
    let truth = &report["truth"];
    assert_eq!(truth["pictures"], 4);
    let right = (report["results"].as_array().expect("results").iter())
        .filter(|result| result["label"] == result["truth"])
        .count();
    assert_eq!(truth["top1"].as_f64(), Some(right as f64 / 4.0));
    assert_eq!(truth["top5"], 1.0);
    let confusion = truth["confusion"].as_array().expect("a matrix");
    let row = |number: usize| -> u64 {
        let row = confusion[number].as_array().expect("a row");
        row.iter().filter_map(Value::as_u64).sum()
    };
    assert_eq!([row(0), row(1), row(2)], [2, 1, 1]);
    assert_eq!(truth["clips"][0]["clip"], "embedded");
    assert!(truth["clips"][1]["top1"].is_number());
    assert_eq!(
        report["results"][0]["probabilities"]
            .as_object()
            .map(serde_json::Map::len),
        Some(1)
    );
}

#[test]
fn the_table_with_commas_has_a_column_for_each_label() {
    let folder = folder();
    let args = [
        "classify",
        "--labels-file",
        "labels.txt",
        "--truth",
        "--csv",
        "--quiet",
        "pictures",
    ];
    fs::write(folder.path().join("labels.txt"), "red\nblue, dark\n").expect("a file");
    let output = run(folder.path(), &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    let mut lines = stdout.lines();
    assert_eq!(
        lines.next(),
        Some("path,truth,label,probability,red,\"blue, dark\"")
    );
    assert_eq!(lines.count(), 4);
    assert!(text(&output.stderr).contains("top-1"));
}

#[test]
fn search_looks_once_and_finds_by_words_and_by_a_picture() {
    let folder = folder();
    let args = [
        "search",
        "--query",
        "a blue circle",
        "--json",
        "--quiet",
        "pictures",
    ];
    let first = json(&run(folder.path(), &args));
    assert_eq!(first["query"], "a blue circle");
    assert_eq!(
        (first["pictures"].as_u64(), first["embedded"].as_u64()),
        (Some(4), Some(3))
    );
    assert_eq!(paths(&first)[0], "pictures/blue/1.png");
    assert!(
        folder
            .path()
            .join("pictures/.phantasia-index.safetensors")
            .is_file()
    );

    let second = json(&run(folder.path(), &args));
    assert_eq!(second["embedded"], 0);
    assert_eq!(second["results"], first["results"]);

    let args = [
        "search",
        "--image",
        "pictures/green/1.png",
        "--top",
        "2",
        "--sheet",
        "found.html",
        "--json",
        "--quiet",
        "pictures",
    ];
    let third = json(&run(folder.path(), &args));
    assert_eq!(third["query"], "pictures/green/1.png");
    assert_eq!(paths(&third)[0], "pictures/green/1.png");
    assert_eq!(paths(&third).len(), 2);
    let page = fs::read_to_string(folder.path().join("found.html")).expect("a page");
    assert!(page.contains("href=\"pictures/green/1.png\""));
}

#[test]
fn a_damaged_index_does_not_stop_a_search() {
    let folder = folder();
    fs::write(
        folder.path().join("pictures/.phantasia-index.safetensors"),
        "junk",
    )
    .expect("a file");
    let output = run(
        folder.path(),
        &["search", "--query", "red", "--json", "pictures"],
    );
    assert!(
        text(&output.stderr).contains("made anew"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(json(&output)["embedded"], 3);
}
