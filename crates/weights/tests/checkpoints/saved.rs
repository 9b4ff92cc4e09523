//! What PyTorch saved, and checkpoints in several files, read as they were.

use candle_core::{DType, Device, Tensor};
use phantasia_weights::checkpoint::Checkpoint;

use crate::made::{archive, one_tensor, stream, viewed};
use crate::{fixture, opened};

/// Every tensor of the reference is in the checkpoint, to the bit.
fn same(checkpoint: &str, reference: &str) {
    let wanted =
        candle_core::safetensors::load(fixture(reference), &Device::Cpu).expect("reference");
    let found = Checkpoint::open(&fixture(checkpoint)).expect("a checkpoint");
    assert!(!wanted.is_empty());
    for (key, wanted) in wanted {
        if wanted.dtype() != DType::F32 {
            continue;
        }
        let tensor = found
            .tensor(&key, wanted.dims())
            .unwrap_or_else(|error| panic!("{key}: {error}"));
        let values = |tensor: &Tensor| tensor.flatten_all().and_then(|t| t.to_vec1::<f32>());
        assert_eq!(
            values(&tensor).expect("values"),
            values(&wanted).expect("values"),
            "{key}"
        );
    }
}

#[test]
fn a_state_dict_of_every_type_and_stride() {
    same("state.pt", "reference.safetensors");
}

#[test]
fn a_state_dict_within_a_training_checkpoint() {
    same("nested.ckpt", "reference.safetensors");
    let checkpoint = Checkpoint::open(&fixture("nested.ckpt")).expect("a checkpoint");
    assert!(checkpoint.keys().all(|key| !key.contains("optimizer")));
}

#[test]
fn the_module_around_a_parallel_model_is_dropped() {
    same("parallel.pt", "reference.safetensors");
}

#[test]
fn protocols_four_and_five() {
    same("protocol4.pt", "reference.safetensors");
    same("protocol5.pt", "reference.safetensors");
}

#[test]
fn compressed_parts() {
    same("deflated.pt", "reference.safetensors");
}

#[test]
fn the_stream_from_before_pytorch_1_6() {
    same("legacy.pt", "reference.safetensors");
    same("legacy4.pt", "reference.safetensors");
}

/// Every matrix of a fixture that lies row by row has the rows of the whole tensor, in any order and more than once.
fn rows(name: &str) -> (usize, usize) {
    let checkpoint = Checkpoint::open(&fixture(name)).expect("a checkpoint");
    let keys: Vec<String> = checkpoint.keys().map(str::to_owned).collect();
    let (mut flat, mut other) = (0, 0);
    for key in keys {
        let Some(&[count, columns]) = checkpoint.shape(&key).filter(|shape| !shape.contains(&0))
        else {
            continue;
        };
        let Ok(whole) = checkpoint.tensor(&key, &[count, columns]) else {
            continue;
        };
        match checkpoint.rows(&key, [count, columns]).expect(&key) {
            None => other += 1,
            Some(rows) => {
                flat += 1;
                let last = count as u32 - 1;
                let found = rows
                    .read(&[last, 0, last])
                    .and_then(|rows| Ok(rows.to_vec2::<f32>()?));
                let whole = whole.to_vec2::<f32>().expect("values");
                let wanted = [last, 0, last].map(|row| whole[row as usize].clone());
                assert_eq!(found.expect(&key), wanted, "{key}");
                let error = rows.read(&[0, count as u32]).expect_err(&key).to_string();
                assert!(error.contains(&format!("no row {count}")), "{error}");
            }
        }
    }
    (flat, other)
}

#[test]
fn rows_are_read_one_by_one_where_they_lie_so() {
    let (flat, strided) = rows("state.pt");
    assert!(flat > 3 && strided > 0, "{flat} {strided}");
    assert_eq!(rows("deflated.pt").0, 0);
    assert!(rows("reference.safetensors").0 > 3);
    assert!(rows("legacy.pt").0 > 3);
    let checkpoint = Checkpoint::open(&fixture("state.pt")).expect("a checkpoint");
    let error = checkpoint.rows("nothing", [1, 1]).expect_err("missing");
    assert!(error.to_string().contains("no tensor `nothing`"), "{error}");
}

#[test]
fn integers_booleans_and_tensors_that_overlap_are_read_if_they_are_asked_for() {
    same("odd2.pt", "odd.safetensors");
    same("odd5.pt", "odd.safetensors");
}

#[test]
fn unreadable_values_are_errors_only_if_requested() {
    for name in ["odd2.pt", "odd5.pt"] {
        let checkpoint = Checkpoint::open(&fixture(name)).expect("a checkpoint");
        for (key, shape, said) in [("complex", 2, "C64"), ("wide", 2, "U16")] {
            let error = checkpoint.tensor(key, &[shape]).expect_err("no numbers");
            let error = error.to_string();
            assert!(error.contains(key) && error.contains(said), "{error}");
        }
    }
}

#[test]
fn torchscript() {
    same("script.pt", "script.safetensors");
}

#[test]
fn a_divided_checkpoint() {
    same(
        "shards/model.safetensors.index.json",
        "reference.safetensors",
    );
}

#[test]
fn the_hand_made_archive_is_a_good_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("good.pt");
    std::fs::write(&path, archive(&one_tensor("0", 0, &[2, 2], &[2, 1]))).expect("written");
    let checkpoint = Checkpoint::open(&path).expect("a checkpoint");
    assert!(checkpoint.tensor("w", &[2, 2]).is_ok());
    let error = checkpoint
        .tensor("w", &[4])
        .expect_err("another shape")
        .to_string();
    assert!(
        error.contains("[2, 2]") && error.contains("[4]") && error.contains("good.pt"),
        "{error}"
    );
}

#[test]
fn a_foreign_class_is_never_run_and_said_when_asked_for() {
    let checkpoint = Checkpoint::open(&fixture("foreign.pt")).expect("a checkpoint");
    assert!(checkpoint.tensor("weight", &[2, 2]).is_ok());
    let error = checkpoint
        .tensor("rate", &[])
        .expect_err("foreign")
        .to_string();
    assert!(
        error.contains("fractions.Fraction") && error.contains("never run"),
        "{error}"
    );
}

#[test]
fn a_whole_module_says_to_save_its_state_dict() {
    let error = Checkpoint::open(&fixture("module.pt"))
        .err()
        .expect("refused")
        .to_string();
    assert!(
        error.contains("torch.nn.modules.linear.Linear") && error.contains("state_dict()"),
        "{error}"
    );
}

#[test]
fn views_of_storages_in_files_of_python_2() {
    let checkpoint = opened(&stream(&viewed(), &[("7", &[1.0, 2.0, 3.0, 4.0])]));
    let values = checkpoint
        .tensor("w", &[2])
        .and_then(|w| Ok(w.to_vec1::<f32>()?));
    assert_eq!(values.expect("values"), [2.0, 3.0]);
}
