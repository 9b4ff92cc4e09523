//! NVIDIA's layout, in the `.pkl` that its programs write: tests/fixtures/nvidia2.pkl, made by tests/fixtures/make_nvidia.py.

use std::collections::HashMap;

use candle_core::{Device, Result, Tensor};
use weights::checkpoint::Checkpoint;

use super::StyleGan2;
use crate::gan::testing::{
    Tensors, agrees, fixture, read, refused, refused_with, refused_without, tensors,
};
use crate::gan::{Class, NetworkOptions, NoisePlanes, Space};

fn with(space: Space, noise: NoisePlanes) -> NetworkOptions {
    NetworkOptions {
        truncation: 0.7,
        space: Some(space),
        noise: Some(noise),
        ..NetworkOptions::default()
    }
}

fn open(options: &NetworkOptions) -> StyleGan2 {
    let checkpoint = Checkpoint::open(&fixture("nvidia2.pkl")).expect("a checkpoint");
    super::load::load(&checkpoint, options, &Device::Cpu).expect("a network")
}

/// The tensors of the generator, under the names that they have within it.
fn state_dict() -> Tensors {
    let checkpoint = Checkpoint::open(&fixture("nvidia2.pkl")).expect("a checkpoint");
    let names = checkpoint
        .keys()
        .filter_map(|key| key.strip_prefix("G_ema."));
    let tensor = |name: &str| {
        let key = format!("G_ema.{name}");
        let shape = checkpoint.shape(&key).expect("a tensor").to_vec();
        checkpoint.tensor(&key, &shape).expect("a tensor")
    };
    names.map(|name| (name.to_owned(), tensor(name))).collect()
}

#[test]
fn pictures_and_gradients_of_rows_and_planes() -> Result<()> {
    let expected = tensors("nvidia.safetensors");
    let network = open(&with(Space::WPlus, NoisePlanes::Optimized));
    let rows = network.styles.whitened(&expected["2.rows"])?;
    agrees(
        &network,
        &[rows, expected["2.planes"].clone()],
        &expected["2.g"],
        &expected["2.picture"],
        &[
            expected["2.drows"].broadcast_mul(network.statistics()[1])?,
            expected["2.dplanes"].clone(),
        ],
    )
}

#[test]
fn it_is_recognised() {
    let options = NetworkOptions::default();
    let opened = crate::gan::open(&fixture("nvidia2.pkl"), &options, &Device::Cpu);
    let (network, notes) = opened.expect("a network");
    assert_eq!((network.architecture(), notes), ("StyleGAN2", vec![]));
    assert_eq!(network.size(), [16, 16]);
}

#[test]
fn pictures_and_gradients_of_z() -> Result<()> {
    let expected = tensors("nvidia.safetensors");
    agrees(
        &open(&with(Space::Z, NoisePlanes::Fixed)),
        &[expected["2.z"].clone()],
        &expected["2.g"],
        &expected["2.z.picture"],
        &[expected["2.dz"].clone()],
    )
}

/// Numbers of modules are in no safetensors, so that nothing is cut off there.
fn conditional() -> Tensors {
    let stored = tensors("nvidia.safetensors");
    let own = (stored.iter()).filter_map(|(name, value)| {
        let name = name.strip_prefix("class.")?;
        Some((format!("mapping.{name}"), value.clone()))
    });
    let own: HashMap<String, Tensor> = own.collect();
    let mut weights = state_dict();
    for name in ["embed.weight", "embed.bias", "fc0.weight"] {
        let name = format!("mapping.{name}");
        weights.insert(name.clone(), own[&name].clone());
    }
    weights
}

#[test]
fn the_class_of_a_conditional_one_is_named() -> Result<()> {
    let expected = tensors("nvidia.safetensors");
    let folder = tempfile::tempdir().expect("a folder");
    let with_class = |class: &[usize]| NetworkOptions {
        class: Some(class.iter().copied().map(Class::Number).collect()),
        ..with(Space::Z, NoisePlanes::Fixed)
    };
    let network = read(folder.path(), &conditional(), &with_class(&[1])).expect("a network");
    agrees(
        network.as_ref(),
        &[expected["2.z"].clone()],
        &expected["2.g"],
        &expected["class.picture"],
        &[expected["class.dz"].clone()],
    )?;
    let options = NetworkOptions::default();
    for (options, part) in [
        (
            options,
            "`class` does not fit this StyleGAN2: it paints one of 3 classes",
        ),
        (
            with_class(&[3]),
            "there is no class 3: the model has 3, from 0 to 2",
        ),
        (
            NetworkOptions {
                class: Some(vec![Class::Name("tench".to_owned())]),
                ..with(Space::Z, NoisePlanes::Fixed)
            },
            "its classes have no names, such as `tench`",
        ),
        (with_class(&[0, 1]), "2 are named"),
        (with_class(&[]), "0 are named"),
    ] {
        refused(folder.path(), &conditional(), &options, part);
    }
    refused(
        folder.path(),
        &state_dict(),
        &with_class(&[1]),
        "`class` is a setting of BigGAN and of conditional StyleGANs",
    );
    Ok(())
}

#[test]
fn broken_checkpoints_are_refused() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let options = NetworkOptions::default();
    let missing = [
        "mapping.fc0.weight",
        "mapping.fc1.bias",
        "synthesis.b4.const",
        "synthesis.b8.resample_filter",
        "synthesis.b8.conv0.noise_strength",
        "synthesis.b16.conv1.affine.bias",
        "synthesis.b16.torgb.bias",
        "synthesis.b16.conv1.noise_const",
    ];
    refused_without(folder, &state_dict(), &options, &missing);
    let changes: &[(&str, &[usize], &str)] = &[
        (
            "synthesis.b8.conv1.weight",
            &[4, 5, 3, 3],
            "b8.conv1.weight",
        ),
        (
            "synthesis.b8.conv0.resample_filter",
            &[4, 3],
            "not a small square",
        ),
        ("mapping.fc0.weight", &[6, 5000], "5000"),
        ("synthesis.b8.skip.weight", &[4, 5, 1, 1], "b8.skip.weight"),
        ("synthesis.b32.conv0.weight", &[4, 3, 3, 3], "no colours"),
    ];
    refused_with(folder, &state_dict(), &options, changes);
    Ok(())
}
