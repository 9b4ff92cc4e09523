//! StyleGAN3 as PyTorch computes it: tests/fixtures/nvidia3*.pkl, made by tests/fixtures/make_nvidia.py.

use candle_core::{Device, Result, Tensor};
use frozen::kernel;
use weights::checkpoint::Checkpoint;

use super::{StyleGan3, load};
use crate::gan::testing::{
    Tensors, distance, fixture, read, refused, refused_with, refused_without, tensors, values,
};
use crate::gan::{Network, NetworkOptions, NoisePlanes, Space};

fn with(space: Space) -> NetworkOptions {
    NetworkOptions {
        truncation: 0.7,
        space: Some(space),
        ..NetworkOptions::default()
    }
}

fn open(file: &str, options: &NetworkOptions) -> StyleGan3 {
    let checkpoint = Checkpoint::open(&fixture(file)).expect("a checkpoint");
    load::load(&checkpoint, options, &Device::Cpu).expect("a network")
}

/// The tensors of a generator, under the names that they have within it.
fn state_dict(file: &str) -> Tensors {
    let checkpoint = Checkpoint::open(&fixture(file)).expect("a checkpoint");
    let names = (checkpoint.keys()).filter_map(|key| key.strip_prefix("G_ema."));
    let tensor = |name: &str| {
        let key = format!("G_ema.{name}");
        let shape = checkpoint.shape(&key).expect("a tensor").to_vec();
        checkpoint.tensor(&key, &shape).expect("a tensor")
    };
    names.map(|name| (name.to_owned(), tensor(name))).collect()
}

/// How far every third pixel is from what is expected, relative to how much pictures differ from grey.
fn error(picture: &Tensor, expected: &Tensor) -> Result<f32> {
    let every = Tensor::arange_step(0u32, picture.dim(2)? as u32, 3, picture.device())?;
    let thinned = picture.index_select(&every, 2)?.index_select(&every, 3)?;
    distance(&(thinned - 0.5)?, &(expected - 0.5)?)
}

fn agrees(
    network: &StyleGan3,
    latent: &Tensor,
    g: &Tensor,
    picture: &Tensor,
    gradient: &Tensor,
) -> Result<()> {
    let check = || -> Result<()> {
        let (found, back) = network.vjp(std::slice::from_ref(latent))?;
        assert_eq!(found.dims(), [1, 3, 32, 32]);
        let error = error(&found, picture)?;
        assert!(error < 2e-5, "picture {error:e}");
        let error = distance(&back(g)?[0], gradient)?;
        assert!(error < 1e-4, "gradient {error:e}");
        Ok(())
    };
    check()?;
    kernel::composed(check)
}

#[test]
fn pictures_and_gradients_of_rows_and_z() -> Result<()> {
    let expected = tensors("nvidia.safetensors");
    for kind in ["3t", "3r"] {
        let part = |name: &str| &expected[&format!("{kind}.{name}")];
        let file = format!("nvidia{kind}.pkl");
        let network = open(&file, &with(Space::WPlus));
        assert_eq!(network.size(), [32, 32]);
        let deviation = network.styles.statistics()[1];
        agrees(
            &network,
            &network.styles.whitened(part("rows"))?,
            &expected["3.g"],
            part("picture"),
            &part("drows").broadcast_mul(deviation)?,
        )?;
        agrees(
            &open(&file, &with(Space::Z)),
            part("z"),
            &expected["3.g"],
            part("z.picture"),
            part("dz"),
        )?;
    }
    Ok(())
}

#[test]
fn latents_are_those_of_all_stylegans() -> Result<()> {
    // as any file is opened
    let options = NetworkOptions::default();
    let opened = crate::gan::open(&fixture("nvidia3t.pkl"), &options, &Device::Cpu);
    let (network, notes) = opened.expect("a network");
    assert_eq!((network.architecture(), notes), ("StyleGAN3", vec![]));
    let rows = values(network.as_ref(), 3, 1.0)?;
    assert_eq!(rows[0].dims(), [1, 7, 5]);
    let gradient = network.regularizer_gradient(&[(&rows[0] * 0.01)?])?;
    let largest = gradient.expect("a gradient")[0].abs()?.max_all()?;
    assert_eq!(largest.to_scalar::<f32>()?, 0.0);
    let error = network.eval(&[rows[0].narrow(1, 0, 6)?]);
    let error = error.expect_err("an error").to_string();
    assert!(error.contains("[1, 7, 5]"), "{error}");
    Ok(())
}

#[test]
fn without_numbers_of_modules_it_is_as_published() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, options) = ("nvidia3r.pkl", with(Space::W));
    let read = read(folder.path(), &state_dict(file), &options).expect("a network");
    let mut network = open(file, &options);
    let latents = values(&network, 1, 1.0)?;
    for layer in &mut network.layers {
        layer.limit = None;
    }
    assert_eq!(
        distance(&read.eval(&latents)?, &network.eval(&latents)?)?,
        0.0
    );
    Ok(())
}

#[test]
fn broken_checkpoints_are_refused() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let options = NetworkOptions::default();
    let weights = state_dict("nvidia3t.pkl");
    let missing = [
        "mapping.fc0.weight",
        "synthesis.input.affine.bias",
        "synthesis.input.transform",
        "synthesis.L2_52_5.magnitude_ema",
        "synthesis.L3_52_3.affine.weight",
        "synthesis.L5_32_3.bias",
    ];
    refused_without(folder, &weights, &options, &missing);
    let changes: &[(&str, &[usize], &str)] = &[
        (
            "synthesis.L1_36_5.weight",
            &[5, 5, 5, 5],
            "kernels of 5 x 5",
        ),
        ("synthesis.L1_36_5.weight", &[5, 4, 3, 3], "L1_36_5.weight"),
        ("synthesis.L1_36_5.up_filter", &[12, 11], "row or a square"),
        ("synthesis.L1_36_5.up_filter", &[90], "row or a square"),
        ("synthesis.L1_36_5.up_filter", &[13], "no multiple of 6"),
        ("synthesis.L1_36_5.down_filter", &[54], "by 9"),
        ("synthesis.L1_36_4.bias", &[4], "both `L1_36_"),
        ("synthesis.L7_32_3.bias", &[3], "no layer 6"),
        ("synthesis.L6_32_4.bias", &[4], "4 channels"),
        (
            "synthesis.L6_64_3.weight",
            &[3, 3, 1, 1],
            "makes 64 x 64 pixels of 32 x 32",
        ),
        ("synthesis.L6_90000_3.weight", &[3, 3, 1, 1], "90000"),
        ("synthesis.Lx.weight", &[3], "no layer that is known"),
        ("synthesis.input.weight", &[5000, 5], "5000"),
        ("synthesis.input.other", &[2], "input.other"),
    ];
    refused_with(folder, &weights, &options, changes);
    let noise = NetworkOptions {
        noise: Some(NoisePlanes::Fixed),
        ..options
    };
    refused(
        folder,
        &weights,
        &noise,
        "`noise` is a setting of StyleGAN2",
    );
    Ok(())
}
