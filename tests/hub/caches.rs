//! Caches as other programs leave them.

use std::fs;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::common::fixture;
use crate::common::program::{assert_refused, json, text};
use crate::shared::{folder, run};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A cache with `me/pinned`, downloaded by its commit, and `me/moved`, whose `main` has moved on to a snapshot that holds only config.json. The
/// snapshots are copies, as on file systems without links.
fn left_by_others() -> TempDir {
    let folder = folder();
    let cache = folder.path().join("home/hub");
    for repository in ["models--me--pinned", "models--me--moved"] {
        let snapshot = cache.join(repository).join("snapshots").join(A);
        fs::create_dir_all(&snapshot).expect("a folder");
        fs::create_dir_all(cache.join(repository).join("refs")).expect("a folder");
        for file in ["config.json", "model.safetensors", "tokenizer.json"] {
            fs::copy(fixture("clip-hf-quick").join(file), snapshot.join(file)).expect("a copy");
        }
    }
    let moved = cache.join("models--me--moved");
    fs::create_dir_all(moved.join("snapshots").join(B)).expect("a folder");
    fs::copy(
        fixture("clip-hf-quick/config.json"),
        moved.join("snapshots").join(B).join("config.json"),
    )
    .expect("a copy");
    fs::write(moved.join("refs/main"), B).expect("a file");
    let picture =
        image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([x as u8 * 8, y as u8 * 8, 90]));
    picture
        .save(folder.path().join("a.png"))
        .expect("a picture");
    folder
}

fn score(folder: &Path, clip: &str) -> Output {
    run(
        folder,
        &[("HF_HUB_OFFLINE", "1")],
        &[
            "score", "--clip", clip, "--prompt", "a cat", "--json", "a.png",
        ],
    )
}

#[test]
fn a_whole_snapshot_is_taken_and_named() {
    let folder = left_by_others();
    let path = folder.path();
    fs::create_dir(path.join("own@main")).expect("a folder");
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(
            fixture("clip-hf-quick").join(file),
            path.join("own@main").join(file),
        )
        .expect("a copy");
    }
    let scores = |output: &Output| json(output)["results"][0]["score"].as_f64();
    // lines about snapshots: one, or none
    let told = |output: &Output| {
        let stderr = text(&output.stderr);
        let lines = stderr.lines().filter(|line| line.contains("snapshot"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    // a folder, whatever its name
    let own = score(path, "own@main");
    let expected = scores(&own);
    assert!(expected.is_some() && told(&own).is_empty());
    for (name, why) in [
        ("me/pinned", "has no snapshot of `main`"),
        ("me/pinned/", "has no snapshot of `main`"),
        ("me/moved", "only config.json"),
    ] {
        let output = score(path, name);
        assert_eq!(scores(&output), expected, "{name}");
        let [line] = told(&output).try_into().expect("one line");
        assert!(
            line.contains(why) && line.contains(&format!("snapshots/{A}")),
            "{line}"
        );
    }
    for name in ["me/pinned@", "me/moved@"] {
        for revision in [A, "aaaaaaaa"] {
            let output = score(path, &format!("{name}{revision}"));
            assert_eq!(scores(&output), expected, "{name}");
            assert!(told(&output).is_empty(), "{}", text(&output.stderr));
        }
    }
}

#[test]
fn a_revision_that_is_not_here_is_an_error_that_names_what_is() {
    let folder = left_by_others();
    for revision in [B, "main", "v3"] {
        let output = score(folder.path(), &format!("me/moved@{revision}"));
        assert_refused(
            &output,
            1,
            &format!("`me/moved@{revision}` is not on this machine"),
        );
        let stderr = text(&output.stderr);
        for part in [A, B, "main: only config.json", "models fetch me/moved@"] {
            assert!(stderr.contains(part), "no {part} in {stderr}");
        }
    }
    let output = score(folder.path(), "me/moved@../../..");
    assert_refused(
        &output,
        1,
        "`../../..` in `me/moved@../../..` is not a valid revision",
    );
}

#[test]
fn a_recipe_keeps_the_revision_as_it_was_typed() {
    let folder = left_by_others();
    let recipe = format!(
        "prompts: a cat\nsize: 32x32\nsteps: 1\nclip: [{{ model: me/pinned@{A} }}]\ncutouts: {{ count: 1 }}\n"
    );
    fs::write(folder.path().join("r.yaml"), recipe).expect("a recipe");
    let output = run(
        folder.path(),
        &[("HF_HUB_OFFLINE", "1")],
        &["render", "r.yaml", "--quiet", "--out", "out"],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let run_folder = (fs::read_dir(folder.path().join("out")).expect("a folder"))
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.join("recipe.yaml").is_file())
        .unwrap_or_else(|| folder.path().join("out"));
    let written = fs::read_to_string(run_folder.join("recipe.yaml")).expect("a recipe");
    assert!(written.contains(&format!("me/pinned@{A}")), "{written}");
    // what can be no revision is told before any work
    let astray = "prompts: a cat\nclip: [{ model: me/pinned@../x }]\n";
    fs::write(folder.path().join("astray.yaml"), astray).expect("a recipe");
    let output = run(folder.path(), &[], &["recipe", "check", "astray.yaml"]);
    assert_refused(
        &output,
        2,
        "clip.0.model: `../x` in `me/pinned@../x` is not a valid revision",
    );
}

#[test]
fn models_list_and_path_answer_for_every_name() {
    let folder = left_by_others();
    let models = |args: &[&str]| {
        let mut all = vec!["models"];
        all.extend(args);
        run(folder.path(), &[("HF_HUB_OFFLINE", "1")], &all)
    };
    let parts = ["embedded", "embedded/transformer", "embedded/resnet"];
    for (command, name) in ["path", "fetch"]
        .iter()
        .flat_map(|command| parts.map(|name| (command, name)))
    {
        let output = models(&[command, name]);
        assert_eq!(text(&output.stdout), format!("{name}\n"));
        assert!(output.status.success() && text(&output.stderr).contains("part of the program"));
        assert_refused(
            &models(&[command, "embedded/things"]),
            1,
            "`embedded/resnet`",
        );
    }
    let table = text(&models(&["list"]).stdout);
    for name in parts {
        let row = format!("\n{name} ");
        assert!(table.contains(&row), "{table}");
    }
    let rows: Vec<Vec<&str>> = (table.lines())
        .map(|row| row.split_whitespace().take(3).collect())
        .collect();
    for kind in ["clip", "vqgan", "gan", "diffusion"] {
        assert!(rows.contains(&vec!["embedded", kind, "here"]), "{table}");
    }
    let output = models(&["path", "me/pinned/"]);
    assert!(text(&output.stdout).trim().ends_with(A));
    assert!(text(&output.stderr).contains("me/pinned@"));

    let report = json(&models(&[
        "list",
        "--json",
        "me/moved",
        &format!("me/pinned@{A}"),
        "wikiart",
    ]));
    let [moved, pinned, wikiart] = report["models"].as_array().expect("models").as_slice() else {
        panic!("{report}");
    };
    assert_eq!(moved["snapshots"].as_array().expect("snapshots").len(), 2);
    assert!(moved["path"].as_str().expect("a path").ends_with(A));
    assert!(moved["note"].as_str().expect("a note").contains(B));
    let main = moved["snapshots"].as_array().expect("snapshots").iter();
    let main = main.filter(|state| state["references"][0] == "main");
    assert_eq!(main.map(|state| &state["commit"]).collect::<Vec<_>>(), [B]);
    assert_eq!(pinned["revision"], A);
    assert!(pinned["note"].is_null());
    assert_eq!(
        wikiart["repository"],
        "johnowhitaker/sd-class-wikiart-from-bedrooms"
    );
    assert!(wikiart["path"].is_null());

    let several = models(&["fetch", "embedded", "embedded/resnet"]);
    assert_eq!(text(&several.stdout), "embedded\nembedded/resnet\n");
    assert_refused(
        &models(&["fetch", "embedded", "nothing like it"]),
        1,
        "there is no model",
    );

    for (name, sizes) in [
        (
            "RN50/cc12m",
            "224 x 224 pixels, and texts of up to 77 tokens",
        ),
        (
            "ViT-B-16-SigLIP2-256/webli",
            "256 x 256 pixels, and texts of up to 64 tokens",
        ),
    ] {
        let listed = text(&models(&["list", name]).stdout);
        assert!(listed.contains(sizes), "{listed}");
    }
    let listed = text(&models(&["list", "me/moved"]).stdout);
    let header = listed.lines().next().expect("a header").to_lowercase();
    assert!(
        header.contains("name") && header.contains("about"),
        "{listed}"
    );
    assert!(
        listed.contains(A) && listed.contains(&format!("{B} (main): config.json")),
        "{listed}"
    );
    let listed = text(&models(&["list"]).stdout);
    let column = listed
        .lines()
        .next()
        .expect("a header")
        .to_lowercase()
        .find("about")
        .expect("a column");
    assert!(
        listed
            .lines()
            .all(|line| line.len() <= column || line.as_bytes()[column - 1] == b' ')
    );
    assert_refused(
        &models(&["list", "nothing like it"]),
        1,
        "there is no model",
    );
}

#[test]
fn the_list_is_as_long_as_it_is_asked_for() {
    let folder = folder();
    let list = |args: &[&str]| {
        let args = [&["models", "list"][..], args].concat();
        run(folder.path(), &[("HF_HUB_OFFLINE", "1")], &args)
    };
    let names = |args: &[&str]| -> Vec<String> {
        let rows = text(&list(args).stdout);
        (rows.lines().skip(1))
            .map(|row| row.split_whitespace().next().expect("a name").to_owned())
            .collect()
    };
    let (plain, all) = (names(&[]), names(&["--all"]));
    assert!(plain.len() < 110 && all.len() > 190, "{}", plain.len());
    assert!(plain.iter().all(|name| all.contains(name)));
    let hint = text(&list(&[]).stderr);
    for part in ["more CLIPs", "--family", "siglip2", "vitamin"] {
        assert!(hint.contains(part), "{hint}");
    }
    let few = names(&["--family", "siglip2"]);
    assert_eq!(few.len(), 15);
    assert!(few.contains(&"ViT-B-16-SigLIP2/webli".to_owned()));
    assert_eq!(
        names(&["--family", "siglip2", "--search", "gopt 384"]).len(),
        1
    );
    // aliases, licences and repositories are searched too
    assert_eq!(names(&["--search", "b-32-quickgelu/CC12M"]), [""; 0]);
    assert_eq!(names(&["--search", "RN50-quickgelu/CC12M"]), ["RN50/cc12m"]);
    assert!(text(&list(&["--search", "no such"]).stderr).contains("no known model"));
    let report = json(&list(&["--json", "--search", "RN50/cc12m"]));
    let [model] = report["models"].as_array().expect("models").as_slice() else {
        panic!("{report}");
    };
    for (key, value) in [
        ("family", serde_json::json!("resnet")),
        ("architecture", serde_json::json!("RN50")),
        ("supported", serde_json::json!(true)),
        ("cached", serde_json::json!(false)),
        ("quick_gelu", serde_json::json!(true)),
        ("megabytes", serde_json::json!(408)),
        ("parameters", serde_json::json!([38317000, 63690000])),
    ] {
        assert_eq!(model[key], value, "{key}");
    }
    assert_refused(&list(&["--family", "cats"]), 2, "no family `cats`");
    assert_refused(
        &list(&["RN50", "--family", "vit"]),
        2,
        "cannot be used with",
    );
}
