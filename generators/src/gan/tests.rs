//! Networks against PyTorch (tests/fixtures/make_small_gans.py).

mod painting;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{Device, Result, Tensor};
use frozen::kernel::composed;
use tempfile::TempDir;

use super::layers::plane;
use super::*;

fn fixture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(file)
}

fn stored() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(fixture("small_gans.safetensors"), &Device::Cpu)
        .expect("the fixture")
}

/// The elements that the fixture's script gives a tensor: splitmix64 of the FNV-1a hash of its name and the index.
fn values(name: &str, shape: &[usize]) -> Tensor {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let inputs: usize = match shape.len() {
        1 => 4,
        _ => shape[1..].iter().product(),
    };
    let is_gain = shape.len() == 1 && shape[0] > 1 && name.ends_with("weight");
    let ones = name.ends_with("running_var") || is_gain;
    let scale = (3.0 / inputs as f64).sqrt() * if ones { 0.5 } else { 1.0 };
    let count: usize = shape.iter().product();
    let elements = (1..=count as u64).map(|i| {
        let x = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let x = x ^ (x >> 31);
        (f64::from(ones) + scale * ((x >> 40) as f64 / f64::from(1 << 23) - 1.0)) as f32
    });
    Tensor::from_vec(elements.collect::<Vec<_>>(), shape, &Device::Cpu).expect("a tensor")
}

/// A network's tensors under their own names.
fn tensors(name: &str) -> HashMap<String, Tensor> {
    let text = std::fs::read_to_string(fixture("small_gans.json")).expect("the fixture");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let shapes: BTreeMap<String, Vec<usize>> =
        serde_json::from_value(json[name].clone()).expect("shapes");
    let stored = stored();
    (shapes.into_iter())
        .map(|(key, shape)| {
            let full = format!("{name}.{key}");
            let tensor = stored.get(&full).cloned();
            (key, tensor.unwrap_or_else(|| values(&full, &shape)))
        })
        .collect()
}

/// A folder with a file of weights.
fn folder(weights: &HashMap<String, Tensor>) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    candle_core::safetensors::save(weights, folder.path().join("model.safetensors"))
        .expect("weights");
    folder
}

fn network(name: &str) -> Box<dyn Network> {
    opened(&tensors(name)).expect("a network")
}

fn opened(weights: &HashMap<String, Tensor>) -> std::result::Result<Box<dyn Network>, GanError> {
    let folder = folder(weights);
    let (network, warnings) = open(folder.path(), &NetworkOptions::default(), &Device::Cpu)?;
    assert_eq!(warnings, [""; 0]);
    Ok(network)
}

fn refused(weights: &HashMap<String, Tensor>) -> String {
    match opened(weights) {
        Ok(_) => panic!("it was read"),
        Err(error) => error.to_string(),
    }
}

/// The largest difference, relative to the largest element.
fn distance(a: &Tensor, b: &Tensor) -> Result<f32> {
    assert_eq!(a.dims(), b.dims());
    let largest = |x: &Tensor| x.abs()?.max_all()?.to_scalar::<f32>();
    Ok(largest(&(a - b)?)? / largest(b)?)
}

/// Every third pixel of every third row.
fn thinned(x: &Tensor) -> Result<Tensor> {
    let side = x.dim(2)?;
    let every = Tensor::arange_step(0u32, side as u32, 3, x.device())?;
    x.index_select(&every, 2)?.index_select(&every, 3)
}

fn check(name: &str) -> Result<()> {
    let stored = stored();
    let part = |part: &str| stored[&format!("{name}.{part}")].clone();
    agrees(name, network(name).as_ref(), part)
}

/// Compares a picture and the gradient of its latent with those of a fixture.
fn agrees(name: &str, network: &dyn Network, part: impl Fn(&str) -> Tensor) -> Result<()> {
    let compare = |way: &str| -> Result<()> {
        let latents = [part("z")];
        let (picture, pullback) = network.vjp(&latents)?;
        let error = distance(&thinned(&picture)?, &part("picture"))?;
        assert!(error < 1e-4, "{name} {way}: picture {error:e}");
        let plain = distance(&network.eval(&latents)?, &picture)?;
        assert!(plain < 1e-6, "{name} {way}: without a gradient {plain:e}");
        let error = distance(&pullback(&picture)?[0], &part("dz"))?;
        assert!(error < 1e-3, "{name} {way}: gradient {error:e}");
        println!("{name} {way}: gradient {error:e}");
        Ok(())
    };
    compare("fused")?;
    composed(|| compare("composed"))
}

macro_rules! parity {
    ($($name:ident $network:literal)*) => {
        $(
            #[test]
            fn $name() -> Result<()> {
                check($network)
            }
        )*
    };
}

#[test]
fn the_embedded_gan_is_as_in_pytorch() -> Result<()> {
    let network = embedded(&NetworkOptions::default(), &Device::Cpu);
    let (network, warnings) = network.expect("the embedded GAN");
    assert_eq!((warnings.len(), network.size()), (0, [64, 64]));
    let path = fixture("embedded-gan.safetensors");
    let stored = candle_core::safetensors::load(path, &Device::Cpu)?;
    agrees("embedded", network.as_ref(), |part| stored[part].clone())
}

parity! {
    fastgan_is_as_in_pytorch "fastgan"
    the_communitys_fastgan_is_as_in_pytorch "huggan"
    lightweight_gan_is_as_in_pytorch "lightweight"
    lightweight_gan_with_frequencies_is_as_in_pytorch "frequencies"
    the_communitys_lightweight_gan_is_as_in_pytorch "community"
}

#[test]
fn noise_is_the_same_as_ever() -> Result<()> {
    for (name, expected) in stored() {
        let mut numbers = name.split('.').map(str::parse::<usize>);
        if let (Some(Ok(number)), Some(Ok(side))) = (numbers.next(), numbers.next()) {
            assert_eq!(
                distance(&plane(0, number, side, &Device::Cpu)?, &expected)?,
                0.0
            );
        }
    }
    Ok(())
}
fn bytes(picture: &Tensor) -> Result<Vec<u32>> {
    let values: Vec<f32> = picture.flatten_all()?.to_vec1()?;
    Ok(values.into_iter().map(f32::to_bits).collect())
}

#[test]
fn long_latents_are_drawn_back_and_short_ones_stay() -> Result<()> {
    let network = network("community");
    let z = |scale: f64| Tensor::ones((1, 6), candle_core::DType::F32, &Device::Cpu)? * scale;
    let pull = |scale: f64| -> Result<f32> {
        let grads = network
            .regularizer_gradient(&[z(scale)?])?
            .expect("gradients");
        grads[0].get(0)?.get(0)?.to_scalar()
    };
    assert_eq!(pull(0.5)?, 0.0);
    // |z|^2 / 2 - 5 log |z|, by finite differences along one number
    let penalty = |first: f64| {
        let square = 5.0 * 4.0 + first * first;
        square / 2.0 - 2.5 * square.ln()
    };
    let slope = (penalty(2.0 + 1e-5) - penalty(2.0 - 1e-5)) / 2e-5;
    assert!((f64::from(pull(2.0)?) - slope).abs() < 1e-5, "{slope}");
    Ok(())
}

#[test]
fn settings_of_other_architectures_are_refused_by_name() {
    let options = |change: &dyn Fn(&mut NetworkOptions)| {
        let mut options = NetworkOptions::default();
        change(&mut options);
        options
    };
    for (key, options) in [
        (
            "space",
            options(&|options| options.space = Some(Space::WPlus)),
        ),
        (
            "noise",
            options(&|options| options.noise = Some(NoisePlanes::Fixed)),
        ),
        ("classes", options(&|options| options.classes = Some(3))),
        (
            "class",
            options(&|options| options.class = Some(vec![Class::Number(207)])),
        ),
    ] {
        for name in ["huggan", "community"] {
            let folder = folder(&tensors(name));
            let error = open(folder.path(), &options, &Device::Cpu)
                .err()
                .expect("an error");
            let error = error.to_string();
            assert!(
                error.contains(&format!("`{key}` is a setting of")),
                "{error}"
            );
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_name() -> Result<()> {
    let change = |name: &str, key: &str, tensor: Option<Tensor>| {
        let mut weights = tensors(name);
        match tensor {
            Some(tensor) => weights.insert(key.to_owned(), tensor),
            None => weights.remove(key),
        };
        refused(&weights)
    };
    let zeros = |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu);
    for (network, key, tensor, parts) in [
        (
            "huggan",
            "_upsample_16._layers.1._conv.weight_orig",
            None,
            ["_upsample_16.", "FastGAN"],
        ),
        (
            "huggan",
            "_upsample_8._layers.1._conv.weight_u",
            None,
            ["no tensor `_upsample_8", "FastGAN"],
        ),
        (
            "huggan",
            "_upsample_16._layers.2.running_var",
            Some(zeros(&[3])?),
            ["[3]", "running_var"],
        ),
        (
            "huggan",
            "_upsample_8._layers.1._conv.weight_orig",
            Some(zeros(&[7, 6, 3, 3])?),
            ["7", "FastGAN"],
        ),
        (
            "huggan",
            "_out_64.0._conv.weight_orig",
            None,
            ["_out_64.", "FastGAN"],
        ),
        ("fastgan", "to_big.weight_orig", None, ["to_big", "FastGAN"]),
        (
            "fastgan",
            "other.weight",
            Some(zeros(&[2])?),
            ["other.weight", "no part"],
        ),
        (
            "community",
            "out_conv.weight",
            Some(zeros(&[4, 5, 3, 3])?),
            ["out_conv.bias", "[4]"],
        ),
        (
            "community",
            "initial_conv.1.bias",
            None,
            ["initial_conv.1.bias", "lightweight-gan"],
        ),
        ("community", "layers.1.0.1.f", None, ["layers.1", "no part"]),
        (
            "community",
            "layers.1.2.fn.to_q.weight",
            Some(zeros(&[500, 5, 1, 1])?),
            ["layers.1.2.", "[1024"],
        ),
    ] {
        let error = change(network, key, tensor);
        for part in parts {
            assert!(error.contains(part), "{key}: no {part} in {error}");
        }
    }
    let unknown = HashMap::from([("a.weight".to_owned(), zeros(&[2])?)]);
    let error = refused(&unknown);
    for part in [
        "FastGAN",
        "lightweight-gan",
        "feat_8",
        "its first one is `a.weight`",
    ] {
        assert!(error.contains(part), "no {part} in {error}");
    }
    Ok(())
}

#[test]
fn hostile_files_are_refused_and_nothing_is_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |name: &str| match super::open(
        &folder.path().join(name),
        &NetworkOptions::default(),
        &Device::Cpu,
    ) {
        Ok(_) => panic!("{name} was read"),
        Err(error) => error.to_string(),
    };
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).expect("a file");
    };
    let foreign = std::fs::read(fixture("foreign.pt")).expect("the fixture");
    write("foreign.pt", &foreign);
    let error = open("foreign.pt");
    assert!(
        error.contains("feat_8.1.weight_orig") || error.contains("feat_8.2"),
        "{error}"
    );
    for length in [0, 1, 40, foreign.len() / 2, foreign.len() - 1] {
        write("short.pt", &foreign[..length]);
        open("short.pt");
    }
    let whole = self::folder(&tensors("community"));
    let whole = std::fs::read(whole.path().join("model.safetensors")).expect("the weights");
    for length in [9, 1000, whole.len() - 1] {
        write("short.safetensors", &whole[..length]);
        let error = open("short.safetensors");
        assert!(error.contains("not a complete safetensors file"), "{error}");
    }
    for size in ["1099511627776", "18446744073709551615"] {
        let header = format!(
            r#"{{"feat_8.1.weight":{{"dtype":"F32","shape":[{size},2,3,3],"data_offsets":[0,8]}}}}"#
        );
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&[0; 8]);
        write("huge.safetensors", &bytes);
        open("huge.safetensors");
    }
    assert!(!Path::new("ran").exists());
    std::fs::create_dir(folder.path().join("empty")).expect("a folder");
    assert!(open("empty").contains("pytorch_model.bin"));
}

/// A checkpoint of the training program has the generator, its average, and the other networks.
#[test]
fn the_average_of_a_training_programs_checkpoint_is_used() -> Result<()> {
    let own = tensors("community");
    let mut all = HashMap::new();
    for (key, tensor) in &own {
        all.insert(format!("GAN.GE.{key}"), tensor.clone());
        all.insert(format!("GAN.G.{key}"), tensor.zeros_like()?);
        all.insert(format!("GAN.D.{key}"), tensor.clone());
    }
    let z = [stored()["community.z"].clone()];
    let expected = network("community").eval(&z)?;
    let found = opened(&all).expect("a network").eval(&z)?;
    assert_eq!(bytes(&found)?, bytes(&expected)?);
    Ok(())
}
