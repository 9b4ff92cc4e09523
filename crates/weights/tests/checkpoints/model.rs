//! A checkpoint may hold more than the model: its tensors are found among the others, and what remains unused is reported.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use phantasia_weights::checkpoint::{Checkpoint, Scope};

/// A checkpoint of small tensors of these names.
fn named(names: &[&str]) -> Checkpoint {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("named.safetensors");
    let tensors: HashMap<&str, Tensor> = (names.iter())
        .enumerate()
        .map(|(i, name)| {
            (
                *name,
                Tensor::new(&[i as f32], &Device::Cpu).expect("a tensor"),
            )
        })
        .collect();
    candle_core::safetensors::save(&tensors, &path).expect("written");
    Checkpoint::open(&path).expect("a checkpoint")
}

fn found(names: &[&str], wanted: &str) {
    let mut checkpoint = named(names);
    assert!(
        checkpoint.locate(&["in.weight"]).expect("one model"),
        "{names:?}"
    );
    let value = checkpoint
        .tensor("in.weight", &[1])
        .and_then(|w| Ok(w.to_vec1::<f32>()?));
    assert_eq!(
        value.expect("a value")[0],
        names.iter().position(|name| *name == wanted).expect("one") as f32
    );
}

#[test]
fn a_model_is_found_whatever_stands_in_front_of_it() {
    for prefix in [
        "",
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "model.",
        "clip.",
        "net.a.b.c.",
        "state_dict.model.",
    ] {
        let name = format!("{prefix}in.weight");
        found(
            &["head.in.bias", &name, "n_averaged", "begin.weight"],
            &name,
        );
    }
}

#[test]
fn weights_are_preferred_to_their_averages() {
    for average in ["ema.", "model_ema.", "ema_state_dict.", "params_ema."] {
        found(
            &[&format!("{average}in.weight"), "model.in.weight"],
            "model.in.weight",
        );
    }
    let mut checkpoint = named(&["model.in.weight", "ema.in.weight"]);
    checkpoint.locate(&["in.weight"]).expect("one model");
    checkpoint.tensor("in.weight", &[1]).expect("a tensor");
    let notes = checkpoint.finish(Scope::All, &[]).expect("all used");
    assert!(
        notes.len() == 1 && notes[0].contains("EMA") && notes[0].contains("weights are used"),
        "{notes:?}"
    );
}

#[test]
fn lone_averages_are_used_and_reported() {
    let mut checkpoint = named(&["epoch_ema.in.weight", "step"]);
    assert!(checkpoint.locate(&["in.weight"]).expect("one model"));
    checkpoint.tensor("in.weight", &[1]).expect("a tensor");
    let notes = checkpoint.finish(Scope::All, &[]).expect("all used");
    assert!(
        notes.iter().any(|note| note.contains("`epoch_ema.*`")),
        "{notes:?}"
    );
}

#[test]
fn several_models_are_refused_by_their_names() {
    let mut checkpoint = named(&["student.in.weight", "teacher.in.weight"]);
    let error = checkpoint
        .locate(&["in.weight"])
        .expect_err("two")
        .to_string();
    assert!(error.contains("`student.*`, `teacher.*`"), "{error}");
}

#[test]
fn what_an_optimizer_keeps_is_no_model() {
    found(&["optimizer.state.in.weight", "in.weight"], "in.weight");
}

#[test]
fn unused_tensors_are_refused_by_their_names_and_number() {
    let extra = [
        "a.in.weight",
        "a.b.gamma",
        "a.c.gamma",
        "a.d.gamma",
        "a.e.gamma",
        "a.f.gamma",
    ];
    let mut checkpoint = named(&extra);
    checkpoint.locate(&["in.weight"]).expect("one model");
    checkpoint.tensor("in.weight", &[1]).expect("a tensor");
    let error = checkpoint
        .finish(Scope::All, &[])
        .expect_err("unused")
        .to_string();
    assert!(
        error.contains("5 tensors (`a.b.gamma`") && error.contains("and 1 more"),
        "{error}"
    );
    let left = checkpoint.finish(Scope::All, &["b.", "c.", "d.", "e.", "f."]);
    assert_eq!(left.expect("left on purpose"), [""; 0]);
}

#[test]
fn tensors_without_effect_are_ignored() {
    let mut checkpoint = named(&[
        "m.in.weight",
        "m.logit_scale",
        "m.attn_mask",
        "m.text.embeddings.position_ids",
        "m.bn.num_batches_tracked",
        "m.loss.perceptual.lin0",
        "m.quantize.cluster_size",
        "n_averaged",
        "optimizer.state.0.exp_avg",
        "input_resolution",
    ]);
    checkpoint.locate(&["in.weight"]).expect("one model");
    checkpoint.tensor("in.weight", &[1]).expect("a tensor");
    assert_eq!(
        checkpoint.finish(Scope::All, &[]).expect("harmless"),
        [""; 0]
    );
    // the scale of an attention is not that of a loss
    let mut checkpoint = named(&["in.weight", "blocks.0.attn.logit_scale"]);
    checkpoint.locate(&["in.weight"]).expect("one model");
    checkpoint.tensor("in.weight", &[1]).expect("a tensor");
    assert!(checkpoint.finish(Scope::All, &[]).is_err());
}

#[test]
fn unused_tensors_of_other_parts_are_reported() {
    let mut checkpoint = named(&["m.in.weight", "m.head.weight", "other"]);
    checkpoint.locate(&["in.weight"]).expect("one model");
    checkpoint.tensor("in.weight", &[1]).expect("a tensor");
    let notes = checkpoint.finish(Scope::Parts, &[]).expect("beside");
    assert!(
        notes.len() == 1 && notes[0].contains("`m.head.weight`") && notes[0].contains("`other`"),
        "{notes:?}"
    );
    let error = checkpoint
        .finish(Scope::All, &[])
        .expect_err("unused")
        .to_string();
    assert!(
        error.contains("`m.head.weight`") && !error.contains("`other`"),
        "{error}"
    );
}
