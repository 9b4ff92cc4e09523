//! Autoencoders as diffusers and taming-transformers compute them: fixtures/autoencoders.safetensors and .json, made by
//! fixtures/make_autoencoders.py.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use phantasia_generators as generators;

use generators::latent::{self, Start};
use generators::{Autoencoder, BuildContext, Generator, Latent};
use phantasia_core::{Schedule, Seamless};

type Shapes = BTreeMap<String, Vec<usize>>;

fn fixture(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(file)
}

/// The names and shapes of a network's tensors, and its configuration.
fn network(name: &str) -> (Shapes, Option<String>) {
    let text = std::fs::read_to_string(fixture("autoencoders.json")).expect("the fixture");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let shapes = serde_json::from_value(json[name]["shapes"].clone()).expect("shapes");
    let config = &json[name]["config"];
    (shapes, (!config.is_null()).then(|| config.to_string()))
}

fn tensors(name: &str) -> impl Fn(&str) -> Tensor {
    let all = candle_core::safetensors::load(fixture("autoencoders.safetensors"), &Device::Cpu)
        .expect("the fixture");
    let name = name.to_owned();
    move |part| all[&format!("{name}.{part}")].clone()
}

/// The elements that the fixture's script gives a tensor: splitmix64 of the FNV-1a hash of its name and the index.
fn values(name: &str, shape: &[usize]) -> Tensor {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let inputs: usize = match shape.len() {
        1 => 16,
        _ => shape[1..].iter().product(),
    };
    let mean = f64::from(shape.len() == 1 && name.ends_with("weight"));
    let scale = (3.0 / inputs as f64).sqrt();
    let count: usize = shape.iter().product();
    let elements = (1..=count as u64).map(|i| {
        let x = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let x = x ^ (x >> 31);
        (mean + scale * ((x >> 40) as f64 / f64::from(1 << 23) - 1.0)) as f32
    });
    Tensor::from_vec(elements.collect::<Vec<_>>(), shape, &Device::Cpu).expect("a tensor")
}

/// Weights as a file: each tensor under the name that `rename` gives it; none is left out.
fn write(path: &Path, shapes: &Shapes, rename: impl Fn(&str) -> Option<String>) {
    let weights: HashMap<String, Tensor> = (shapes.iter())
        .filter_map(|(name, shape)| Some((rename(name)?, values(name, shape))))
        .collect();
    candle_core::safetensors::save(&weights, path).expect("weights");
}

/// A folder as the network's authors publish it.
fn folder(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let (shapes, config) = network(name);
    if ["taesd", "taef2", "taesana"].contains(&name) {
        for half in ["encoder", "decoder"] {
            let file = folder.path().join(format!("{name}_{half}.safetensors"));
            write(&file, &shapes, |key| {
                key.strip_prefix(&format!("{half}:")).map(str::to_owned)
            });
        }
    } else {
        let file = folder.path().join("diffusion_pytorch_model.safetensors");
        write(&file, &shapes, |key| Some(key.to_owned()));
    }
    if let Some(config) = config {
        std::fs::write(folder.path().join("config.json"), config).expect("a configuration");
    }
    folder
}

fn open(name: &str) -> Autoencoder {
    Autoencoder::open(folder(name).path(), &Device::Cpu).expect("an autoencoder")
}

/// The largest difference, relative to the largest element.
fn distance(a: &Tensor, b: &Tensor) -> Result<f32> {
    assert_eq!(a.dims(), b.dims());
    let largest = |x: &Tensor| x.abs()?.max_all()?.to_scalar::<f32>();
    Ok(largest(&(a - b)?)? / largest(b)?)
}

fn check(name: &str) -> Result<()> {
    let part = tensors(name);
    let autoencoder = open(name);
    let latents = autoencoder.encode(&part("image"))?;
    let error = distance(&latents, &part("latents"))?;
    assert!(error < 1e-5, "{name}: encoded {error:e}");
    let error = distance(&autoencoder.decode(&part("z"))?, &part("decoded"))?;
    assert!(error < 1e-5, "{name}: decoded {error:e}");
    Ok(())
}

fn check_gradient(name: &str) -> Result<()> {
    let part = tensors(name);
    let (_, pull) = open(name).decode_vjp(&part("z"), None)?;
    let error = distance(&pull(&part("g"))?, &part("dz"))?;
    assert!(error < 1e-4, "{name}: gradient {error:e}");
    Ok(())
}

macro_rules! parity {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() -> Result<()> {
            check(stringify!($name))?;
            check_gradient(stringify!($name))
        }
    )*};
}

parity! { diffusers amused taming kl tiny taesd taef2 taesana }

#[test]
fn the_gradient_of_taef2_is_its_slope() -> Result<()> {
    let autoencoder = open("taef2");
    let (z, g) = (tensors("taef2")("z"), tensors("taef2")("g"));
    let (_, pull) = autoencoder.decode_vjp(&z, None)?;
    let grad = pull(&g)?;
    // along the gradient the slope is its length, far above what f32 rounds off
    let length = grad.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt();
    let direction = (&grad / f64::from(length))?;
    let wide = |x: &Tensor| x.to_dtype(candle_core::DType::F64);
    let at = |h: f64| -> Result<f64> {
        let y = autoencoder.decode(&(&z + (&direction * h)?)?)?;
        (wide(&y)? * wide(&g)?)?.sum_all()?.to_scalar::<f64>()
    };
    let h = 3e-3;
    let found = (at(h)? - at(-h)?) / (2.0 * h);
    let error = (found / f64::from(length) - 1.0).abs();
    assert!(error < 1e-2, "{found} {length}");
    Ok(())
}

fn message(path: &Path) -> String {
    match Autoencoder::open(path, &Device::Cpu) {
        Ok(_) => panic!("it was read"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn either_half_of_the_tiny_ones_leads_to_the_other() -> Result<()> {
    for name in ["taesd", "taef2", "taesana"] {
        let folder = folder(name);
        let half = |half: &str| folder.path().join(format!("{name}_{half}.safetensors"));
        let whole = Autoencoder::open(folder.path(), &Device::Cpu).expect("an autoencoder");
        for path in [half("decoder"), half("encoder")] {
            let found = Autoencoder::open(&path, &Device::Cpu).expect("an autoencoder");
            assert_eq!(found.channels(), whole.channels());
            assert!(found.encodes());
        }
        // the halves may be files of two kinds
        let other = half("encoder").with_extension("pth");
        std::fs::rename(half("encoder"), &other)?;
        let found = Autoencoder::open(&half("decoder"), &Device::Cpu).expect("an autoencoder");
        assert!(found.encodes());
        std::fs::remove_file(half("decoder"))?;
        let error = message(&other);
        assert!(error.contains(&format!("{name}_decoder.pth")), "{error}");
    }
    Ok(())
}

#[test]
fn a_folder_of_several_tiny_ones_asks_for_one() -> Result<()> {
    let (first, second) = (folder("taesd"), folder("taef2"));
    for half in ["encoder", "decoder"] {
        let name = format!("taef2_{half}.safetensors");
        std::fs::copy(second.path().join(&name), first.path().join(&name))?;
    }
    let error = message(first.path());
    assert!(error.contains("taef2_decoder, taesd_decoder"), "{error}");
    let one = first.path().join("taef2_decoder.safetensors");
    let one = Autoencoder::open(&one, &Device::Cpu).expect("an autoencoder");
    assert_eq!(one.channels(), 6);
    Ok(())
}

#[test]
fn a_decoder_of_more_than_a_picture_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut shapes, _) = network("taesd");
    shapes.retain(|key, _| key.starts_with("decoder:"));
    // the last convolution gives pixels in fours, with their opacity
    for (key, shape) in &mut shapes {
        if shape[0] == 3 {
            shape[0] = 16;
            println!("{key}");
        }
    }
    let file = folder.path().join("taeqi2_1_decoder.safetensors");
    write(&file, &shapes, |key| {
        Some(key["decoder:".len()..].to_owned())
    });
    let error = message(&file);
    assert!(
        error.contains("16 channels") && error.contains("TAEQI2.1"),
        "{error}"
    );
}

#[test]
fn halves_that_do_not_fit_each_other_are_refused() -> Result<()> {
    let (small, large) = (folder("taef2"), folder("taesana"));
    let encoder = large.path().join("taesana_encoder.safetensors");
    std::fs::copy(small.path().join("taef2_encoder.safetensors"), &encoder)?;
    let error = message(large.path());
    assert!(error.contains("by 4") && error.contains("by 8"), "{error}");
    Ok(())
}

#[test]
fn unused_tensors_are_refused_by_name_in_every_layout() {
    for (name, extra) in [
        ("diffusers", "decoder.mid_block.resnets.0.gate.weight"),
        ("amused", "encoder.mid_block.attentions.0.to_q.weight"),
        ("taming", "encoder.down.0.attn.0.q.weight"),
        ("kl", "decoder.other.weight"),
        ("tiny", "decoder.layers.2.pool.1.running_mean"),
        ("taesd", "decoder:3.conv.6.weight"),
        ("taef2", "encoder:5.pool.4.weight"),
    ] {
        let (mut shapes, config) = network(name);
        shapes.insert(extra.to_owned(), vec![8, 8]);
        let folder = tempfile::tempdir().expect("a folder");
        if let Some(config) = config {
            std::fs::write(folder.path().join("config.json"), config).expect("a configuration");
        }
        if extra.contains(':') {
            for half in ["encoder", "decoder"] {
                let file = folder.path().join(format!("{name}_{half}.safetensors"));
                write(&file, &shapes, |key| {
                    key.strip_prefix(&format!("{half}:")).map(str::to_owned)
                });
            }
        } else {
            let file = folder.path().join("model.safetensors");
            write(&file, &shapes, |key| Some(format!("model.{key}")));
        }
        let error = message(folder.path());
        let extra = extra.rsplit(':').next().unwrap_or_default();
        assert!(
            error.contains(extra) && error.contains("1 tensor"),
            "{name}: {error}"
        );
    }
}

#[test]
fn averages_and_other_models_in_the_file_are_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut shapes, _) = network("taming");
    shapes.insert("loss.logvar".to_owned(), vec![1]);
    shapes.insert("model_ema.decoderconv_inweight".to_owned(), vec![1]);
    shapes.insert("model_ema.num_updates".to_owned(), vec![1]);
    write(&folder.path().join("model.safetensors"), &shapes, |key| {
        Some(key.to_owned())
    });
    let found = Autoencoder::open(folder.path(), &Device::Cpu).expect("an autoencoder");
    let [warning] = found.warnings() else {
        panic!("{:?}", found.warnings());
    };
    assert!(warning.contains("EMA"), "{warning}");
}

#[test]
fn what_wraps_a_checkpoint_and_its_losses_do_not_matter() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut shapes, _) = network("taming");
    shapes.insert(
        "loss.discriminator.main.0.weight".to_owned(),
        vec![4, 3, 2, 2],
    );
    let file = folder.path().join("some.safetensors");
    write(&file, &shapes, |key| Some(format!("state_dict.{key}")));
    let wrapped = Autoencoder::open(folder.path(), &Device::Cpu).expect("an autoencoder");
    assert_eq!((wrapped.factor(), wrapped.channels()), (2, 5));
    assert_eq!(wrapped.codebook().map(|codes| codes.count()), Some(32));
    Ok(())
}

/// The error of a taming checkpoint whose names and shapes were changed.
fn error_of(change: impl Fn(&mut Shapes)) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut shapes, _) = network("taming");
    change(&mut shapes);
    write(
        &folder.path().join("last.ckpt.safetensors"),
        &shapes,
        |key| Some(key.to_owned()),
    );
    match Autoencoder::open(folder.path(), &Device::Cpu) {
        Ok(_) => panic!("it was read"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_missing_tensor_is_named_with_the_layout() {
    for key in [
        "decoder.up.1.block.0.norm1.weight",
        "quantize.embedding.weight",
        "encoder.conv_out.weight",
        "decoder.conv_in.weight",
    ] {
        let error = error_of(|shapes| {
            shapes.remove(key);
        });
        assert!(error.contains(&format!("no tensor `{key}`")), "{error}");
        assert!(error.contains("taming-transformers"), "{error}");
    }
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both_shapes() {
    let key = "decoder.up.0.block.1.conv2.weight";
    let error = error_of(|shapes| {
        shapes.insert(key.to_owned(), vec![32, 16, 3, 3]);
    });
    for part in [
        key,
        "[32, 16, 3, 3]",
        "[32, 32, 3, 3]",
        "taming-transformers",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_checkpoint_of_something_else_is_refused_with_what_it_holds() {
    let error = error_of(|shapes| {
        shapes.clear();
        shapes.insert("text_model.embeddings.weight".to_owned(), vec![2, 2]);
    });
    assert!(error.contains("`text_model.embeddings.weight`"), "{error}");
}

#[test]
fn a_configuration_that_does_not_fit_is_refused() {
    let folder = folder("diffusers");
    let path = folder.path().join("config.json");
    let config = std::fs::read_to_string(&path).expect("a configuration");
    for (from, to, said) in [
        ("[16,24]", "[16,32]", "conv1.weight"),
        ("\"silu\"", "\"mish\"", "act_fn"),
        ("[16,24]", "[]", "block_out_channels"),
        ("\"group\"", "\"spatial\"", "norm_type"),
    ] {
        let changed = config.replace(from, to);
        assert_ne!(changed, config);
        std::fs::write(&path, changed).expect("a configuration");
        let error = match Autoencoder::open(folder.path(), &Device::Cpu) {
            Ok(_) => panic!("it was read"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn an_empty_folder_says_what_was_looked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = match Autoencoder::open(folder.path(), &Device::Cpu) {
        Ok(_) => panic!("it was read"),
        Err(error) => error.to_string(),
    };
    assert!(error.contains("model.safetensors"), "{error}");
}

fn painting(name: &str, start: Start, init: Option<&Tensor>, seed: u64) -> Result<Latent> {
    let autoencoder = Arc::new(open(name));
    let factor = autoencoder.factor();
    let config = latent::Config {
        lr: Schedule::from(0.03),
        ..latent::Config::default()
    };
    let mut context = BuildContext {
        init,
        ..BuildContext::new([4 * factor, 6 * factor], 6, seed, &Device::Cpu)
    };
    let quantise = autoencoder.codebook().is_some();
    Latent::new(&config, autoencoder, start, quantise, &mut context)
}

fn gradient(image: &Tensor) -> Result<Tensor> {
    let values = (0..image.elem_count()).map(|i| (1.3 * i as f32).sin());
    Tensor::from_iter(values, image.device())?.reshape(image.shape())
}

fn run(painting: &mut Latent, steps: usize) -> Result<()> {
    for _ in 0..steps {
        let image = painting.render()?;
        let grad = gradient(&image)?;
        painting.step(image, &grad)?;
    }
    Ok(())
}

fn bytes(painting: &mut Latent) -> Result<(Vec<f32>, Vec<f32>)> {
    let latents = painting.latents().flatten_all()?.to_vec1()?;
    Ok((painting.render()?.flatten_all()?.to_vec1()?, latents))
}

#[test]
fn a_saved_painting_goes_on_to_the_same_bytes() -> Result<()> {
    for (name, start) in [("taming", Start::Codes), ("tiny", Start::Noise)] {
        let mut whole = painting(name, start, None, 1)?;
        run(&mut whole, 2)?;
        let saved = whole.save()?;
        run(&mut whole, 3)?;
        let mut resumed = painting(name, start, None, 2)?;
        assert_ne!(bytes(&mut whole)?, bytes(&mut resumed)?);
        resumed.load(&saved)?;
        run(&mut resumed, 3)?;
        assert_eq!(bytes(&mut whole)?, bytes(&mut resumed)?);
    }
    Ok(())
}

#[test]
fn the_init_image_is_reconstructed_from_its_codes() -> Result<()> {
    for name in ["diffusers", "amused", "kl", "taesd"] {
        let image = tensors(name)("image");
        let autoencoder = open(name);
        let z = autoencoder.encode(&image)?;
        let z = match autoencoder.codebook() {
            Some(codebook) => codebook.quantise(&z)?,
            None => z,
        };
        let expected = autoencoder.decode(&z)?.clamp(0.0, 1.0)?;
        let mut painting = painting(name, Start::Init, Some(&image), 0)?;
        assert!(distance(&painting.render()?, &expected)? < 1e-6, "{name}");
    }
    Ok(())
}

#[test]
fn latents_stay_within_the_range_of_the_codes() -> Result<()> {
    let mut painting = painting("diffusers", Start::Noise, None, 0)?;
    run(&mut painting, 6)?;
    let autoencoder = open("diffusers");
    let z = painting.latents().as_detached_tensor();
    let clamped = autoencoder.codebook().expect("codes").clamp(&z)?;
    assert_eq!(
        z.flatten_all()?.to_vec1::<f32>()?,
        clamped.flatten_all()?.to_vec1::<f32>()?
    );
    Ok(())
}

#[test]
fn a_code_is_its_own_nearest() -> Result<()> {
    let autoencoder = open("diffusers");
    let codebook = autoencoder.codebook().expect("codes");
    let numbers = Tensor::arange(0u32, 32, &Device::Cpu)?;
    let codes = codebook.lookup(&numbers, (1, 4, 8))?;
    assert_eq!(
        codebook.nearest(&codes)?.to_vec1::<u32>()?,
        numbers.to_vec1::<u32>()?
    );
    // from a little beside it, the code still
    assert_eq!(
        codebook.nearest(&(codes + 1e-3)?)?.to_vec1::<u32>()?,
        numbers.to_vec1::<u32>()?
    );
    Ok(())
}

#[test]
fn painting_follows_the_gradient() -> Result<()> {
    for name in ["kl", "tiny"] {
        let mut painting = painting(name, Start::Noise, None, 3)?;
        // towards grey
        let mut losses = vec![];
        for _ in 0..6 {
            let image = painting.render()?;
            let grad = (&image - 0.5)?;
            losses.push(grad.sqr()?.sum_all()?.to_scalar::<f32>()?);
            painting.step(image, &grad)?;
        }
        assert!(losses[5] < losses[0], "{name}: {losses:?}");
    }
    Ok(())
}

#[test]
fn sizes_are_rounded_to_whole_latents() {
    let autoencoder = open("amused");
    assert_eq!(autoencoder.nearest_size([64, 65]), [64, 64]);
    assert_eq!(autoencoder.nearest_size([66, 1]), [68, 4]);
}

#[test]
fn a_start_that_needs_what_is_not_there_is_refused() {
    for (name, start, said) in [
        ("tiny", Start::Codes, "codebook"),
        ("tiny", Start::Init, "init image"),
    ] {
        let error = match painting(name, start, None, 0) {
            Ok(_) => panic!("it was made"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(said), "{error}");
    }
}

/// Rolled latents become the rolled picture along the axes that wrap, and along no other.
#[test]
fn the_latents_of_a_seamless_picture_roll_with_it() -> Result<()> {
    for name in [
        "taming",
        "diffusers",
        "kl",
        "tiny",
        "taesd",
        "taef2",
        "taesana",
    ] {
        let folder = folder(name);
        let (z, image) = (tensors(name)("z"), tensors(name)("image"));
        for seamless in [Seamless::No, Seamless::X, Seamless::Y, Seamless::Both] {
            let network = Autoencoder::open_seamless(folder.path(), seamless, &Device::Cpu)
                .expect("an autoencoder");
            let factor = network.factor() as i32;
            let (latents, decoded) = (network.encode(&image)?, network.decode(&z)?);
            for (dim, wraps) in [(2, seamless.axes()[0]), (3, seamless.axes()[1])] {
                let rolled = network.decode(&z.roll(1, dim)?)?;
                let off = distance(&rolled, &decoded.roll(factor, dim)?)?;
                assert_eq!(off < 1e-5, wraps, "{name} {seamless:?} {dim}: {off}");
                // an encoder that chooses codes may choose another by rounding
                let rolled = network.encode(&image.roll(factor, dim)?)?;
                let off = distance(&rolled, &latents.roll(1, dim)?)?;
                assert_eq!(
                    off < 1e-4,
                    wraps,
                    "{name} {seamless:?} {dim}, encoded: {off}"
                );
            }
        }
    }
    Ok(())
}
