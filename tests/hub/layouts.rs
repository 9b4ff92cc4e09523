//! Which files of a repository are fetched, and at which revision.

use std::fs;

use crate::common::program::{assert_refused, text};
use crate::server::{Answer, COMMIT, hub_of, serve};
use crate::shared::{clip, fetch, folder, run};

#[test]
fn open_clips_files_are_preferred_to_timms() {
    let folder = folder();
    let hub = serve(|_, path| {
        let files: &[(&str, &[u8])] = &[
            ("config.json", b"timm's"),
            ("model.safetensors", b"an image tower"),
            ("open_clip_config.json", b"{}"),
            ("open_clip_model.safetensors", b"a CLIP"),
            ("tokenizer.json", b"{}"),
        ];
        hub_of(files, path)
    });
    for name in ["RN50/cc12m", "timm/resnet50_clip.of_somebody"] {
        let fetched = fetch(&hub, folder.path(), name).expect("fetched");
        assert_eq!(
            fetched.files,
            [
                "open_clip_config.json",
                "tokenizer.json",
                "open_clip_model.safetensors"
            ],
            "{name}"
        );
    }
}

#[test]
fn a_diffusion_model_is_fetched_at_the_root_and_as_a_pipeline() {
    let root: &[(&str, &[u8])] = &[
        ("config.json", b"{}"),
        ("scheduler_config.json", b"{}"),
        ("diffusion_pytorch_model.bin", b"weights"),
    ];
    let pipeline: &[(&str, &[u8])] = &[
        ("unet/config.json", b"{}"),
        ("scheduler/scheduler_config.json", b"{}"),
        ("unet/diffusion_pytorch_model.safetensors", b"weights"),
    ];
    for files in [root, pipeline] {
        let hub = serve(move |_, path| hub_of(files, path));
        for name in ["wikiart", "google/ddpm-church-256", "owner/name"] {
            let folder = folder();
            let fetched = fetch(&hub, folder.path(), name).expect("fetched");
            let expected: Vec<&str> = files.iter().map(|(file, _)| *file).collect();
            assert_eq!(fetched.files, expected, "{name}");
        }
    }
}

#[test]
fn weights_that_are_divided_come_with_all_their_parts() {
    let folder = folder();
    let list = br#"{ "weight_map": { "a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors", "d": "../../escaped" } }"#;
    let hub = serve(|_, path| {
        let files: &[(&str, &[u8])] = &[
            ("config.json", b"{}"),
            ("model.safetensors.index.json", list),
            ("model-1.safetensors", b"one"),
            ("model-2.safetensors", b"two"),
            ("escaped", b"no"),
        ];
        hub_of(files, path)
    });
    let fetched = fetch(&hub, folder.path(), "owner/name").expect("fetched");
    let expected = [
        "config.json",
        "model.safetensors.index.json",
        "model-1.safetensors",
        "model-2.safetensors",
    ];
    assert_eq!(fetched.files, expected);
    assert!(hub.log().iter().all(|line| !line.contains("escaped")));
}

#[test]
fn what_a_layout_lacks_is_named() {
    let folder = folder();
    let hub = serve(|_, path| hub_of(&[("config.json", b"{}")], path));
    let error = fetch(&hub, folder.path(), "openai/clip-vit-base-patch16").expect_err("no weights");
    assert!(
        error
            .to_string()
            .contains("has no model.safetensors or model.fp16.safetensors or"),
        "{error}"
    );
    // conversions on a branch are those of one repository
    assert!(
        hub.log().iter().all(|line| !line.contains("pr%2F15")),
        "{:?}",
        hub.log()
    );
    let empty = serve(|_, _| Answer::nothing());
    let error = fetch(&empty, folder.path(), "owner/name@v2").expect_err("nothing");
    assert!(
        error.to_string().contains("no supported model files"),
        "{error}"
    );
    assert!(error.to_string().contains("at `v2`"), "{error}");
    assert!(empty.log().iter().all(|line| line.contains("/resolve/v2/")));
}

#[test]
fn a_revision_is_fetched_and_found_again() {
    let (folder, hub) = (folder(), clip());
    let endpoint = ("HF_ENDPOINT", hub.endpoint.as_str());
    let repository = folder.path().join("home/hub/models--owner--name");
    for name in ["owner/name@refs/pr/3", "owner/name@v1", "owner/name/@v1"] {
        let output = run(
            folder.path(),
            &[endpoint],
            &["models", "fetch", name, "--quiet"],
        );
        assert!(output.status.success(), "{}", text(&output.stderr));
        let path = run(folder.path(), &[], &["models", "path", name]);
        assert_eq!(text(&path.stdout), text(&output.stdout));
        assert!(path.stderr.is_empty(), "{}", text(&path.stderr));
    }
    assert!(
        hub.log()
            .iter()
            .any(|line| line.contains("/resolve/refs%2Fpr%2F3/"))
    );
    for name in ["refs/pr/3", "v1"] {
        assert_eq!(
            fs::read_to_string(repository.join("refs").join(name)).expect("a file"),
            COMMIT
        );
    }
    assert!(!repository.join("refs/main").exists());
    // a commit leaves no reference
    let name = format!("owner/other@{COMMIT}");
    let output = run(
        folder.path(),
        &[endpoint],
        &["models", "fetch", &name, "--quiet"],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        !folder
            .path()
            .join("home/hub/models--owner--other/refs")
            .exists()
    );
    let output = run(
        folder.path(),
        &[endpoint],
        &["models", "fetch", "owner/name@../../x"],
    );
    assert_refused(
        &output,
        1,
        "`../../x` in `owner/name@../../x` is not a valid revision",
    );
}
