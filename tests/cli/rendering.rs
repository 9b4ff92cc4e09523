//! What `render` and `grow` leave: run folders, JSON, videos, whatever ends them.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::commands::{RECIPE, folder};
use phantasia::recipe::Recipe;

use crate::common::program::{assert_done, assert_refused, interrupt, json, program, run, text};

#[test]
fn a_render_leaves_its_run_folder_and_prints_the_picture() {
    let folder = folder();
    let output = run(folder.path(), &["render", "ball.yaml", "--device", "cpu"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let picture = text(&output.stdout);
    assert_eq!(
        Path::new(picture.trim()),
        Path::new("outputs").join("ball-001").join("image.png")
    );
    let run = folder.path().join("outputs/ball-001");
    let image = image::open(run.join("image.png")).expect("a picture");
    assert_eq!((image.width(), image.height()), (48, 32));
    assert_eq!(fs::read_dir(run.join("frames")).expect("frames").count(), 1);
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    let lines: Vec<Value> = metrics
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 3);
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line["step"], index + 1);
        assert!(line["loss"].is_f64() && line["seconds"].is_f64() && line["terms"].is_object());
        assert!(line["similarity"]["a red ball"].is_f64());
    }
}

#[test]
fn a_render_tells_all_in_one_json_object() {
    let folder = folder();
    let args = [
        "render",
        "ball.yaml",
        "--json",
        "--quiet",
        "--out",
        "o",
        "--prompt",
        "a cat",
        "--prompt",
        "a dog",
        "--steps",
        "2",
        "--seed",
        "5",
        "--size",
        "32x32",
        "--set",
        "cutouts.count=1",
        "--device",
        "cpu",
    ];
    let output = run(folder.path(), &args);
    let report = json(&output);
    assert_eq!(text(&output.stderr), "");
    let keys: Vec<_> = report.as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        [
            "run",
            "image",
            "seed",
            "steps",
            "seconds",
            "loss",
            "similarity",
            "contrast",
            "device"
        ]
    );
    assert_eq!((&report["seed"], &report["steps"]), (&5.into(), &2.into()));
    assert_eq!(report["device"], "cpu");
    let prompts: Vec<_> = report["similarity"]
        .as_object()
        .expect("an object")
        .keys()
        .collect();
    assert_eq!(prompts, ["a cat", "a dog"]);
    assert!(
        folder
            .path()
            .join(report["image"].as_str().expect("a path"))
            .is_file()
    );
    let recipe = phantasia::recipe::Recipe::load(&folder.path().join("o/ball-001/recipe.yaml"));
    let recipe = recipe.expect("a recipe");
    assert_eq!((recipe.seed, recipe.size), (5, [32, 32]));
}

/// The flags of a render of no time.
const SMALL: [&str; 6] = ["--size", "32x32", "--steps", "2", "--device", "cpu"];

fn render(folder: &Path, args: &[&str]) -> Output {
    run(folder, &[&["render"], args, &SMALL].concat())
}

/// Runs the program with this on standard input.
fn with_input(folder: &Path, args: &[&str], input: &[u8]) -> Output {
    let mut child = program(folder, args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let mut stdin = child.stdin.take().expect("standard input");
    stdin.write_all(input).expect("standard input");
    drop(stdin);
    child.wait_with_output().expect("the program")
}

fn texts(run: &Path) -> Vec<String> {
    let recipe = Recipe::load(&run.join("recipe.yaml")).expect("a recipe");
    recipe.prompts.iter().map(|prompt| prompt.label()).collect()
}

#[test]
fn a_text_is_painted_with_the_defaults() {
    let folder = folder();
    let output = render(folder.path(), &["a red cat.", "--prompt", "blurry::-0.5"]);
    assert_done(&output);
    let stderr = text(&output.stderr);
    let told = "painting \"a red cat.\", \"blurry\": 32x32 pixels, 2 steps, seed 0\n";
    assert!(stderr.starts_with(told), "{stderr}");
    // the time that it took
    let last = stderr.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("2 steps in ") && last.ends_with(" s"),
        "{stderr}"
    );
    let run = folder.path().join("outputs/a-red-cat-001");
    assert_eq!(texts(&run), ["a red cat.", "blurry"]);
    // flags alone will do
    let output = render(folder.path(), &["--prompt", "a dog", "--quiet"]);
    assert_done(&output);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(texts(&folder.path().join("outputs/a-dog-001")), ["a dog"]);
}

#[test]
fn a_mistyped_file_is_no_prompt() {
    let folder = folder();
    fs::create_dir(folder.path().join("recipes")).expect("a folder");
    fs::write(folder.path().join("recipes/first-light.yaml"), RECIPE).expect("a file");
    for (typed, told) in [
        ("ball", "there is a recipe `ball.yaml`"),
        (
            "first-light",
            "there is a recipe `recipes/first-light.yaml`",
        ),
        (
            "ball.yml",
            "error: ball.yml: cannot read the recipe: there is no such file; did you mean `ball.yaml`?",
        ),
        ("bal.yaml", "did you mean `ball.yaml`?"),
        ("ball.ymal", "did you mean `ball.yaml`?"),
        (
            "first-light.yml",
            "did you mean `recipes/first-light.yaml`?",
        ),
        (
            "recipes/first-ligt.yaml",
            "did you mean `recipes/first-light.yaml`?",
        ),
        (
            "submarine.yaml",
            "`phantasia recipe new pyramid` prints one",
        ),
        (
            "a black/white cat",
            "give it as `--prompt \"a black/white cat\"`",
        ),
        ("", "the prompt: prompts.0.text: the text is empty"),
    ] {
        assert_refused(&run(folder.path(), &["render", typed]), 2, told);
    }
    assert!(!folder.path().join("outputs").exists());
}

#[test]
fn a_recipe_comes_from_standard_input() {
    let folder = folder();
    let args = ["render", "-", "--quiet"];
    assert_done(&with_input(folder.path(), &args, RECIPE.as_bytes()));
    let image = folder.path().join("outputs/recipe-001/image.png");
    let bytes = fs::read(&image).expect("a picture");
    // a picture is as good
    assert_done(&with_input(folder.path(), &args, &bytes));
    let again = folder.path().join("outputs/recipe-002/image.png");
    assert_eq!(fs::read(again).expect("a picture"), bytes);
    let output = with_input(folder.path(), &args, b"prompts: a\nsetps: 1\n");
    assert_refused(&output, 2, "error: standard input:2:1: unknown key `setps`");
    let output = with_input(folder.path(), &["recipe", "check", "-"], RECIPE.as_bytes());
    assert_eq!(text(&output.stdout), "-: ok\n");
    for (flag, told) in [
        ("--watch", "a recipe's file"),
        ("--control=-", "cannot both read"),
    ] {
        assert_refused(
            &with_input(folder.path(), &["render", "-", flag], b""),
            2,
            told,
        );
    }
}

#[test]
fn a_random_seed_is_drawn_and_recorded() {
    let folder = folder();
    let recipe = RECIPE.replace("seed: 7", "seed: random");
    fs::write(folder.path().join("ball.yaml"), recipe).expect("a file");
    let output = run(folder.path(), &["render", "ball.yaml", "--json"]);
    let report = json(&output);
    let told = format!("the seed is {0}: `--seed {0}` paints", report["seed"]);
    assert!(text(&output.stderr).contains(&told), "{output:?}");
    let path = |report: &Value| {
        folder
            .path()
            .join(report["image"].as_str().expect("a path"))
    };
    let recorded = Recipe::load(&path(&report)).expect("a recipe");
    assert_eq!(Some(recorded.seed), report["seed"].as_u64());
    // the picture, and the seed that was told, give the same again
    let image = report["image"].as_str().expect("a path");
    let again = json(&run(folder.path(), &["render", image, "--json"]));
    assert_eq!(
        fs::read(path(&again)).unwrap(),
        fs::read(path(&report)).unwrap()
    );
    let args = ["ball.yaml", "--seed", "random", "--json"];
    let other = json(&render(folder.path(), &args));
    assert_ne!(other["seed"], report["seed"]);
    let output = run(folder.path(), &["render", "ball.yaml", "--seed", "rnd"]);
    assert_refused(&output, 2, "or `random`");
}

#[test]
fn pixel_art_is_made_of_even_blocks() {
    let folder = folder();
    let set = [
        "--set",
        "output.pixel_size=8",
        "--set",
        "generator={kind: pixels, palette: 3}",
    ];
    let report = json(&run(
        folder.path(),
        &[&["render", "ball.yaml", "--json", "--quiet"], &set[..]].concat(),
    ));
    let path = folder
        .path()
        .join(report["image"].as_str().expect("a path"));
    let image = image::open(path).expect("a picture").to_rgb8();
    assert_eq!(image.dimensions(), (48, 32));
    let mut colors = std::collections::BTreeSet::new();
    for (x, y, pixel) in image.enumerate_pixels() {
        assert_eq!(pixel, image.get_pixel(x / 8 * 8, y / 8 * 8), "{x} {y}");
        colors.insert(pixel.0);
    }
    assert!((2..=3).contains(&colors.len()), "{colors:?}");
    // what a stop left is not painted on in other blocks
    let run_folder = report["run"].as_str().expect("a path");
    let recipe = folder.path().join(run_folder).join("recipe.yaml");
    let changed = fs::read_to_string(&recipe)
        .expect("a recipe")
        .replace("pixel_size: 8", "pixel_size: 4");
    fs::write(&recipe, changed).expect("a file");
    let output = run(folder.path(), &["resume", run_folder, "--steps", "4"]);
    assert_refused(&output, 2, "output.pixel_size: it is 4 here, and 8");
    let output = run(
        folder.path(),
        &["render", "ball.yaml", "--set", "output.pixel_size=7"],
    );
    assert_refused(&output, 2, "whole blocks of 7: give a `size` of 49 x 35");
}

#[test]
fn a_picture_renders_again_to_the_same_bytes() {
    let folder = folder();
    let first = json(&run(folder.path(), &["render", "ball.yaml", "--json"]));
    let image = first["image"].as_str().expect("a path");
    let second = json(&run(folder.path(), &["render", image, "--json"]));
    assert!(
        second["run"]
            .as_str()
            .is_some_and(|run| run.ends_with("ball-002")),
        "{second}"
    );
    let bytes =
        |report: &Value| fs::read(folder.path().join(report["image"].as_str().unwrap())).unwrap();
    assert_eq!(bytes(&first), bytes(&second));
}

#[test]
fn a_run_with_an_init_image_stands_alone() {
    let folder = folder();
    let start = folder.path().join("start.png");
    image::RgbImage::from_pixel(8, 8, image::Rgb([200, 30, 30]))
        .save(&start)
        .expect("a picture");
    let first = json(&run(
        folder.path(),
        &["render", "ball.yaml", "--json", "--set", "init=start.png"],
    ));
    fs::remove_file(&start).expect("the file");
    let again = first["run"].as_str().expect("a path").to_owned() + "/recipe.yaml";
    json(&run(folder.path(), &["render", &again, "--json"]));
}

#[test]
fn an_output_folder_that_is_a_file_is_told() {
    let folder = folder();
    let output = run(
        folder.path(),
        &["render", "ball.yaml", "--out", "ball.yaml"],
    );
    assert_refused(
        &output,
        1,
        "error: cannot create the folder `ball.yaml` (a file is in the way",
    );
}

#[test]
fn a_damaged_init_image_is_told() {
    let folder = folder();
    fs::write(folder.path().join("start.png"), b"\x89PNG\r\n\x1a\n").expect("a file");
    let output = run(
        folder.path(),
        &["render", "ball.yaml", "--set", "init=start.png"],
    );
    assert_refused(&output, 1, "cannot read the picture `start.png`: ");
}

/// Waits until the run has metrics.
fn painting(folder: &Path, child: &mut Child) {
    let metrics = folder.join("outputs/ball-001/metrics.jsonl");
    let start = Instant::now();
    while !metrics.exists() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "no step was taken"
        );
        assert!(
            child.try_wait().expect("the program").is_none(),
            "it ended early"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_saves_and_exits_with_130() {
    let folder = folder();
    let mut child = program(
        folder.path(),
        &["render", "ball.yaml", "--steps", "100000", "--json"],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .expect("the program");
    painting(folder.path(), &mut child);
    interrupt(&child);
    assert_eq!(child.wait().expect("the program").code(), Some(130));
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .expect("stdout")
        .read_to_string(&mut stdout)
        .expect("text");
    let report: Value = serde_json::from_str(stdout.trim()).expect("JSON");
    assert!(
        report["steps"]
            .as_u64()
            .is_some_and(|steps| steps < 100_000)
    );
    image::open(
        folder
            .path()
            .join(report["image"].as_str().expect("a path")),
    )
    .expect("a picture");
}

/// Whatever ends the program, what is there is whole.
#[test]
fn a_killed_render_leaves_a_picture() {
    let folder = folder();
    let mut child = program(
        folder.path(),
        &["render", "ball.yaml", "--steps", "100000", "--quiet"],
    )
    .stdout(Stdio::null())
    .spawn()
    .expect("the program");
    painting(folder.path(), &mut child);
    let image = folder.path().join("outputs/ball-001/image.png");
    let start = Instant::now();
    while !image.exists() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("the program");
    child.wait().expect("the program");
    image::open(image).expect("a picture");
}

#[test]
fn a_video_is_made_of_the_frames() {
    let folder = folder();
    let output = run(
        folder.path(),
        &[
            "render",
            "ball.yaml",
            "--set",
            "output.video=webp",
            "--json",
            "--quiet",
        ],
    );
    let report = json(&output);
    let video = folder
        .path()
        .join(report["video"].as_str().expect("a path"));
    assert_eq!(&fs::read(video).expect("a file")[8..12], b"WEBP");
}

#[test]
fn a_video_that_cannot_be_made_is_refused_before_the_render() {
    let folder = folder();
    let output = program(
        folder.path(),
        &["render", "ball.yaml", "--set", "output.video=mp4"],
    )
    .env("PATH", "")
    .output()
    .expect("the program");
    assert_refused(&output, 1, "install ffmpeg");
    assert!(!folder.path().join("outputs").exists());
    let video = RECIPE.replace("every: 2", "every: 2, video: mp4");
    fs::write(folder.path().join("video.yaml"), video).expect("a file");
    let output = program(
        folder.path(),
        &["recipe", "check", "video.yaml", "ball.yaml"],
    )
    .env("PATH", "")
    .output()
    .expect("the program");
    assert_refused(&output, 1, "error: video.yaml: output.video: ");
    assert_eq!(text(&output.stdout), "ball.yaml: ok\n");
}

#[test]
fn a_chains_video_has_its_largest_stages_size() {
    let folder = folder();
    let chain = "prompts: a red ball\ncutouts: { count: 1 }\noutput: { every: 1, video: webp }\n\
                 generator:\n\
                 \x20 - { kind: pyramid, steps: 1, size: [48, 32] }\n\
                 \x20 - { kind: pixels, steps: 1, size: [24, 24] }\n";
    fs::write(folder.path().join("chain.yaml"), chain).expect("a file");
    let report = json(&run(
        folder.path(),
        &["render", "chain.yaml", "--json", "--quiet"],
    ));
    let video = folder
        .path()
        .join(report["video"].as_str().expect("a path"));
    let reader = image::ImageReader::open(video).expect("a file");
    assert_eq!(reader.into_dimensions().expect("a video"), (48, 32));
}

/// A small automaton, its steps few.
const MOSS: &str = "prompts: green moss\nsize: [24, 20]\nsteps: 3\nseed: 7\ncutouts: { count: 1 }\n\
                    generator: { kind: cellular, iterations: [2, 4], pool: 2, batch: 2, hidden: 16 }\n";

#[test]
fn a_cellular_automaton_leaves_a_rule_that_grows_at_any_size() {
    let folder = folder();
    fs::write(folder.path().join("moss.yaml"), MOSS).expect("a file");
    let report = json(&run(
        folder.path(),
        &["render", "moss.yaml", "--json", "--quiet"],
    ));
    let moss = report["run"].as_str().expect("a run");
    let grow = |extra: &[&str]| {
        let args = [
            &["grow", moss, "--size", "37x50", "--steps", "9", "--json"],
            extra,
        ]
        .concat();
        json(&run(folder.path(), &args))
    };
    let grown = grow(&["--video", "gif"]);
    let path =
        |report: &Value, key: &str| folder.path().join(report[key].as_str().expect("a path"));
    assert_eq!(
        path(&grown, "run").file_name().expect("a name"),
        "moss-grown-001"
    );
    let image = image::open(path(&grown, "image")).expect("a picture");
    assert_eq!((image.width(), image.height()), (37, 50));
    assert_eq!(
        &fs::read(path(&grown, "video")).expect("a file")[..3],
        b"GIF"
    );
    // the same seed grows the same, whether it is filmed or not, and another does not
    assert_eq!(
        image::open(path(&grow(&[]), "image")).expect("a picture"),
        image
    );
    assert_ne!(
        image::open(path(&grow(&["--seed", "2"]), "image")).expect("a picture"),
        image
    );
}

#[test]
fn a_run_that_stays_flat_says_so_and_what_to_change() {
    let folder = folder();
    fs::write(folder.path().join("moss.yaml"), MOSS).expect("a file");
    let output = run(
        folder.path(),
        &[
            "render",
            "moss.yaml",
            "--json",
            "--steps",
            "20",
            "--set",
            "generator.lr=1e-9",
        ],
    );
    let stderr = text(&output.stderr);
    for words in [
        "warning: the picture is nearly one even colour",
        "`generator.lr`",
        "`terms.contrast: 0.15`",
    ] {
        assert!(stderr.contains(words), "{stderr}");
    }
    let contrast = json(&output)["contrast"].as_f64().expect("a number");
    assert!(contrast < 0.025, "{contrast}");
    // a picture that shows something gives no warning
    let output = run(
        folder.path(),
        &["render", "ball.yaml", "--json", "--steps", "20"],
    );
    let stderr = text(&output.stderr);
    assert!(!stderr.contains("even colour"), "{stderr}");
    let contrast = json(&output)["contrast"].as_f64().expect("a number");
    assert!(contrast > 0.025, "{contrast}");
}

#[test]
fn grow_refuses_what_is_no_rule() {
    let folder = folder();
    for (args, code, message) in [
        (
            &["grow", "none.safetensors"][..],
            1,
            "cannot read `none.safetensors`",
        ),
        (&["grow", "ball.yaml"], 1, "not a whole safetensors file"),
        (&["grow", "."], 1, "holds no rule.safetensors"),
        (
            &["grow", "x", "--size", "0x5"],
            2,
            "expected width and height",
        ),
    ] {
        assert_refused(&run(folder.path(), args), code, message);
    }
    assert!(!folder.path().join("outputs").exists());
}
