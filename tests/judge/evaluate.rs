//! `evaluate`: accuracy, speed and size of CLIPs on pictures whose labels are known; stopped and resumed; what fails does not keep others from it.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use candle_core::Device;
use image::{Rgb, RgbImage};
use phantasia::clip::LongText;
use phantasia::judge::INDEX_FILE;
use phantasia::judge::Label;
use phantasia::judge::evaluate::{Evaluator, Outcome, labels_of_folders};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::fixture;
use crate::common::program::{assert_refused, json, run, text};

/// `truth/red/0.png` and so on: two pictures of each of three colours, and `truth/red/broken.png`.
fn folder(names: [&str; 3]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, colour) in names
        .iter()
        .zip([[220, 20, 30], [20, 160, 40], [30, 40, 220]])
    {
        let inside = folder.path().join("truth").join(name);
        fs::create_dir_all(&inside).expect("a folder");
        for index in 0..2u8 {
            let picture = RgbImage::from_fn(40, 32, |x, _| {
                Rgb(if x < 3 + u32::from(index) {
                    [250; 3]
                } else {
                    colour
                })
            });
            let path = inside.join(format!("{index}.png"));
            picture.save(path).expect("a picture");
        }
    }
    fs::write(
        folder
            .path()
            .join("truth")
            .join(names[0])
            .join("broken.png"),
        "no",
    )
    .expect("a file");
    folder
}

fn tiny() -> String {
    path("clip-hf-quick")
}

fn path(name: &str) -> String {
    fixture(name).to_str().expect("a path").to_owned()
}

fn clips(report: &Value) -> &[Value] {
    report["clips"].as_array().expect("clips")
}

#[test]
fn clips_are_measured_and_the_second_time_nothing_is_embedded() {
    let folder = folder(["red", "green", "blue"]);
    let [tiny, other] = ["clip-hf-quick", "clip-open-vit"].map(path);
    let mut args = vec!["evaluate", "--clip", &tiny, "--clip", &other];
    args.extend(["--truth", "truth", "--quiet", "--json", "--cache", "kept"]);
    args.extend(["--plot", "chart.png", "--table", "table.md"]);
    let first = json(&run(folder.path(), &args));
    assert_eq!(first["labels"], serde_json::json!(["blue", "green", "red"]));
    assert_eq!(first["templates"], serde_json::json!(["a photo of a {}"]));
    let [one, two] = clips(&first) else {
        panic!("{first}");
    };
    assert_eq!(
        (&one["clip"], &two["clip"]),
        (&tiny.as_str().into(), &other.as_str().into())
    );
    // as `classify` finds it
    let args_of_classify = [
        "classify",
        "--truth",
        "--json",
        "--labels",
        "blue,green,red",
        "--clip",
        &tiny,
        "truth",
    ];
    let truth = &json(&run(folder.path(), &args_of_classify))["truth"];
    for key in ["pictures", "top1", "top5", "mean_per_class", "confusion"] {
        assert_eq!(one[key], truth[key], "{key}");
    }
    for clip in [one, two] {
        assert_eq!(
            (&clip["pictures"], &clip["embedded"]),
            (&6.into(), &6.into())
        );
        for key in ["images_per_second", "parameters", "bytes", "load_seconds"] {
            assert!(clip[key].as_f64().expect(key) > 0.0, "{key}");
        }
        if cfg!(target_os = "linux") {
            assert!(clip["peak_memory"].as_u64() > clip["bytes"].as_u64());
        }
    }
    let skipped = &first["skipped"][0]["path"];
    assert!(skipped.as_str().expect("a path").ends_with("broken.png"));
    let markdown = fs::read_to_string(folder.path().join("table.md")).expect("a table");
    assert_eq!(markdown.lines().count(), 4, "{markdown}");
    assert!(
        markdown.starts_with("| CLIP | top-1 % | top-5 % |"),
        "{markdown}"
    );
    let chart = image::open(folder.path().join("chart.png")).expect("a chart");
    assert_eq!(chart.to_rgb8().dimensions(), (1200, 800));
    // nothing is written beside the pictures
    assert!(!folder.path().join("truth").join(INDEX_FILE).exists());

    let second = json(&run(folder.path(), &args));
    for (first, second) in clips(&first).iter().zip(clips(&second)) {
        assert_eq!(second["embedded"], 0);
        assert_eq!(first["confusion"], second["confusion"]);
    }
}

#[test]
fn the_table_is_printed_and_written_with_numbers() {
    let folder = folder(["n01440764", "n02102040", "n03888257"]);
    let tiny = tiny();
    let args = ["evaluate", "--clip", &tiny, "--truth", "truth", "--quiet"];
    // numbers of WordNet are no labels
    assert_refused(&run(folder.path(), &args), 2, "--labels imagenette");
    let csv = ["--table", "table.csv"];
    for labels in ["imagenette", "labels.txt"] {
        fs::write(
            folder.path().join("labels.txt"),
            "n01440764 = tench\nn02102040 = springer\nn03888257 = parachute\n",
        )
        .expect("a file");
        let output = run(
            folder.path(),
            &[&args[..], &["--labels", labels], &csv].concat(),
        );
        assert!(output.status.success(), "{}", text(&output.stderr));
        let stdout = text(&output.stdout);
        let lines: Vec<&str> = stdout.lines().collect();
        assert!(
            lines[0].starts_with("# CLIP") && lines[0].contains("images/s"),
            "{stdout}"
        );
        assert_eq!(lines.len(), 2, "{stdout}");
        let table = fs::read_to_string(folder.path().join("table.csv")).expect("a table");
        let row: Vec<&str> = table.lines().nth(1).expect("a row").split(',').collect();
        assert_eq!((row[0], row[4]), (tiny.as_str(), "6"), "{table}");
        assert!(text(&output.stderr).contains("broken.png"));
    }
}

#[test]
fn a_clip_that_fails_does_not_keep_the_others_from_being_evaluated() {
    let folder = folder(["red", "green", "blue"]);
    fs::create_dir(folder.path().join("empty")).expect("a folder");
    let tiny = tiny();
    let mut args = vec!["evaluate", "--clip", "empty", "--clip", &tiny];
    args.extend(["--truth", "truth", "--quiet", "--json"]);
    let output = run(folder.path(), &args);
    assert_refused(&output, 1, "`empty` is not evaluated");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(clips(&report).len(), 1);
    assert_eq!(report["failed"][0]["clip"], "empty");
    // what can be known before is refused before
    for (args, message) in [
        (
            vec!["--clip", "embedded", "--truth", "nowhere"],
            "is not a folder",
        ),
        (
            vec!["--clip", "embedded", "--truth", "empty"],
            "no two folders",
        ),
        (
            vec!["--clip", "embedded", "--truth", "truth", "--labels", "dogs"],
            "`dogs` is neither",
        ),
        (
            vec!["--clip", "embedded", "--truth", "truth", "--plot", "a.gif"],
            ".png",
        ),
        (
            vec!["--clip", "embedded", "--truth", "truth", "--template", "a"],
            "has no {}",
        ),
        (vec!["--truth", "truth"], "--clip"),
    ] {
        let args = [vec!["evaluate"], args].concat();
        assert_refused(&run(folder.path(), &args), 2, message);
    }
}

#[test]
fn what_cannot_be_evaluated_is_refused_before_anything_is_embedded() {
    let folder = folder(["red", "green", "blue"]);
    fs::create_dir(folder.path().join("chart.png")).expect("a folder");
    let picture = folder.path().join("truth/red/0.png");
    let bytes = || fs::read(&picture).expect("a picture");
    let before = bytes();
    let tiny = tiny();
    let args = ["evaluate", "--quiet", "--truth", "truth", "--clip", &tiny];
    let refused = |more: &[&str], code, message| {
        let output = run(folder.path(), &[&args, more].concat());
        assert_refused(&output, code, message);
        assert_eq!(text(&output.stdout), "");
        assert!(!folder.path().join("truth").join(INDEX_FILE).exists());
    };
    refused(
        &["--labels", "a,b"],
        2,
        "lies in a folder that is called like a label",
    );
    refused(&["--clip", "nonsense"], 1, "there is no model `nonsense`");
    for (flag, path, message) in [
        ("--plot", "truth/red/0.png", "in the folder of the pictures"),
        ("--plot", "truth/new.png", "in the folder of the pictures"),
        ("--table", "truth/../truth/a.md", "in the folder of the pic"),
        ("--plot", "nowhere/a.png", "there is no folder nowhere"),
        ("--table", "truth/red/0.png/a.md", "there is no folder"),
        ("--plot", "chart.png", "is a folder"),
    ] {
        refused(&[flag, path], 2, message);
    }
    assert!(bytes() == before);
}

#[cfg(unix)]
#[test]
fn links_back_are_no_labels_and_linked_pictures_are_not_overwritten() {
    use std::os::unix::fs::symlink;
    let folder = folder(["red", "green", "blue"]);
    let truth = folder.path().join("truth");
    fs::rename(truth.join("red"), folder.path().join("far")).expect("a folder");
    symlink("../far", truth.join("red")).expect("a link");
    symlink("../truth", truth.join("loop")).expect("a link");
    symlink("nowhere", truth.join("broken")).expect("a link");
    let labels = labels_of_folders(&truth).expect("labels");
    let names: Vec<&str> = labels.iter().map(|label| label.name.as_str()).collect();
    assert_eq!(names, ["blue", "green", "red"]);
    let tiny = tiny();
    let mut args = vec!["evaluate", "--clip", &tiny, "--truth", "truth"];
    args.extend(["--plot", "far/0.png"]);
    let message = "is one of the pictures that are evaluated";
    assert_refused(&run(folder.path(), &args), 2, message);
}

#[test]
fn what_was_stopped_is_resumed() {
    let folder = folder(["red", "green", "blue"]);
    let more = folder.path().join("truth/red");
    for index in 0..70u8 {
        let picture = RgbImage::from_pixel(8, 8, Rgb([index, 9, 200]));
        picture
            .save(more.join(format!("more{index}.png")))
            .expect("a picture");
    }
    let evaluator = |cache: &Path| Evaluator {
        labels: ["red", "green", "blue"].map(Label::new).to_vec(),
        templates: vec!["{}".to_owned()],
        folder: folder.path().join("truth"),
        cache: Some(cache.to_owned()),
        activation: None,
        long_text: LongText::default(),
    };
    let evaluate = |cache: &Path, stop: bool| {
        let progress = |_, _| match stop {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        (evaluator(cache).evaluate(&tiny(), &Device::Cpu, progress)).expect("an outcome")
    };
    let (stopped, whole) = (folder.path().join("stopped"), folder.path().join("whole"));
    assert_eq!(evaluate(&stopped, true), Outcome::Interrupted);
    let (Outcome::Done(resumed, _), Outcome::Done(whole, _)) =
        (evaluate(&stopped, false), evaluate(&whole, false))
    else {
        panic!("interrupted");
    };
    // the first 64 files, of which one is broken
    assert_eq!((resumed.embedded, whole.embedded), (76 - 63, 76));
    assert_eq!(resumed.accuracy, whole.accuracy);
}
