//! `sweep`: plans, shards, what ends them, and what is refused before work.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use tempfile::TempDir;

use crate::common::program::{assert_done, assert_refused, interrupt, json, program, run, text};
use crate::common::wait_for;

const BASE: &str =
    "prompts: a red ball\nsize: [32, 32]\nsteps: 2\ngenerator: pixels\ncutouts: { count: 1 }\n";

/// A folder with a recipe and a sweep of it.
fn folder(sweep: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("base.yaml"), BASE).expect("a file");
    fs::write(
        folder.path().join("s.yaml"),
        format!("recipe: base.yaml\n{sweep}"),
    )
    .expect("a file");
    folder
}

fn sweep(folder: &TempDir, args: &[&str]) -> Output {
    run(
        folder.path(),
        &[&["sweep", "s.yaml", "--device", "cpu"], args].concat(),
    )
}

/// The names of the whole runs of a sweep.
fn whole(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("runs"))
        .into_iter()
        .flatten()
        .flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let names: BTreeSet<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.into_iter().collect()
}

/// The values of a dry run's plan, as `plan.csv` of a collected sweep has them, without names.
fn planned(folder: &TempDir) -> Vec<String> {
    fs::create_dir_all(folder.path().join("o")).expect("a folder");
    assert_done(&sweep(folder, &["--collect", "--out", "o", "--quiet"]));
    let plan = fs::read_to_string(folder.path().join("o/plan.csv")).expect("a plan");
    let values = plan
        .lines()
        .skip(1)
        .map(|line| line.splitn(3, ',').nth(2).unwrap_or_default().to_owned());
    values.collect()
}

#[test]
fn shards_that_are_killed_end_with_what_one_render_paints() {
    let folder = folder("sweep:\n  seed: 1..4\n  prompts: [[a red ball], [a green ball]]\n");
    let args = [
        "sweep", "s.yaml", "--device", "cpu", "--quiet", "--out", "o",
    ];
    let spawn = |shard: &str| {
        let mut command = program(folder.path(), &[&args[..], &["--shard", shard]].concat());
        command.stdout(Stdio::null());
        command.spawn().expect("the program")
    };
    let mut killed = spawn("1/2");
    let out = folder.path().join("o");
    wait_for("whole run", || !whole(&out).is_empty());
    killed.kill().expect("a process");
    killed.wait().expect("an end");
    // the same shard twice
    let children = [spawn("1/2"), spawn("1/2"), spawn("2/2")];
    for mut child in children {
        assert!(child.wait().expect("an end").success());
    }
    let names = whole(&out);
    assert_eq!(names.len(), 8, "{names:?}");
    let table = fs::read_to_string(out.join("results.csv")).expect("a table");
    assert_eq!(table.matches(",whole,").count(), 8, "{table}");
    assert_eq!(
        fs::read_dir(out.join("runs")).expect("runs").count(),
        8,
        "a part of a run is left"
    );
    for file in ["sheet.png", "index.html"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    let recipe = out.join("runs").join(&names[5]);
    let recipe = recipe.to_str().expect("a path");
    let single = run(
        folder.path(),
        &[
            "render",
            &format!("{recipe}/recipe.yaml"),
            "--device",
            "cpu",
            "--out",
            "single",
            "--quiet",
        ],
    );
    assert_done(&single);
    let single = folder.path().join(text(&single.stdout).trim());
    for file in ["image.png", "recipe.yaml"] {
        let bytes = |path: &Path| fs::read(path).expect("a file");
        assert_eq!(
            bytes(&out.join("runs").join(&names[5]).join(file)),
            bytes(&single.with_file_name(file))
        );
    }
    // what is whole is not painted again, also where the sweep has grown
    fs::write(
        folder.path().join("s.yaml"),
        "recipe: base.yaml\nsweep:\n  prompts: [[a red ball], [a green ball], [a blue ball]]\n  seed: 1..4\n",
    )
    .expect("a file");
    let args = ["--out", "o", "--json", "--quiet", "--no-checkpoints"];
    let report = json(&sweep(&folder, &args));
    assert_eq!(
        (&report["found"], &report["painted"]),
        (&8.into(), &serde_json::json!([9, 10, 11, 12]))
    );
    assert_eq!(report["finished"], true);
    let has_checkpoint = |name: &&String| {
        let run = out.join("runs").join(name);
        assert!(run.join("image.png").is_file(), "{name}");
        run.join("checkpoint.safetensors").is_file()
    };
    assert_eq!(whole(&out).iter().filter(has_checkpoint).count(), 8);
}

#[test]
fn a_run_that_fails_is_told_and_tried_again() {
    let folder = folder("sweep:\n  init: [one.png, two.png]\n");
    let picture = image::RgbImage::from_pixel(8, 8, image::Rgb([200, 30, 30]));
    picture
        .save(folder.path().join("one.png"))
        .expect("a picture");
    // its file exists, so that only the render finds that it is no picture
    fs::write(folder.path().join("two.png"), "no picture").expect("a file");
    let output = sweep(&folder, &["--json", "--judge", "embedded/resnet"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let table = fs::read_to_string(folder.path().join("outputs/s/results.csv")).expect("a table");
    let rows: Vec<&str> = table.lines().collect();
    assert!(
        rows[0].starts_with("run,state,init,loss,similarity,score,embedded/resnet,"),
        "{table}"
    );
    assert!(
        rows[1].starts_with("1,whole,one.png,") && rows[2].starts_with("2,failed,two.png,"),
        "{table}"
    );
    let score: f64 = rows[1]
        .split(',')
        .nth(5)
        .and_then(|score| score.parse().ok())
        .expect("a score");
    assert!((-1.0..=1.0).contains(&score), "{score}");
    let blue = image::RgbImage::from_pixel(8, 8, image::Rgb([30, 30, 200]));
    blue.save(folder.path().join("two.png")).expect("a picture");
    let report = json(&sweep(&folder, &["--json", "--quiet"]));
    assert_eq!(report["painted"], serde_json::json!([2]));
}

#[test]
fn values_are_crossed_zipped_sampled_and_read_from_files() {
    let prompts = "sweep:\n  prompts: { file: p.txt }\nzip:\n  - { seed: 1..2, steps: [3, 4] }\n";
    let of_prompts = folder(prompts);
    fs::write(
        of_prompts.path().join("p.txt"),
        "# texts\na {red|blue} car\n\na fox: sly\n",
    )
    .expect("a file");
    assert_eq!(
        planned(&of_prompts),
        [
            "a red car,1,3",
            "a red car,2,4",
            "a blue car,1,3",
            "a blue car,2,4",
            "a fox: sly,1,3",
            "a fox: sly,2,4"
        ]
    );
    let of_table = folder("zip: { file: t.csv }\nsweep: { generator.lr: 0.1..0.2 step 0.1 }\n");
    fs::write(
        of_table.path().join("t.csv"),
        "prompts.0.text,seed\n\"a cat, sleeping\",7\na dog,8\n",
    )
    .expect("a file");
    assert_eq!(
        planned(&of_table),
        [
            "\"a cat, sleeping\",7,0.1",
            "\"a cat, sleeping\",7,0.2",
            "a dog,8,0.1",
            "a dog,8,0.2"
        ]
    );
    let sampled = |count: usize| {
        planned(&folder(&format!(
            "sweep:\n  seed: 1..1000000000\n  generator.lr: [0.1, 0.2]\nsample: {{ count: {count}, seed: 3 }}\n"
        )))
    };
    let (few, more) = (sampled(3), sampled(6));
    assert_eq!(few[..], more[..3]);
    let drawn = planned(&folder(
        "sweep: { generator.lr: { min: 0.001, max: 1, log: true } }\nsample: 5\n",
    ));
    let numbers: Vec<f64> = drawn
        .iter()
        .map(|number| number.parse().expect("a number"))
        .collect();
    assert!(
        numbers.iter().all(|number| (0.001..=1.0).contains(number)),
        "{numbers:?}"
    );
    let distinct: BTreeSet<&String> = drawn.iter().collect();
    assert_eq!(distinct.len(), 5);
}

#[test]
fn bad_sweeps_are_refused_before_work() {
    for (sweep_text, message) in [
        ("sweep: { generator.gian: [1] }\n", "unknown key `gian`"),
        (
            "sweep: { seed: [] }\n",
            "s.yaml:2:16: seed: the list is empty",
        ),
        ("sweep: { seed: 3..1 }\n", "write the smaller number first"),
        (
            "sweep: { seed: 1..1000000, steps: 1..1000 }\n",
            "too many runs: 1000000 of seed x 1000 of steps",
        ),
        ("sweep: { seed: 1..4000000000 }\n", "more than 100000"),
        ("sweep: { seed: [1, 2, 1] }\n", "the value `1` comes twice"),
        ("sweep: { steps: [2, 2.0] }\n", "steps"),
        ("sweep: { generator.lr: [0.1, 0.10] }\n", "comes twice"),
        ("sweep: { generator.lr: [.nan] }\n", "generator.lr"),
        (
            "sweep: { prompts: [[a]], prompts.0.text: [b] }\n",
            "one is a part of the other",
        ),
        (
            "sweep: { seed: [1] }\nzip: { seed: [2] }\n",
            "it is swept twice",
        ),
        ("zip: { seed: [1, 2], steps: [1] }\n", "`seed` beside it 2"),
        ("sweep: { seed: 5 }\n", "write [5] for the one value 5"),
        ("sweep: { seed: { file: none.txt } }\n", "none.txt"),
        (
            "sweep: { seed: random }\n",
            "expected a list of values or a range",
        ),
        ("sweep: { seed: [random] }\n", "its seed is `random`"),
        (
            "sweep: { generator.lr: { min: 0.1, max: 0.2 } }\n",
            "add `sample: 20`",
        ),
        (
            "sweep: { seed: 1..3 }\nsample: 4\n",
            "asks for 4 of 3 combinations",
        ),
        (
            "sweep: { prompts: [['a {red|red} ball']] }\n",
            "comes twice",
        ),
        ("swep: { seed: 1..3 }\n", "did you mean `sweep`?"),
        ("sweep: [1]\n", "expected a map of paths"),
        ("recipe: none.yaml\n", "s.yaml:2"),
    ] {
        let folder = folder(sweep_text);
        let output = sweep(&folder, &["--quiet"]);
        assert_refused(&output, 2, message);
        assert!(!folder.path().join("outputs").exists(), "{sweep_text}");
    }
    let folder = folder("sweep: { seed: 1..3 }\n");
    for shard in ["0/4", "5/4", "1", "x/2"] {
        assert_refused(&sweep(&folder, &["--shard", shard]), 2, "--shard");
    }
    let out = ["--out", "s3:///s"];
    let message = if cfg!(feature = "cloud") {
        "names no bucket"
    } else {
        "--features cloud"
    };
    assert_refused(&sweep(&folder, &out), 2, message);
    fs::write(folder.path().join("file"), "").expect("a file");
    assert_refused(
        &sweep(&folder, &["--out", "file"]),
        1,
        "a file is in the way",
    );
    let half = program(folder.path(), &["sweep", "s.yaml"])
        .env("JOB_COMPLETION_INDEX", "0")
        .output();
    assert_refused(&half.expect("the program"), 2, "PHANTASIA_SHARDS is not");
    fs::remove_file(folder.path().join("base.yaml")).expect("a file");
    assert_refused(&sweep(&folder, &[]), 2, "there is no file `base.yaml`");
}

/// Begins the sweep, and waits until its run has a checkpoint.
fn begun(folder: &TempDir) -> Child {
    let partials = || -> Vec<PathBuf> {
        let runs = fs::read_dir(folder.path().join("o/runs"));
        let runs = runs.into_iter().flatten().flatten();
        runs.map(|run| run.path()).collect()
    };
    // what is continued has another name
    let before = partials();
    let args = ["sweep", "s.yaml", "--device", "cpu", "--out", "o"];
    let mut command = program(folder.path(), &[&args[..], &["--quiet"]].concat());
    command.stdout(Stdio::null());
    command.stderr(Stdio::null());
    let child = command.spawn().expect("the program");
    let has_checkpoint =
        |run: &PathBuf| !before.contains(run) && run.join("checkpoint.safetensors").is_file();
    wait_for("checkpoint", || partials().iter().any(has_checkpoint));
    child
}

#[test]
fn a_run_that_was_stopped_is_continued_with_the_same_bytes() {
    let folder = folder("sweep: { seed: 5..5 }\n");
    let output = "output: { every: 8, video: webp, checkpoint: 2 }\n";
    let base = BASE.replace("steps: 2", "steps: 32") + output;
    fs::write(folder.path().join("base.yaml"), &base).expect("a file");
    let mut killed = begun(&folder);
    killed.kill().expect("a process");
    killed.wait().expect("an end");
    assert!(whole(&folder.path().join("o")).is_empty());
    let mut stopped = begun(&folder);
    interrupt(&stopped);
    assert_eq!(stopped.wait().expect("an end").code(), Some(130));
    assert!(whole(&folder.path().join("o")).is_empty());
    assert_done(&sweep(&folder, &["--out", "o", "--quiet"]));

    let runs = folder.path().join("o/runs");
    let entries = fs::read_dir(&runs).expect("runs").count();
    let run_folder = runs.join(&whole(&folder.path().join("o"))[0]);
    let result = fs::read_to_string(run_folder.join("result.json")).expect("a result");
    let result: serde_json::Value = serde_json::from_str(&result).expect("JSON");
    assert_eq!((entries, &result["steps"]), (1, &32.into()));
    assert!(result["steps_before"].as_u64() >= Some(2), "{result}");
    let args = ["base.yaml", "--seed", "5", "--device", "cpu", "--quiet"];
    let single = run(folder.path(), &[&["render"], &args[..]].concat());
    assert_done(&single);
    let single = folder.path().join(text(&single.stdout).trim());
    let files = ["image.png", "recipe.yaml", "video.webp"];
    for file in files
        .map(String::from)
        .into_iter()
        .chain((1..=4).map(|frame| format!("frames/frame-{:05}.png", 8 * frame)))
    {
        let bytes = |path: &Path| fs::read(path.join(&file)).expect(&file);
        assert!(
            bytes(&run_folder) == bytes(single.parent().expect("a folder")),
            "{file}"
        );
    }
}

#[test]
fn a_run_that_is_interrupted_before_its_own_stop_is_not_whole() {
    let folder = folder("sweep: { seed: 5..5 }\n");
    let timeline = "output: { checkpoint: 2 }\ntimeline: [{ step: 5000, stop: true }]\n";
    let base = BASE.replace("steps: 2", "steps: 6000") + timeline;
    fs::write(folder.path().join("base.yaml"), &base).expect("a file");
    let mut stopped = begun(&folder);
    interrupt(&stopped);
    assert_eq!(stopped.wait().expect("an end").code(), Some(130));
    // its stop could not be told from the interruption: it begins anew
    assert_eq!(
        fs::read_dir(folder.path().join("o/runs"))
            .expect("runs")
            .count(),
        0
    );
}

#[test]
fn other_commands_take_a_sweep_for_its_whole_runs() {
    let folder = folder("sweep: { seed: 1..2 }\n");
    let base = BASE.to_owned() + "output: { every: 1 }\nclip: embedded/transformer\n";
    fs::write(folder.path().join("base.yaml"), base).expect("a file");
    assert_done(&sweep(&folder, &["--out", "o", "--quiet"]));
    let of = |args: &[&str]| run(folder.path(), args);
    for given in ["o", "o/runs"] {
        let ranked = json(&of(&["rerank", "--prompt", "a red ball", given, "--json"]));
        let paths = ranked["results"].as_array().expect("results").iter();
        let paths: BTreeSet<&str> = paths.filter_map(|result| result["path"].as_str()).collect();
        let runs = whole(&folder.path().join("o"));
        let pictures = runs.iter().map(|run| format!("o/runs/{run}/image.png"));
        assert_eq!(
            paths.into_iter().map(str::to_owned).collect::<Vec<_>>(),
            pictures.collect::<Vec<_>>()
        );
    }
    let args = [
        "compare",
        "o",
        "--judge",
        "embedded/resnet",
        "--steps",
        "1",
        "--json",
        "--quiet",
    ];
    let compared = json(&of(&args));
    assert_eq!(
        compared["recipes"].as_array().map(Vec::len),
        Some(2),
        "{compared}"
    );
    assert_refused(
        &of(&["resume", "o"]),
        2,
        "`phantasia sweep` with its file goes on",
    );
    let command = "aws s3 sync s3://bucket/o FOLDER";
    let url = "s3://bucket/o";
    assert_refused(&of(&["rerank", "--prompt", "a ball", url]), 1, command);
    assert_refused(
        &of(&["compare", url, "--judge", "embedded/resnet"]),
        2,
        command,
    );
    assert_refused(&of(&["resume", url]), 2, command);
}

#[test]
fn a_folder_of_something_else_is_left_as_it_is() {
    let folder = folder("sweep: { seed: 1..2 }\n");
    let own = folder.path().join("own");
    fs::create_dir(&own).expect("a folder");
    fs::write(own.join("results.csv"), "seed\n1\n").expect("a file");
    let output = sweep(&folder, &["--out", "own", "--quiet"]);
    assert_refused(
        &output,
        1,
        "is not empty and not a sweep's: it has `results.csv`",
    );
    assert_eq!(fs::read_dir(&own).expect("a folder").count(), 1);

    assert_done(&sweep(&folder, &["--out", "o", "--quiet"]));
    let plan = fs::read(folder.path().join("o/plan.csv")).expect("a plan");
    fs::write(
        folder.path().join("s.yaml"),
        "recipe: base.yaml\nsweep: { seed: 8..9 }\n",
    )
    .expect("a file");
    let output = sweep(&folder, &["--out", "o", "--quiet"]);
    assert_refused(&output, 1, "holds another sweep");
    assert_eq!(
        fs::read(folder.path().join("o/plan.csv")).expect("a plan"),
        plan
    );
}

#[test]
fn damaged_runs_are_painted_again() {
    let folder = folder("sweep: { seed: 1..2 }\n");
    assert_done(&sweep(&folder, &["--out", "o", "--quiet"]));
    let runs = folder.path().join("o/runs");
    let names = whole(&folder.path().join("o"));
    let picture = fs::read(runs.join(&names[0]).join("image.png")).expect("a picture");
    // as a full disk leaves it
    fs::write(runs.join(&names[0]).join("image.png"), &picture[..100]).expect("a file");
    fs::write(runs.join(&names[1]).join("result.json"), "").expect("a file");
    // two at once paint what one after the other does
    let output = sweep(&folder, &["--out", "o", "--json", "--devices", "cpu,cpu"]);
    assert!(text(&output.stderr).contains("count as not painted"));
    assert_eq!(json(&output)["painted"], serde_json::json!([1, 2]));
    assert_eq!(whole(&folder.path().join("o")), names);
    let again = fs::read(runs.join(&names[0]).join("image.png")).expect("a picture");
    assert!(again == picture);
}

#[test]
fn a_dry_run_tells_and_leaves_nothing() {
    let folder = folder("sweep: { seed: 1..3 }\n");
    let report = json(&sweep(&folder, &["--dry-run", "--json"]));
    assert_eq!(
        (&report["runs"], &report["whole"], &report["steps"]),
        (&3.into(), &0.into(), &6.into())
    );
    assert!(
        report["seconds"].as_f64() > Some(0.0) && report["bytes"].as_f64() > Some(0.0),
        "{report}"
    );
    assert!(!folder.path().join("outputs").exists());
    // the first run has all its models, and another one has not
    let sweep_text = "recipe: base.yaml\nsweep: { clip: [embedded, ViT-B-32/openai] }\n";
    fs::write(folder.path().join("s.yaml"), sweep_text).expect("a file");
    let output = sweep(&folder, &["--dry-run"]);
    assert_done(&output);
    let told = text(&output.stderr);
    assert!(
        told.contains(
            "warning: the sweep cannot begin yet: `ViT-B-32/openai` is not on this machine"
        ),
        "{told}"
    );
    assert!(text(&output.stdout).contains("2 runs to paint"));
}

#[test]
fn a_sweep_that_is_extended_tells_what_was_painted_before() {
    let folder = folder("sweep: { seed: 1..1 }\n");
    let told = || text(&sweep(&folder, &[]).stderr);
    assert!(told().contains("1 run painted in "));
    let again = told();
    assert!(
        again.contains("the only run was painted before") && !again.contains("painted in"),
        "{again}"
    );
    let longer = "recipe: base.yaml\nsweep: { seed: 1..3 }\n";
    fs::write(folder.path().join("s.yaml"), longer).expect("a file");
    let told = told();
    for part in ["step 4 of 4  run 2 of 2", "; 1 was painted before"] {
        assert!(told.contains(part), "{told}");
    }
    let page = fs::read_to_string(folder.path().join("outputs/s/index.html")).expect("a page");
    assert!(page.contains("3 runs: 3 finished") && page.contains("<br>1: similarity "));
}

#[test]
fn a_recipe_is_told_from_a_sweep() {
    let folder = folder("sweep: { seed: 1..3 }\n");
    let of = |args: &[&str]| run(folder.path(), args);
    assert_refused(&of(&["sweep", "base.yaml"]), 2, "this looks like a recipe");
    assert_refused(&of(&["sweep", "none.yaml"]), 2, "there is no such file");
    let looks = "s.yaml looks like a sweep";
    assert_refused(&of(&["recipe", "check", "s.yaml"]), 2, looks);
    let beside = "recipe: base.yaml\nseed: 1..3\n";
    fs::write(folder.path().join("s.yaml"), beside).expect("a file");
    let below = "values of the recipe stand below `sweep`";
    assert_refused(&sweep(&folder, &[]), 2, below);
}

#[test]
fn a_wildcard_is_drawn_by_the_seed_and_told() {
    let folder = folder("sweep: { seed: 1..3 }\n");
    let args = [
        "render",
        "a {red|blue} ball",
        "--steps",
        "1",
        "--size",
        "32x32",
        "--device",
        "cpu",
        "--seed",
        "4",
    ];
    let output = run(folder.path(), &args);
    assert_done(&output);
    let told = text(&output.stderr);
    assert!(
        told.contains("drawn from \"a {red|blue} ball\" by the seed 4"),
        "{told}"
    );
    let image = folder.path().join(text(&output.stdout).trim());
    let recipe = phantasia::recipe::Recipe::load(&image).expect("a recipe");
    let drawn = recipe.prompts[0].text.as_deref();
    assert!(
        matches!(drawn, Some("a red ball" | "a blue ball")),
        "{drawn:?}"
    );
    let edit = phantasia::Edit {
        prompts: Some(vec!["a {red|blue} fox".into()]),
        ..phantasia::Edit::default()
    };
    let error = recipe.check_edit(edit).expect_err("a wildcard in an edit");
    assert!(
        error.to_string().contains("drawn when a render begins"),
        "{error}"
    );
}
