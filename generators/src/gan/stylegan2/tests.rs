//! StyleGAN2 as PyTorch computes it: tests/fixtures/stylegan2*, made by tests/fixtures/make_stylegan2.py.

use candle_core::{DType, Device, Result, Tensor};
use weights::checkpoint::Checkpoint;

use super::{StyleGan2, load, noise};
use crate::gan::testing::{
    Tensors, agrees, distance, fixture, read, refused, refused_with, refused_without, tensors,
    values,
};
use crate::gan::{Class, Network, NetworkOptions, NoisePlanes, Space};

fn with(space: Space, noise: NoisePlanes) -> NetworkOptions {
    NetworkOptions {
        truncation: 0.7,
        space: Some(space),
        noise: Some(noise),
        ..NetworkOptions::default()
    }
}

fn open(file: &str, options: &NetworkOptions) -> StyleGan2 {
    let checkpoint = Checkpoint::open(&fixture(file)).expect("a checkpoint");
    load::load(&checkpoint, options, &Device::Cpu).expect("a network")
}

fn state_dict() -> Tensors {
    let tensors = candle_core::pickle::read_all_with_key(fixture("stylegan2.pt"), Some("g_ema"));
    tensors.expect("the fixture").into_iter().collect()
}

#[test]
fn pictures_and_gradients_of_rows_and_planes() -> Result<()> {
    let expected = tensors("stylegan2.safetensors");
    for file in ["stylegan2.pt", "stylegan2-legacy.pt"] {
        let network = open(file, &with(Space::WPlus, NoisePlanes::Optimized));
        assert_eq!(network.size(), [8, 16]);
        let rows = network.styles.whitened(&expected["rows"])?;
        agrees(
            &network,
            &[rows, expected["planes"].clone()],
            &expected["g"],
            &expected["picture"],
            &[
                expected["drows"].broadcast_mul(network.statistics()[1])?,
                expected["dplanes"].clone(),
            ],
        )?;
    }
    Ok(())
}

#[test]
fn pictures_and_gradients_of_z() -> Result<()> {
    let expected = tensors("stylegan2.safetensors");
    agrees(
        &open("stylegan2.pt", &with(Space::Z, NoisePlanes::Fixed)),
        &[expected["z"].clone()],
        &expected["g"],
        &expected["z.picture"],
        &[expected["z.dz"].clone()],
    )
}

#[test]
fn one_w_is_that_of_all_rows() -> Result<()> {
    let one = open("stylegan2.pt", &with(Space::W, NoisePlanes::Fixed));
    let all = open("stylegan2.pt", &with(Space::WPlus, NoisePlanes::Fixed));
    let (w, rows) = (values(&one, 3, 0.5)?, values(&all, 3, 0.5)?);
    assert_eq!([w[0].dims(), rows[0].dims()], [&[1, 8][..], &[1, 6, 8]]);
    let g = tensors("stylegan2.safetensors")["g"].clone();
    let ((a, back_a), (b, back_b)) = (one.vjp(&w)?, all.vjp(&rows)?);
    assert_eq!(distance(&a, &b)?, 0.0);
    assert!(distance(&back_a(&g)?[0], &back_b(&g)?[0].sum(1)?)? < 1e-5);
    // latents are relative to the mean, so that truncation is a factor
    assert!(distance(&w[0], &(&values(&one, 3, 1.0)?[0] * 0.5)?)? < 1e-6);
    assert_eq!(distance(&values(&one, 3, 0.5)?[0], &w[0])?, 0.0);
    assert!(distance(&values(&one, 4, 0.5)?[0], &w[0])? > 0.1);
    let mean = one.eval(&[w[0].zeros_like()?])?;
    assert_eq!(distance(&one.eval(&values(&one, 3, 0.0)?)?, &mean)?, 0.0);
    Ok(())
}

#[test]
fn without_a_stored_mean_it_is_that_of_samples() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let options = with(Space::W, NoisePlanes::Fixed);
    let network = read(folder.path(), &state_dict(), &options).expect("a network");
    let draws = (0..300).map(|seed| Ok(values(network.as_ref(), seed, 1.0)?.remove(0)));
    let draws = Tensor::cat(&draws.collect::<Result<Vec<_>>>()?, 0)?;
    let mean = draws.mean_keepdim(0)?;
    let variance = draws.broadcast_sub(&mean)?.sqr()?.mean(0)?;
    for (mean, variance) in
        (mean.flatten_all()?.to_vec1::<f32>()?.iter()).zip(variance.to_vec1::<f32>()?)
    {
        assert!(
            mean.abs() < 0.25 && (variance - 1.0).abs() < 0.8,
            "{mean} {variance}"
        );
    }
    Ok(())
}

#[test]
fn noise_is_regularized_as_nvidia_does() -> Result<()> {
    let expected = tensors("stylegan2.safetensors");
    let gradient = noise::gradient(&expected["noise"])?;
    assert!(distance(&gradient, &expected["noise.grad"])? < 1e-5);
    let normalized = noise::normalized(&expected["noise"])?;
    assert!(distance(&normalized, &expected["noise.normalized"])? < 1e-5);
    Ok(())
}

#[test]
fn latents_are_brought_back() -> Result<()> {
    let network = open("stylegan2.pt", &with(Space::WPlus, NoisePlanes::Optimized));
    let mut latents = values(&network, 1, 1.0)?;
    assert_eq!(latents[1].dims(), [1, 8 + 2 * 32 + 2 * 128]);
    latents[1] = ((&latents[1] * 3.0)? + 1.0)?;
    let after = network.constrain(latents.clone())?;
    assert_eq!(distance(&after[0], &latents[0])?, 0.0);
    for (plane, expected) in
        (network.split_planes(&after[1])?.iter()).zip(network.split_planes(&latents[1])?)
    {
        assert!(distance(plane, &noise::normalized(&expected)?)? < 1e-6);
    }
    // rows that are longer than samples are pulled back, and others are not
    let far = [
        Tensor::cat(
            &[
                Tensor::zeros((1, 5, 8), DType::F32, &Device::Cpu)?,
                Tensor::full(3f32, (1, 1, 8), &Device::Cpu)?,
            ],
            1,
        )?,
        after[1].clone(),
    ];
    let gradients = network.regularizer_gradient(&far)?.expect("gradients");
    let pulls = gradients[0].sum(2)?.flatten_all()?.to_vec1::<f32>()?;
    assert!(
        pulls[..5].iter().all(|pull| *pull == 0.0) && pulls[5] > 10.0,
        "{pulls:?}"
    );
    assert_eq!(gradients[1].dims(), after[1].dims());
    Ok(())
}

#[test]
fn without_stored_planes_they_are_drawn_from_the_seed() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut weights = state_dict();
    weights.retain(|name, _| !name.starts_with("noises."));
    let picture = |seed| -> Result<Tensor> {
        let options = NetworkOptions {
            seed,
            ..NetworkOptions::default()
        };
        let network = read(folder.path(), &weights, &options).expect("a network");
        network.eval(&values(network.as_ref(), 5, 1.0)?)
    };
    assert_eq!(distance(&picture(1)?, &picture(1)?)?, 0.0);
    assert!(distance(&picture(1)?, &picture(2)?)? > 1e-3);
    Ok(())
}

#[test]
fn broken_checkpoints_are_refused() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let options = NetworkOptions::default();
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu);
    let missing = [
        "input.input",
        "style.1.weight",
        "style.2.bias",
        "convs.1.conv.weight",
        "convs.2.conv.blur.kernel",
        "convs.3.noise.weight",
        "to_rgbs.0.upsample.kernel",
        "to_rgbs.1.bias",
        "noises.noise_4",
    ];
    refused_without(folder, &state_dict(), &options, &missing);
    let changes: &[(&str, &[usize], &str)] = &[
        (
            "convs.1.conv.weight",
            &[1, 5, 6, 3, 3],
            "convs.1.conv.weight",
        ),
        ("convs.1.conv.weight", &[5, 5, 3, 3], "convs.1.conv.weight"),
        (
            "convs.1.conv.weight",
            &[1, 0, 5, 3, 3],
            "convs.1.conv.weight",
        ),
        ("convs.0.conv.blur.kernel", &[4, 3], "not a small square"),
        ("input.input", &[1, 6, 64, 2], "more than 2048"),
        ("input.input", &[2, 6, 4, 2], "2 pictures"),
        ("conv1.conv.modulation.weight", &[6, 5000], "5000"),
        ("convs.4.conv.weight", &[1, 3, 3, 3, 3], "no colours"),
        ("label.weight", &[3, 3], "label.weight"),
    ];
    refused_with(folder, &state_dict(), &options, changes);
    // pictures of 2^22 pixels on a side, by names alone
    let mut weights = state_dict();
    for level in 0..20 {
        let name = format!("to_rgbs.{level}.conv.weight");
        weights.insert(name, zeros(&[1, 3, 3, 1, 1])?);
    }
    refused(folder, &weights, &options, "more than 2048");
    // a truncated file
    let bytes = std::fs::read(fixture("stylegan2.pt")).expect("the fixture");
    let file = folder.join("half.pt");
    std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("a file");
    let error = Checkpoint::open(&file).err().expect("an error");
    assert!(error.to_string().contains("half.pt"), "{error}");
    Ok(())
}

#[test]
fn settings_and_latents_that_do_not_fit_are_refused() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let options = NetworkOptions {
        class: Some(vec![Class::Number(1)]),
        ..NetworkOptions::default()
    };
    refused(
        folder.path(),
        &state_dict(),
        &options,
        "`class` is a setting of BigGAN",
    );
    let network = open("stylegan2.pt", &NetworkOptions::default());
    let error = network.eval(&[Tensor::zeros((1, 8), DType::F32, &Device::Cpu)?]);
    let error = error.expect_err("an error").to_string();
    assert!(error.contains("[1, 6, 8]"), "{error}");
    Ok(())
}
