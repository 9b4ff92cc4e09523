//! BigGAN-deep as pytorch-pretrained-biggan computes it: tests/fixtures/biggan.*, made by tests/fixtures/make_biggan.py.

use candle_core::{DType, Device, Result, Tensor};

use crate::gan::testing::{Tensors, agrees, distance, fixture, read, refused, tensors, values};
use crate::gan::{Class, Network, NetworkOptions};

fn weights() -> Tensors {
    let own = |(key, value): (String, Tensor)| {
        let key = key.strip_prefix("weights.")?;
        Some((key.to_owned(), value))
    };
    tensors("biggan.safetensors")
        .into_iter()
        .filter_map(own)
        .collect()
}

/// A folder with the fixture's configuration, changed.
fn folder(change: impl Fn(&mut serde_json::Value)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let text = std::fs::read_to_string(fixture("biggan.json")).expect("the fixture");
    let mut config = serde_json::from_str(&text).expect("a configuration");
    change(&mut config);
    std::fs::write(folder.path().join("config.json"), config.to_string()).expect("a file");
    folder
}

fn open(options: &NetworkOptions) -> Box<dyn Network> {
    read(folder(|_| ()).path(), &weights(), options).expect("a network")
}

/// A case whose latents are the same for all blocks.
fn case(name: &str, network: &dyn Network) -> Result<()> {
    let all = tensors("biggan.safetensors");
    let part = |part: &str| all[&format!("{name}.{part}")].clone();
    let rows = |x: Tensor| x.broadcast_as((6, x.dims()[1]))?.contiguous();
    let latents = [rows(part("z"))?, rows(part("classes"))?];
    let (picture, back) = network.vjp(&latents)?;
    let error = distance(&picture, &part("picture"))?;
    assert!(error < 3e-6, "{name}: picture {error:e}");
    for (found, name) in back(&all["g"])?.iter().zip(["dz", "dclasses"]) {
        let error = distance(&found.sum_keepdim(0)?, &part(name))?;
        assert!(error < 3e-5, "{name} {error:e}");
    }
    Ok(())
}

#[test]
fn pictures_and_gradients_by_truncation() -> Result<()> {
    // at whole steps of the statistics, between them, and where a step is not whole by rounding
    for (name, truncation) in [("whole", 1.0), ("between", 0.73), ("step", 0.6)] {
        let options = NetworkOptions {
            truncation,
            ..NetworkOptions::default()
        };
        case(name, open(&options).as_ref())?;
    }
    Ok(())
}

fn of_three_classes() -> Box<dyn Network> {
    open(&NetworkOptions {
        classes: Some(3),
        ..NetworkOptions::default()
    })
}

#[test]
fn pictures_and_gradients_of_rows_with_few_classes() -> Result<()> {
    let all = tensors("biggan.safetensors");
    let part = |part: &str| all[&format!("rows.{part}")].clone();
    agrees(
        of_three_classes().as_ref(),
        &[part("z"), part("classes")],
        &all["g"],
        &part("picture"),
        &[part("dz"), part("dclasses")],
    )
}

#[test]
fn the_regularizer_is_that_of_big_sleep() -> Result<()> {
    let all = tensors("biggan.safetensors");
    let part = |part: &str| all[&format!("regularizer.{part}")].clone();
    let found = of_three_classes().regularizer_gradient(&[part("z"), part("classes")])?;
    for (found, name) in found.expect("gradients").iter().zip(["dz", "dclasses"]) {
        let error = distance(found, &part(name))?;
        assert!(error < 3e-5, "{name} {error:e}");
    }
    Ok(())
}

#[test]
fn a_start_is_one_class_with_truncated_noise() -> Result<()> {
    for classes in [None, Some(2)] {
        let network = open(&NetworkOptions {
            classes,
            class: Some(vec![Class::Number(7)]),
            ..NetworkOptions::default()
        });
        let draw = |seed| values(network.as_ref(), seed, 0.5);
        let latents = draw(2)?;
        assert_eq!([latents[0].dims(), latents[1].dims()], [&[6, 5], &[6, 10]]);
        assert!(latents[0].abs()?.max_all()?.to_scalar::<f32>()? <= 1.0);
        assert_eq!(distance(&latents[0], &draw(2)?[0])?, 0.0);
        assert!(distance(&latents[0], &draw(3)?[0])? > 0.1);
        for row in latents[1].to_vec2::<f32>()? {
            let positive: Vec<usize> = (0..row.len()).filter(|&class| row[class] > 0.0).collect();
            assert_eq!(positive, [7]);
        }
    }
    Ok(())
}

#[test]
fn starts_are_of_imagenets_classes_by_name() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut weights = weights();
    let shape = [weights["embeddings.weight"].dim(0)?, 1000];
    let embeddings = Tensor::zeros(&shape, DType::F32, &Device::Cpu)?;
    weights.insert("embeddings.weight".to_owned(), embeddings);
    let named = |name: &str| NetworkOptions {
        class: Some(vec![Class::Name(name.to_owned())]),
        ..NetworkOptions::default()
    };
    for (name, number) in [
        ("tench", 0),
        ("golden retriever", 207),
        ("Toilet Paper", 999),
    ] {
        let network = read(folder.path(), &weights, &named(name)).expect("a network");
        let classes = &values(network.as_ref(), 1, 1.0)?[1].to_vec2::<f32>()?[0];
        assert!(classes[number] > 0.0, "{name}");
    }
    let part = "ImageNet has no class `wolf`, but `wolf spider`, `grey wolf`";
    refused(folder.path(), &weights, &named("wolf"), part);
    Ok(())
}

#[test]
fn without_a_configuration_every_second_block_enlarges() -> Result<()> {
    // as in the fixture
    let folder = tempfile::tempdir().expect("a folder");
    let network = read(folder.path(), &weights(), &NetworkOptions::default()).expect("a network");
    assert_eq!(network.size(), [16, 16]);
    case("whole", network.as_ref())
}

#[test]
fn broken_checkpoints_are_refused() -> Result<()> {
    let folder = folder(|_| ());
    let folder = folder.path();
    let options = NetworkOptions::default();
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu);
    for name in [
        "embeddings.weight",
        "generator.gen_z.weight_u",
        "generator.layers.1.bn_2.running_vars",
        "generator.layers.2.conv_1.weight_v",
        "generator.layers.3.snconv1x1_phi.weight",
        "generator.bn.weight",
        "generator.conv_to_rgb.bias",
    ] {
        let mut weights = weights();
        weights.retain(|key, _| !key.starts_with(name));
        refused(folder, &weights, &options, name);
    }
    for (name, shape, part) in [
        (
            "generator.layers.1.conv_1.weight_orig",
            &[6, 6, 5, 5][..],
            "conv_1.weight_orig",
        ),
        ("embeddings.weight", &[20, 10], "20 of them"),
        (
            "generator.layers.0.bn_0.running_means",
            &[6, 9000],
            "9000 channels",
        ),
        ("generator.conv_to_rgb.bias", &[2], "three colours"),
        ("generator.more.weight", &[2], "generator.more.weight"),
    ] {
        let mut weights = weights();
        weights.insert(name.to_owned(), zeros(shape)?);
        refused(folder, &weights, &options, part);
    }
    Ok(())
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let unchanged = folder(|_| ());
    for truncation in [0.0, 1.5, f64::NAN] {
        let options = NetworkOptions {
            truncation,
            ..NetworkOptions::default()
        };
        refused(unchanged.path(), &weights(), &options, "`truncation`");
    }
    let options = NetworkOptions {
        class: Some(vec![Class::Number(3), Class::Number(10)]),
        ..NetworkOptions::default()
    };
    refused(
        unchanged.path(),
        &weights(),
        &options,
        "there is no class 10: the model has 10, from 0 to 9",
    );
    let options = NetworkOptions::default();
    let short = folder(|config| config["layers"] = serde_json::json!([[true, 16, 8]]));
    refused(short.path(), &weights(), &options, "has 1 blocks");
    let large = folder(|config| config["layers"] = serde_json::json!(vec![(true, 1, 1); 5]));
    refused(large.path(), &weights(), &options, "pictures of 16 pixels");
    let other = folder(|config| config["layers"] = "many".into());
    refused(other.path(), &weights(), &options, "cannot be read");
    let nothing = folder(|config| config["eps"] = 0.into());
    refused(nothing.path(), &weights(), &options, "`eps`");
}
