//! 8-bit floats: every value, read from safetensors and from pickles, and their scales.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use phantasia_weights::checkpoint::{Branch, Checkpoint, Scope};
use safetensors::tensor::{Dtype, TensorView};

static FLOATS: &[u8] = include_bytes!("../fixtures/float8/floats.safetensors");

fn path(name: &str) -> PathBuf {
    crate::fixture("../float8").join(name)
}

fn opened(name: &str) -> Checkpoint {
    Checkpoint::open(&path(name)).expect("a checkpoint")
}

fn reference(name: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(path(name), &Device::Cpu).expect("the reference")
}

/// The numbers as bits, of which those of NaN are all the same.
fn bits(tensor: &Tensor) -> Vec<u32> {
    let tensor = tensor.to_dtype(DType::F32).and_then(|t| t.flatten_all());
    let values = tensor.and_then(|t| t.to_vec1::<f32>()).expect("values");
    let bits = |value: f32| {
        if value.is_nan() {
            u32::MAX
        } else {
            value.to_bits()
        }
    };
    values.into_iter().map(bits).collect()
}

/// Every tensor of the reference that the checkpoint has is the same in both; returns how many these are.
fn same(checkpoint: &Checkpoint, file: &str) -> usize {
    let wanted = reference(file);
    let wanted = wanted.iter().filter(|(key, _)| checkpoint.has(key));
    wanted
        .map(|(key, wanted)| {
            let found = checkpoint.tensor(key, wanted.dims()).expect(key);
            assert_eq!(bits(&found), bits(wanted), "{key}");
        })
        .count()
}

#[test]
fn every_value_is_pytorchs() {
    assert_eq!(
        same(&opened("floats.safetensors"), "reference.safetensors"),
        4
    );
    assert_eq!(same(&opened("floats.pt"), "reference.safetensors"), 5);
    let inside = Checkpoint::from_static("inside", FLOATS).expect("a checkpoint");
    assert_eq!(same(&inside, "reference.safetensors"), 4);
    let e5m2 = bits(&inside.tensor("e5m2", &[256]).expect("values"));
    assert_eq!(e5m2[0xfc], f32::NEG_INFINITY.to_bits());
    assert_eq!(e5m2[0x80], (-0.0f32).to_bits());
}

#[test]
fn they_become_any_type_as_others_do() {
    let checkpoint = opened("floats.safetensors");
    let wanted = reference("reference.safetensors");
    let branch = Branch::root(&checkpoint, &Device::Cpu);
    for key in ["e4m3", "e5m2"] {
        // all of them have all 8-bit numbers
        for dtype in [DType::F16, DType::BF16, DType::F32] {
            let found = branch.of_types(dtype, dtype).get(key, &[256]).expect(key);
            assert_eq!(found.dtype(), dtype);
            assert_eq!(bits(&found), bits(&wanted[key]), "{key} {dtype:?}");
        }
    }
}

#[test]
fn rows_are_read_one_by_one() {
    for name in ["floats.safetensors", "floats.pt"] {
        let checkpoint = opened(name);
        let rows = checkpoint.rows("matrix", [5, 3]).expect("a matrix");
        let rows = rows.expect("flat").read(&[4, 1]).expect("rows");
        let whole = &reference("reference.safetensors")["matrix"];
        let wanted = Tensor::stack(&[whole.get(4).expect("row"), whole.get(1).expect("row")], 0);
        assert_eq!(bits(&rows), bits(&wanted.expect("rows")), "{name}");
    }
}

#[test]
fn other_floats_of_eight_bits_are_refused_by_their_names() {
    let error = opened("floats.pt")
        .tensor("unsigned", &[4])
        .expect_err("another");
    let error = error.to_string();
    assert!(
        error.contains("float8_e4m3fnuz") && error.contains("f8_e4m3, f8_e5m2"),
        "{error}"
    );
}

#[test]
fn scales_are_multiplied_and_all_that_belongs_to_them_is_used() {
    let mut checkpoint = opened("scaled.safetensors");
    assert!(checkpoint.locate(&["plain.weight"]).expect("one model"));
    let wanted = reference("scaled_reference.safetensors");
    for (key, wanted) in &wanted {
        let name = &key["m.".len()..];
        let found = checkpoint.tensor(name, wanted.dims()).expect(key);
        assert_eq!(bits(&found), bits(wanted), "{key}");
    }
    let notes = checkpoint.finish(Scope::All, &[]).expect("all used");
    assert_eq!(notes, [""; 0]);
    // rows of a scaled matrix cannot be taken from the file as they are
    for key in ["old.weight", "new.weight"] {
        assert!(checkpoint.rows(key, [4, 3]).expect(key).is_none(), "{key}");
    }
}

/// A checkpoint of two tensors: a matrix `m.weight` of type `dtype`, and an f32 tensor `scale` of shape `shape`, whose elements are all 2.
fn with_scale(dtype: Dtype, scale: &str, shape: &[usize]) -> Checkpoint {
    let numbers = vec![0x38; 4 * dtype.bitsize() / 8];
    let scales: Vec<u8> = (0..shape.iter().product::<usize>())
        .flat_map(|_| 2f32.to_le_bytes())
        .collect();
    let view = |dtype, shape: &[usize], bytes| {
        TensorView::new(dtype, shape.to_vec(), bytes).expect("a tensor")
    };
    let tensors = [
        ("m.weight", view(dtype, &[2, 2], &numbers)),
        (scale, view(Dtype::F32, shape, &scales)),
    ];
    let bytes = safetensors::serialize(tensors, None).expect("a file");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scaled.safetensors");
    std::fs::write(&path, bytes).expect("written");
    Checkpoint::open(&path).expect("a checkpoint")
}

#[test]
fn scales_that_are_not_applied_are_refused_by_their_names() {
    for shape in [&[2][..], &[2, 1], &[0]] {
        for scale in ["m.scale_weight", "m.weight_scale"] {
            let checkpoint = with_scale(Dtype::F8_E4M3, scale, shape);
            let error = checkpoint.tensor("m.weight", &[2, 2]).expect_err("scaled");
            let error = error.to_string();
            assert!(
                error.contains("`m.weight`") && error.contains(&format!("`{scale}` of shape")),
                "{error}"
            );
            assert!(checkpoint.rows("m.weight", [2, 2]).is_err());
        }
    }
    // blocks of a matrix, and scales of weights that are not of eight bits
    for (dtype, scale, shape) in [
        (Dtype::F8_E4M3, "m.weight_scale_inv", &[1, 1][..]),
        (Dtype::F32, "m.scale_weight", &[]),
        (Dtype::I8, "m.weight_scale", &[1]),
    ] {
        let checkpoint = with_scale(dtype, scale, shape);
        checkpoint.tensor("m.weight", &[2, 2]).expect("a tensor");
        let error = checkpoint.finish(Scope::All, &[]).expect_err("unused");
        assert!(error.to_string().contains(scale), "{error}");
    }
}

#[test]
fn a_scale_of_one_number_multiplies() {
    let checkpoint = with_scale(Dtype::F8_E4M3, "m.scale_weight", &[1]);
    let weight = checkpoint.tensor("m.weight", &[2, 2]).expect("a tensor");
    // 0x38 is 1
    assert_eq!(bits(&weight), [2f32.to_bits(); 4]);
}
