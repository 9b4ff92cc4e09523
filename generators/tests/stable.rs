//! Stable Diffusion's networks and noise optimisation agree with diffusers and PyTorch, on small random models.
//!
//! The fixtures and the script that made them are in `tests/fixtures/stable`.

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use frozen::Layer;
use phantasia_core::{Schedule, Seamless, StepOrPercent};
use phantasia_generators::diffusion::{
    Config, Denoiser, Diffusion, GuidanceMode, LoadOptions, OneOrMany, Space, Spacing,
    StableDiffusion, UNet, UNetConfig, is_conditional,
};
use phantasia_generators::{Autoencoder, BuildContext, Generator, Noise, Progress, State, noise};
use weights::checkpoint::Checkpoint;

use common::numbers;

const LOADING: LoadOptions = LoadOptions {
    recompute: false,
    clip: None,
    seamless: Seamless::No,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/stable")
        .join(name)
}

fn reference(name: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(fixture(&format!("{name}.safetensors")), &Device::Cpu)
        .expect("the fixture")
}

#[track_caller]
fn assert_close(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    common::assert_close(what, &numbers(found), &numbers(expected), tolerance);
}

fn unet(name: &str, change: impl FnOnce(&mut UNetConfig)) -> std::result::Result<UNet, String> {
    let folder = fixture(name).join("unet");
    let config = std::fs::read_to_string(folder.join("config.json")).expect("a file");
    let mut config = UNetConfig::parse(&config).expect("a configuration");
    change(&mut config);
    let weights = folder.join("diffusion_pytorch_model.safetensors");
    let checkpoint = Checkpoint::open(&weights).expect("weights");
    UNet::new(config, &checkpoint, &Device::Cpu, LOADING).map_err(|error| error.to_string())
}

fn unet_agrees(name: &str) -> Result<()> {
    let reference = reference(name);
    let of = |part: &str| &reference[&format!("unet.{part}")];
    let time = numbers(of("t"))[0];
    let network = unet(name, |_| {}).expect("a network");
    let network = network.at(time, Some(of("context")))?;
    let (y, pullback) = network.vjp(of("x"))?;
    assert_close("value", &y, of("y"), 1e-4);
    assert_close("eval", &network.eval(of("x"))?, of("y"), 1e-4);
    assert_close("gradient", &pullback(of("g"))?, of("dx"), 1e-3);
    Ok(())
}

#[test]
fn a_network_like_stable_diffusion_1_agrees_with_diffusers() -> Result<()> {
    unet_agrees("sd1")
}

#[test]
fn a_network_like_stable_diffusion_2_agrees_with_diffusers() -> Result<()> {
    unet_agrees("sd2")
}

#[test]
fn a_network_that_needs_a_text_says_so() {
    let network = unet("sd1", |_| {}).expect("a network");
    let error = network.at(3.0, None).err().expect("no text").to_string();
    assert!(error.contains("needs a text"), "{error}");
}

#[test]
fn a_text_of_another_width_is_refused() -> Result<()> {
    let text = Tensor::zeros((1, 7, 20), DType::F32, &Device::Cpu)?;
    let error = pipeline().conditioned(text).err().expect("a width of 20");
    let error = error.to_string();
    assert!(error.contains("20]") && error.contains("12]"), "{error}");
    Ok(())
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let wide = unet("sd2", |config| {
        config.cross_attention_dim = Some(OneOrMany::One(24));
    });
    let error = wide.err().expect("another width");
    assert!(
        error.contains("attn2.to_k.weight") && error.contains("[8, 24]"),
        "{error}"
    );
    let deep = unet("sd2", |config| {
        config.transformer_layers_per_block = OneOrMany::One(2);
    });
    let error = deep.err().expect("a missing block");
    assert!(error.contains("transformer_blocks.1."), "{error}");
    let conv = unet("sd2", |config| config.use_linear_projection = false);
    let error = conv.err().expect("linear projections");
    assert!(error.contains("proj_in.weight"), "{error}");
}

#[test]
fn what_is_not_read_is_named() {
    let sdxl = unet("sd2", |config| {
        (config.rest).insert("addition_embed_type".to_owned(), "text_time".into());
    });
    let error = sdxl.err().expect("SDXL");
    assert!(
        error.contains("text_time") && error.contains("SDXL"),
        "{error}"
    );
    let gated = unet("sd2", |config| {
        (config.rest).insert("attention_type".to_owned(), "gated".into());
    });
    let error = gated.err().expect("GLIGEN");
    assert!(error.contains("`attention_type`"), "{error}");
    let heads = unet("sd2", |config| {
        config.attention_head_dim = Some(OneOrMany::One(3));
    });
    let error = heads.err().expect("three heads");
    assert!(
        error.contains("3 attention heads for 8 channels"),
        "{error}"
    );
}

#[test]
fn stable_diffusion_1_has_its_shape() {
    let config = UNetConfig::parse(
        r#"{ "_class_name": "UNet2DConditionModel", "sample_size": 64, "cross_attention_dim": 768 }"#,
    );
    let config = config.expect("a configuration");
    assert_eq!((config.multiple(), config.context()), (8, Some(768)));
    assert_eq!((config.in_channels, config.out_channels), (4, 4));
    assert_eq!(config.block_out_channels, [320, 640, 1280, 1280]);
    assert_eq!(config.up_block_types[0], "UpBlock2D");
    assert_eq!(config.down_block_types[3], "DownBlock2D");
}

/// Sizes of a real model: a guided prediction of a clean picture, as diffusers computes it with the weights that are part of the program.
#[test]
fn the_embedded_model_agrees_with_diffusers() -> Result<()> {
    let reference = reference("../embedded-diffusion");
    let of = |part: &str| &reference[part];
    let model = StableDiffusion::embedded(LOADING, &Device::Cpu).expect("the embedded model");
    assert_eq!(model.warnings().count(), 0);
    let guided = model.guided(of("hidden").clone(), of("nothing").clone(), 3.0)?;
    let sigma = numbers(of("sigma"))[0];
    let scale = (1.0 + sigma * sigma).sqrt();
    let (clean, pullback) = guided.vjp(&(of("x") * scale)?, sigma)?;
    assert_close("clean", &clean, of("clean"), 1e-4);
    assert_close("gradient", &(pullback(of("g"))? * scale)?, of("dx"), 1e-3);
    let Space::Latents { autoencoder, .. } = model.space() else {
        panic!("it works in latents");
    };
    let every = Tensor::arange_step(0u32, 96, 3, &Device::Cpu)?;
    let picture = autoencoder.decode(&(&clean / autoencoder.latent_scale())?)?;
    let picture = picture.index_select(&every, 2)?.index_select(&every, 3)?;
    assert_close("picture", &picture, of("picture"), 1e-3);
    Ok(())
}

fn pipeline() -> StableDiffusion {
    StableDiffusion::load(&fixture("sd1"), None, LOADING, &Device::Cpu).expect("a pipeline")
}

#[test]
fn pipelines_are_told_from_unconditional_models() {
    assert!(is_conditional(&fixture("sd2")).expect("a model"));
    assert!(!is_conditional(&fixture("../diffusion/ddpm")).expect("a model"));
}

fn guided(reference: &HashMap<String, Tensor>, scale: f64) -> Arc<dyn Denoiser> {
    let text = |name: &str| reference[&format!("walk.{name}")].clone();
    (pipeline().guided(text("wanted"), text("unwanted"), scale)).expect("texts of its width")
}

fn config() -> Config {
    Config {
        spacing: Some(Spacing::Leading),
        scale: Schedule::from(0.0),
        clamp: None,
        ..Config::default()
    }
}

fn context<'a>(steps: usize) -> BuildContext<'a> {
    BuildContext::new([16, 16], steps, 7, &Device::Cpu)
}

/// The gradient of the mean squared distance to a picture.
fn towards(image: &Tensor, target: &Tensor) -> Result<Tensor> {
    (image - target)? * (2.0 / target.elem_count() as f64)
}

fn walks_alike(name: &str, mode: GuidanceMode, scale: f64) -> Result<()> {
    let reference = reference("sd1");
    let model = guided(&reference, 3.0);
    let sigma = (model.levels()).sampling_schedule(Spacing::Leading, 5)?[0];
    let config = Config {
        guidance: mode,
        scale: Schedule::from(scale),
        ..config()
    };
    let mut diffusion = Diffusion::new(&config, model, pipeline().space(), &mut context(5))?;
    let mut state = State::default();
    let noisy = (&reference["walk.start"] * (1.0 + sigma * sigma).sqrt())?;
    state.tensors.insert("noisy".to_owned(), noisy);
    state.scalars.insert("position".to_owned(), 0.0);
    state.scalars.insert("levels".to_owned(), 5.0);
    diffusion.load(&state)?;
    let mut images = vec![];
    loop {
        let image = diffusion.render()?;
        let grad = towards(&image, &reference["walk.target"])?;
        images.push(image.clone());
        if diffusion.step(image, &grad)? == Progress::Finished {
            break;
        }
    }
    images.push(diffusion.render()?);
    let expected = &reference[&format!("walk.{name}.images")];
    assert_close(name, &Tensor::cat(&images, 0)?, expected, 1e-3);
    Ok(())
}

#[test]
fn classifier_free_guidance_walks_as_in_pytorch() -> Result<()> {
    walks_alike("free", GuidanceMode::Through, 0.0)
}

#[test]
fn guidance_through_decoder_and_network_walks_as_in_pytorch() -> Result<()> {
    walks_alike("through", GuidanceMode::Through, 1000.0)
}

#[test]
fn guidance_through_the_decoder_alone_walks_as_in_pytorch() -> Result<()> {
    walks_alike("around", GuidanceMode::Around, 10000.0)
}

#[test]
fn a_scale_of_one_is_the_prompt_alone() -> Result<()> {
    let reference = reference("sd1");
    let x = &reference["walk.start"];
    let alone = pipeline().conditioned(reference["walk.wanted"].clone())?;
    let one = guided(&reference, 1.0).eval(x, 2.0)?;
    assert_eq!(numbers(&one), numbers(&alone.eval(x, 2.0)?));
    let more = guided(&reference, 2.0);
    assert_ne!(numbers(&one), numbers(&more.eval(x, 2.0)?));
    assert_close("vjp", &more.vjp(x, 2.0)?.0, &more.eval(x, 2.0)?, 1e-5);
    Ok(())
}

#[test]
fn an_init_picture_passes_through_the_latents() -> Result<()> {
    let reference = reference("sd1");
    let late = Config {
        skip: Some(StepOrPercent::Steps(49)),
        ..config()
    };
    let init = &reference["walk.target"];
    let model = guided(&reference, 3.0);
    let mut context = BuildContext {
        init: Some(init),
        ..context(1)
    };
    let diffusion = Diffusion::new(&late, model, pipeline().space(), &mut context)?;
    assert_eq!(diffusion.noisy().dims(), [1, 4, 8, 8]);
    let vae = Autoencoder::open(&fixture("sd1/vae"), &Device::Cpu).expect("an autoencoder");
    let latents = vae.encode(init)?;
    let noise = (diffusion.noisy() - latents)?.sqr()?.mean_all()?.sqrt()?;
    // of the lowest level
    assert!(numbers(&noise)[0] < 0.05, "{noise}");
    Ok(())
}

#[test]
fn a_picture_of_another_size_is_resized() -> Result<()> {
    let reference = reference("sd1");
    let config = Config {
        scale: Schedule::from(50.0),
        ..config()
    };
    let model = guided(&reference, 3.0);
    let mut context = BuildContext::new([10, 21], 3, 7, &Device::Cpu);
    let mut diffusion = Diffusion::new(&config, model, pipeline().space(), &mut context)?;
    assert!(context.warnings[0].contains("it works at 12x24"));
    // the autoencoder halves the sides, and so does the network
    assert_eq!(diffusion.inner_size(), [12, 24]);
    for _ in 0..3 {
        let image = diffusion.render()?;
        assert_eq!(image.dims(), [1, 3, 21, 10]);
        diffusion.step(image.clone(), &image)?;
    }
    Ok(())
}

fn painting(start: bool) -> Result<(Noise, HashMap<String, Tensor>)> {
    let reference = reference("sd1");
    let model = Arc::new(pipeline().conditioned(reference["noise.context"].clone())?);
    let space = pipeline().space();
    let noise = Noise::new(&noise::Config::default(), model, space, &mut context(4))?;
    if start {
        noise.noise().set(&reference["noise.start"])?;
    }
    Ok((noise, reference))
}

/// One step of the loss of the fixture; the picture and its loss.
fn step(noise: &mut Noise, target: &Tensor) -> Result<(Tensor, f64, Progress)> {
    let image = noise.render()?;
    let loss = 30.0 * numbers(&(&image - target)?.sqr()?.mean_all()?)[0];
    noise.observe_loss(loss)?;
    let progress = noise.step(image.clone(), &(towards(&image, target)? * 30.0)?)?;
    Ok((image, loss, progress))
}

#[test]
fn noise_optimisation_steps_as_in_pytorch() -> Result<()> {
    let (mut noise, reference) = painting(true)?;
    let mut images = vec![];
    loop {
        let (image, _, progress) = step(&mut noise, &reference["noise.target"])?;
        images.push(image);
        if progress == Progress::Finished {
            break;
        }
    }
    assert_close(
        "pictures",
        &Tensor::cat(&images, 0)?,
        &reference["noise.images"],
        1e-3,
    );
    let end = noise.noise().as_detached_tensor();
    assert_close("noise", &end, &reference["noise.end"], 1e-3);
    Ok(())
}

#[test]
fn the_best_picture_is_kept() -> Result<()> {
    let (mut noise, reference) = painting(false)?;
    let first = noise.render()?;
    assert_eq!(numbers(&noise.picture()?), numbers(&first));
    let (image, loss, _) = step(&mut noise, &reference["noise.target"])?;
    let second = noise.render()?;
    noise.observe_loss(loss + 1.0)?;
    assert_eq!(numbers(&noise.picture()?), numbers(&image));
    noise.observe_loss(loss - 1.0)?;
    assert_eq!(numbers(&noise.picture()?), numbers(&second));
    // what was best before something else was asked for is not kept against what comes
    noise.objective_changed();
    step(&mut noise, &reference["noise.target"])?;
    assert_eq!(numbers(&noise.picture()?), numbers(&second));
    let third = noise.render()?;
    noise.objective_changed();
    noise.observe_loss(loss + 9.0)?;
    assert_eq!(numbers(&noise.picture()?), numbers(&third));
    Ok(())
}

#[test]
fn saved_noise_goes_on_as_if_it_had_not_stopped() -> Result<()> {
    let (mut whole, reference) = painting(false)?;
    let target = &reference["noise.target"];
    let mut first = painting(false)?.0;
    for _ in 0..2 {
        step(&mut whole, target)?;
        step(&mut first, target)?;
    }
    let mut second = painting(true)?.0;
    second.load(&first.save()?)?;
    assert_eq!(numbers(&second.picture()?), numbers(&whole.picture()?));
    for _ in 0..2 {
        let (a, b) = (step(&mut whole, target)?, step(&mut second, target)?);
        assert_eq!(numbers(&a.0), numbers(&b.0));
        assert_eq!(a.2, b.2);
    }
    assert_eq!(numbers(&second.picture()?), numbers(&whole.picture()?));
    Ok(())
}
