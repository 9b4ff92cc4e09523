//! Agreement with diffusers: networks, noise levels, samplers, and whole guided walks, on small random models.
//!
//! The fixtures and the script that made them are in `tests/fixtures/diffusion`.

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use frozen::Layer;
use phantasia_core::{Schedule, Seamless, StepOrPercent};
use phantasia_generators::diffusion::{
    Betas, Config, Denoiser, Diffusion, DiscreteDenoiser, GuidanceMode, LoadOptions, NoiseSchedule,
    Prediction, Sampler, SamplerStep, SchedulerConfig, Space, Spacing, UNet, UNetConfig, load,
};
use phantasia_generators::{BuildContext, Generator, Progress, State};
use weights::checkpoint::Checkpoint;

use common::{assert_close, numbers};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/diffusion")
        .join(name)
}

fn reference() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(fixture("reference.safetensors"), &Device::Cpu)
        .expect("the fixture")
}

fn unet(name: &str, recompute: bool) -> UNet {
    let config = std::fs::read_to_string(fixture(name).join("config.json")).expect("a file");
    let config: UNetConfig = serde_json::from_str(&config).expect("a configuration");
    let path = fixture(name).join("diffusion_pytorch_model.safetensors");
    let checkpoint = Checkpoint::open(&path).expect("weights");
    let options = LoadOptions {
        recompute,
        ..LoadOptions::default()
    };
    UNet::new(config, &checkpoint, &Device::Cpu, options).expect("a network")
}

fn unet_agrees(name: &str, recompute: bool) -> Result<()> {
    let reference = reference();
    let of = |part: &str| &reference[&format!("{name}.{part}")];
    let time = numbers(of("t"))[0];
    let network = unet(name, recompute).at(time, None)?;
    let (y, pullback) = network.vjp(of("x"))?;
    assert_close("value", &numbers(&y), &numbers(of("y")), 1e-4);
    assert_close(
        "eval",
        &numbers(&network.eval(of("x"))?),
        &numbers(of("y")),
        1e-4,
    );
    assert_close(
        "gradient",
        &numbers(&pullback(of("g"))?),
        &numbers(of("dx")),
        1e-3,
    );
    Ok(())
}

#[test]
fn a_ddpm_network_agrees_with_diffusers() -> Result<()> {
    unet_agrees("ddpm", false)
}

#[test]
fn a_guided_diffusion_network_agrees_with_diffusers() -> Result<()> {
    unet_agrees("adm", false)
}

#[test]
fn recomputing_changes_nothing() -> Result<()> {
    let x = &reference()["ddpm.x"];
    let g = &reference()["ddpm.g"];
    let gradient = |recompute| -> Result<Vec<f64>> {
        let (_, pullback) = unet("ddpm", recompute).at(12.5, None)?.vjp(x)?;
        Ok(numbers(&pullback(g)?))
    };
    assert_eq!(gradient(false)?, gradient(true)?);
    Ok(())
}

#[test]
fn the_gradient_matches_finite_differences_along_a_direction() -> Result<()> {
    let reference = reference();
    let network = unet("adm", false).at(800.0, None)?;
    let (x, g) = (&reference["adm.x"], &reference["adm.g"]);
    let direction = (g * 0.7)?.affine(1.0, 0.1)?;
    let value = |h: f64| -> Result<f64> {
        let y = network
            .eval(&(x + (&direction * h)?)?)?
            .to_dtype(DType::F64)?;
        (y * g.to_dtype(DType::F64)?)?.sum_all()?.to_scalar::<f64>()
    };
    let slope = (value(1e-2)? - value(-1e-2)?) / 2e-2;
    let found = numbers(&(network.vjp(x)?.1(g)? * direction)?.sum_all()?)[0];
    assert!(
        (slope - found).abs() < 5e-3 * slope.abs(),
        "{slope} {found}"
    );
    Ok(())
}

#[test]
fn sides_that_cannot_be_halved_are_refused() -> Result<()> {
    let network = unet("ddpm", false).at(3.0, None)?;
    let x = Tensor::zeros((1, 3, 10, 8), DType::F32, &Device::Cpu)?;
    let error = network
        .eval(&x)
        .expect_err("10 is no multiple of 4")
        .to_string();
    assert!(error.contains("multiples of 4"), "{error}");
    Ok(())
}

fn scheduler(beta_schedule: &str) -> SchedulerConfig {
    SchedulerConfig {
        beta_schedule: beta_schedule.to_owned(),
        ..SchedulerConfig::default()
    }
}

#[test]
fn noise_levels_are_those_of_diffusers() {
    let reference = reference();
    for kind in ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"] {
        let levels = scheduler(kind).levels().expect("levels");
        let found: Vec<f64> = (0..1000)
            .step_by(37)
            .map(|t| levels.sigma(f64::from(t)))
            .collect();
        let expected = numbers(&reference[&format!("sigmas.{kind}")]);
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (found / expected - 1.0).abs() < 1e-3,
                "{kind}: {found} {expected}"
            );
        }
    }
}

#[test]
fn spacings_are_those_of_diffusers() -> Result<()> {
    let reference = reference();
    let betas = Betas::Linear {
        start: 1e-4,
        end: 0.02,
    };
    for (spacing, name, offset) in [
        (Spacing::Leading, "leading", 1),
        (Spacing::Trailing, "trailing", 0),
    ] {
        let levels = NoiseSchedule::new(&betas, 1000, offset)?;
        let walk = levels.sampling_schedule(spacing, 13)?;
        let times: Vec<f64> = walk[..13].iter().map(|&sigma| levels.time(sigma)).collect();
        assert_eq!(times, numbers(&reference[&format!("times.{name}")]));
    }
    let walk = NoiseSchedule::new(&betas, 1000, 0)?.sampling_schedule(Spacing::Karras, 12)?;
    assert_close("karras", &walk, &numbers(&reference["karras"]), 1e-3);
    Ok(())
}

#[test]
fn times_and_levels_are_inverse() -> Result<()> {
    let levels = scheduler("squaredcos_cap_v2").levels().expect("levels");
    for time in [0.0, 0.25, 17.0, 500.5, 998.75, 999.0] {
        assert!((levels.time(levels.sigma(time)) - time).abs() < 1e-9);
    }
    assert_eq!((levels.time(0.0), levels.time(1e9)), (0.0, 999.0));
    Ok(())
}

/// Walks as diffusers did, with the noise that it drew.
fn walks_alike(
    name: &str,
    scheduler: &SchedulerConfig,
    (sampler, eta): (Sampler, Option<f64>),
    spacing: Spacing,
    clip: Option<f64>,
) -> Result<()> {
    let reference = reference();
    let model = DiscreteDenoiser {
        network: Arc::new(unet("ddpm", false)),
        levels: scheduler.levels().expect("levels"),
        prediction: scheduler.prediction().expect("a prediction"),
        clip,
    };
    let sigmas = model.levels.sampling_schedule(spacing, 10)?;
    let mut x = (&reference["start"] * (1.0 + sigmas[0] * sigmas[0]).sqrt())?;
    let mut previous: Option<Tensor> = None;
    for i in 0..10 {
        let denoised = model.eval(&x, sigmas[i])?;
        let at = SamplerStep {
            previous: (i > 0).then(|| sigmas[i - 1]),
            from: sigmas[i],
            to: sigmas[i + 1],
        };
        let noise = || Ok(reference[&format!("walk.{name}.noise.{i}")].clone());
        x = sampler.step(eta, &x, &denoised, previous.as_ref(), at, noise)?;
        previous = Some(denoised);
    }
    let end = numbers(&reference[&format!("walk.{name}.end")]);
    assert_close(name, &numbers(&x), &end, 1e-3);
    Ok(())
}

#[test]
fn ddim_walks_as_in_diffusers() -> Result<()> {
    let (linear, spacing) = (scheduler("linear"), Spacing::Leading);
    let ddim = |eta| (Sampler::Ddim, Some(eta));
    walks_alike("ddim", &linear, ddim(0.0), spacing, None)?;
    walks_alike("ddim_eta", &linear, ddim(0.8), spacing, None)?;
    walks_alike("ddim_clip", &linear, ddim(0.0), spacing, Some(1.0))
}

#[test]
fn euler_walks_as_in_diffusers() -> Result<()> {
    let linear = scheduler("linear");
    walks_alike(
        "euler",
        &linear,
        (Sampler::Euler, None),
        Spacing::Trailing,
        None,
    )
}

#[test]
fn euler_ancestral_walks_as_in_diffusers() -> Result<()> {
    let scaled = scheduler("scaled_linear");
    let sampler = (Sampler::EulerAncestral, None);
    walks_alike("ancestral", &scaled, sampler, Spacing::Trailing, None)
}

#[test]
fn dpm_solver_walks_as_in_diffusers() -> Result<()> {
    let linear = scheduler("linear");
    walks_alike(
        "dpm",
        &linear,
        (Sampler::DpmPlusPlus2M, None),
        Spacing::Trailing,
        None,
    )
}

#[test]
fn predictions_of_velocity_and_of_images_walk_as_in_diffusers() -> Result<()> {
    let mut velocity = scheduler("linear");
    velocity.prediction_type = "v_prediction".to_owned();
    walks_alike(
        "euler_v",
        &velocity,
        (Sampler::Euler, None),
        Spacing::Trailing,
        None,
    )?;
    let mut sample = scheduler("squaredcos_cap_v2");
    sample.prediction_type = "sample".to_owned();
    let sampler = (Sampler::Ddim, None);
    walks_alike("ddim_sample", &sample, sampler, Spacing::Leading, None)
}

fn model(clip: bool) -> Arc<dyn Denoiser> {
    let options = LoadOptions {
        recompute: false,
        clip: Some(clip),
        ..LoadOptions::default()
    };
    Arc::new(load(&fixture("ddpm"), options, &Device::Cpu).expect("a model"))
}

fn config() -> Config {
    Config {
        spacing: Some(Spacing::Leading),
        scale: Schedule::from(1.0),
        clamp: None,
        ..Config::default()
    }
}

fn context<'a>(steps: usize) -> BuildContext<'a> {
    BuildContext::new([16, 16], steps, 7, &Device::Cpu)
}

fn start(config: &Config, clip: bool, mut context: BuildContext<'_>) -> Result<Diffusion> {
    Diffusion::new(config, model(clip), Space::Pixels, &mut context)
}

/// The gradient of the mean squared distance to a picture.
fn towards(image: &Tensor, target: &Tensor) -> Result<Tensor> {
    (image - target)? * (2.0 / target.elem_count() as f64)
}

fn guided_alike(name: &str, config: &Config) -> Result<()> {
    let reference = reference();
    let mut diffusion = start(config, false, context(10))?;
    let sigma = SchedulerConfig::default()
        .levels()
        .expect("levels")
        .sigma(900.0);
    let mut state = State::default();
    let noisy = (&reference["start"] * (1.0 + sigma * sigma).sqrt())?;
    state.tensors.insert("noisy".to_owned(), noisy);
    state.scalars.insert("position".to_owned(), 0.0);
    state.scalars.insert("levels".to_owned(), 10.0);
    diffusion.load(&state)?;
    let target = &reference["target"];
    let mut images = vec![];
    loop {
        let image = diffusion.render()?;
        let grad = towards(&image, target)?;
        images.push(image.clone());
        if diffusion.step(image, &grad)? == Progress::Finished {
            break;
        }
    }
    let expected = &reference[&format!("guided.{name}.images")];
    assert_close(
        name,
        &numbers(&Tensor::cat(&images, 0)?),
        &numbers(expected),
        1e-3,
    );
    let end = numbers(&reference[&format!("guided.{name}.end")]);
    assert_close("end", &numbers(&diffusion.render()?), &end, 1e-3);
    Ok(())
}

#[test]
fn guidance_through_the_network_walks_as_in_pytorch() -> Result<()> {
    let guided = Config {
        scale: Schedule::from(3000.0),
        clamp: Some(0.05),
        blend: true,
        ..config()
    };
    guided_alike("through", &guided)?;
    let free = Config {
        scale: Schedule::from(20.0),
        ..config()
    };
    guided_alike("through_free", &free)
}

#[test]
fn guidance_around_the_network_walks_as_in_pytorch() -> Result<()> {
    let guided = Config {
        guidance: GuidanceMode::Around,
        scale: Schedule::from(200.0),
        ..config()
    };
    guided_alike("around", &guided)
}

/// Steps until the end, guided towards grey.
fn walked(diffusion: &mut Diffusion, steps: usize) -> Result<Vec<f64>> {
    for _ in 0..steps {
        let image = diffusion.render()?;
        let grad = towards(&image, &Tensor::full(0.5f32, image.shape(), &Device::Cpu)?)?;
        diffusion.step(image, &grad)?;
    }
    Ok(numbers(&diffusion.render()?))
}

#[test]
fn a_saved_walk_goes_on_as_if_it_had_not_stopped() -> Result<()> {
    for sampler in [
        Sampler::EulerAncestral,
        Sampler::DpmPlusPlus2M,
        Sampler::Euler,
    ] {
        for stop in [0, 1, 3] {
            let config = Config {
                sampler,
                skip: Some(StepOrPercent::Steps(1)),
                ..config()
            };
            let start = || start(&config, true, context(5));
            let whole = walked(&mut start()?, 5)?;
            let mut first = start()?;
            walked(&mut first, stop)?;
            let mut second = start()?;
            second.load(&first.save()?)?;
            assert_eq!(walked(&mut second, 5 - stop)?, whole, "{sampler:?} {stop}");
        }
    }
    Ok(())
}

#[test]
fn a_walk_of_other_steps_is_refused_and_changes_nothing() -> Result<()> {
    let saved = start(&config(), true, context(6))?.save()?;
    let mut other = start(&config(), true, context(7))?;
    let before = numbers(other.noisy());
    let error = other.load(&saved).expect_err("other steps").to_string();
    assert!(
        error.contains("6 sampler steps") && error.contains('7'),
        "{error}"
    );
    assert_eq!(numbers(other.noisy()), before);
    Ok(())
}

#[test]
fn the_end_is_said_and_a_further_step_changes_nothing() -> Result<()> {
    let mut diffusion = start(&config(), true, context(2))?;
    let end = walked(&mut diffusion, 2)?;
    let image = diffusion.render()?;
    let grad = image.ones_like()?;
    assert_eq!(diffusion.step(image, &grad)?, Progress::Finished);
    assert_eq!(numbers(&diffusion.render()?), end);
    Ok(())
}

#[test]
fn an_init_picture_survives_late_steps() -> Result<()> {
    let config = Config {
        skip: Some(StepOrPercent::Steps(49)),
        scale: Schedule::from(0.0),
        ..config()
    };
    let init = (&reference()["target"] * 0.5)?;
    let context = BuildContext {
        init: Some(&init),
        ..context(1)
    };
    let mut diffusion = start(&config, false, context)?;
    // the noise of the lowest level is a hundredth
    let noisy = (diffusion.noisy() * 0.5)?.affine(1.0, 0.5)?;
    let difference = (noisy - &init)?.sqr()?.mean_all()?.sqrt()?;
    assert!(numbers(&difference)[0] < 0.02);
    walked(&mut diffusion, 1)?;
    Ok(())
}

#[test]
fn sizes_that_the_network_does_not_know_are_rounded_up_and_resized() -> Result<()> {
    let context = || BuildContext::new([10, 21], 3, 7, &Device::Cpu);
    for guidance in [GuidanceMode::Around, GuidanceMode::Through] {
        let config = Config {
            guidance,
            ..config()
        };
        let mut diffusion = start(&config, true, context())?;
        assert_eq!(diffusion.inner_size(), [12, 24]);
        assert_eq!(diffusion.render()?.dims(), [1, 3, 21, 10]);
        assert!(walked(&mut diffusion, 3)?.iter().all(|x| x.is_finite()));
    }
    let config = Config {
        resolution: Some([16, 8]),
        ..config()
    };
    let mut diffusion = start(&config, true, context())?;
    assert_eq!(diffusion.noisy().dims(), [1, 3, 8, 16]);
    assert_eq!(diffusion.render()?.dims(), [1, 3, 21, 10]);
    Ok(())
}

#[test]
fn guidance_brings_the_picture_closer() -> Result<()> {
    let distance = |guidance, scale: f64| -> Result<f64> {
        let config = Config {
            guidance,
            scale: Schedule::from(scale),
            ..config()
        };
        let mut diffusion = start(&config, true, context(10))?;
        let end = walked(&mut diffusion, 10)?;
        Ok(end.iter().map(|x| (x - 0.5).powi(2)).sum::<f64>() / end.len() as f64)
    };
    for mode in [GuidanceMode::Around, GuidanceMode::Through] {
        let (free, guided) = (distance(mode, 0.0)?, distance(mode, 3000.0)?);
        assert!(guided < 0.95 * free, "{mode:?}: {free} {guided}");
    }
    Ok(())
}

fn load_error(folder: &Path) -> String {
    let options = LoadOptions::default();
    match load(folder, options, &Device::Cpu) {
        Ok(_) => panic!("{} was loaded", folder.display()),
        Err(error) => error.to_string(),
    }
}

/// A copy of the ddpm fixture whose configuration is changed.
fn changed(change: impl FnOnce(String) -> String) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = "diffusion_pytorch_model.safetensors";
    std::fs::copy(fixture("ddpm").join(weights), folder.path().join(weights)).expect("a copy");
    let config = std::fs::read_to_string(fixture("ddpm").join("config.json")).expect("a file");
    std::fs::write(folder.path().join("config.json"), change(config)).expect("a file");
    folder
}

#[test]
fn an_empty_folder_is_no_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = load_error(folder.path());
    assert!(error.contains("holds no diffusion model"), "{error}");
}

#[test]
fn a_model_is_read_at_the_root_and_as_a_pipeline() -> Result<()> {
    let options = LoadOptions::default();
    let scheduler = r#"{ "_class_name": "DDPMScheduler", "beta_schedule": "squaredcos_cap_v2" }"#;
    let levels = |folder: &Path| -> Result<Vec<f64>> {
        let model = load(folder, options, &Device::Cpu).map_err(candle_core::Error::wrap)?;
        let x = Tensor::zeros((1, 3, 8, 8), DType::F32, &Device::Cpu)?;
        let mut values = numbers(&model.eval(&x, 1.0)?);
        values.push(model.levels().largest());
        Ok(values)
    };
    let place = |folder: &Path, network: &str, schedule: &str| {
        for (from, to) in [
            (
                fixture("ddpm").join("config.json"),
                folder.join(network).join("config.json"),
            ),
            (
                fixture("ddpm").join("diffusion_pytorch_model.safetensors"),
                folder
                    .join(network)
                    .join("diffusion_pytorch_model.safetensors"),
            ),
        ] {
            std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            std::fs::copy(from, to).expect("a copy");
        }
        let path = folder.join(schedule).join("scheduler_config.json");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, scheduler).expect("a file");
    };
    let mut seen = vec![];
    for (network, schedule) in [
        ("", ""),
        ("unet", "scheduler"),
        ("", "scheduler"),
        ("unet", ""),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        place(folder.path(), network, schedule);
        seen.push(levels(folder.path())?);
    }
    assert!(seen.iter().all(|values| *values == seen[0]));
    // half a pipeline does not hide the files at the root
    let folder = tempfile::tempdir().expect("a folder");
    place(folder.path(), "", "");
    std::fs::create_dir(folder.path().join("unet")).expect("a folder");
    assert_eq!(levels(folder.path())?, seen[0]);
    std::fs::write(folder.path().join("unet/config.json"), "{}").expect("a file");
    assert_eq!(levels(folder.path())?, seen[0]);
    Ok(())
}

#[test]
fn another_class_is_named() {
    let folder = changed(|config| config.replace("UNet2DModel", "UNet2DConditionModel"));
    let error = load_error(folder.path());
    assert!(
        error.contains("the class `UNet2DConditionModel`"),
        "{error}"
    );
}

#[test]
fn weights_of_another_size_are_named() {
    let folder = changed(|config| config.replace("12,", "20,"));
    let error = load_error(folder.path());
    assert!(error.contains("has shape"), "{error}");
}

/// The ddpm fixture with its weights under a prefix, and one more tensor.
fn beside(prefix: &str, more: &str) -> tempfile::TempDir {
    let folder = changed(|config| config);
    let path = folder.path().join("diffusion_pytorch_model.safetensors");
    let weights = candle_core::safetensors::load(&path, &Device::Cpu).expect("weights");
    let mut weights: HashMap<String, Tensor> = (weights.into_iter())
        .map(|(key, tensor)| (format!("{prefix}{key}"), tensor))
        .collect();
    let one = Tensor::new(&[1f32], &Device::Cpu).expect("a tensor");
    weights.insert(more.to_owned(), one);
    candle_core::safetensors::save(&weights, &path).expect("weights");
    folder
}

#[test]
fn tensors_that_the_network_has_no_place_for_are_named() {
    for (prefix, more) in [
        ("", "add_embedding.linear_1.weight"),
        ("", "mid_block.attentions.0.norm_q.weight"),
        ("module.", "module.class_embedding.weight"),
    ] {
        let error = load_error(beside(prefix, more).path());
        assert!(error.contains(&format!("1 tensor (`{more}`)")), "{error}");
    }
}

#[test]
fn a_wrapped_network_is_read_and_other_tensors_are_reported() {
    let options = LoadOptions::default();
    let folder = beside("unet.module.", "text_encoder.weight");
    let model = load(folder.path(), options, &Device::Cpu).expect("a model");
    let [warning] = model.network.warnings() else {
        panic!("{:?}", model.network.warnings());
    };
    assert!(warning.contains("`text_encoder.weight`"), "{warning}");
}

#[test]
fn blocks_that_are_not_known_are_named() {
    let folder = changed(|config| config.replace("\"AttnDownBlock2D\"", "\"SkipDownBlock2D\""));
    let error = load_error(folder.path());
    assert!(error.contains("`SkipDownBlock2D`"), "{error}");
}

#[test]
fn a_scheduler_that_is_not_known_is_named() {
    let folder = changed(|config| config);
    let path = folder.path().join("scheduler_config.json");
    std::fs::write(&path, r#"{ "_class_name": "ScoreSdeVeScheduler" }"#).expect("a file");
    let error = load_error(folder.path());
    assert!(error.contains("`ScoreSdeVeScheduler`"), "{error}");
    std::fs::write(&path, "{").expect("a file");
    let error = load_error(folder.path());
    assert!(
        error.contains("scheduler_config.json is not a configuration"),
        "{error}"
    );
}

#[test]
fn the_256_models_have_their_shape() {
    let unet = UNet::new(
        UNetConfig::ddpm_256(),
        &Checkpoint::random(1),
        &Device::Cpu,
        LoadOptions {
            recompute: true,
            ..LoadOptions::default()
        },
    )
    .expect("a network");
    assert_eq!(unet.config().multiple(), 32);
    let network = unet.at(500.0, None).expect("a time");
    let x = Tensor::zeros((1, 3, 32, 32), DType::F32, &Device::Cpu).expect("an image");
    let (y, pullback) = network.vjp(&x).expect("a value");
    assert_eq!(y.dims(), [1, 3, 32, 32]);
    let grad = pullback(&y.ones_like().expect("ones")).expect("a gradient");
    assert!(numbers(&grad).iter().any(|x| *x != 0.0));
    assert_eq!(
        SchedulerConfig::default().prediction().expect("one"),
        Prediction::Epsilon
    );
}

/// Rolled noise becomes the rolled prediction along the axes that wrap.
#[test]
fn a_seamless_network_rolls_with_its_input() -> Result<()> {
    let config = std::fs::read_to_string(fixture("ddpm").join("config.json")).expect("a file");
    let path = fixture("ddpm").join("diffusion_pytorch_model.safetensors");
    let checkpoint = Checkpoint::open(&path).expect("weights");
    let x = reference()["ddpm.x"].clone();
    let g = reference()["ddpm.g"].clone();
    for seamless in [Seamless::No, Seamless::X, Seamless::Y, Seamless::Both] {
        let options = LoadOptions {
            seamless,
            ..LoadOptions::default()
        };
        let config = serde_json::from_str(&config).expect("a configuration");
        let unet = UNet::new(config, &checkpoint, &Device::Cpu, options).expect("a network");
        let shift = unet.config().multiple() as i32;
        let network = unet.at(500.0, None)?;
        let run = |x: &Tensor, g: &Tensor| -> Result<[Tensor; 2]> {
            let (y, pullback) = network.vjp(x)?;
            Ok([y, pullback(g)?])
        };
        let plain = run(&x, &g)?;
        for (dim, wraps) in [(2, seamless.axes()[0]), (3, seamless.axes()[1])] {
            let rolled = run(&x.roll(shift, dim)?, &g.roll(shift, dim)?)?;
            for (plain, rolled) in plain.iter().zip(rolled) {
                let off = (plain.roll(shift, dim)? - rolled)?.abs()?.max_all()?;
                let off = off.to_scalar::<f32>()? / plain.abs()?.max_all()?.to_scalar::<f32>()?;
                assert_eq!(off < 1e-4, wraps, "{seamless:?} {dim}: {off}");
            }
        }
    }
    Ok(())
}
