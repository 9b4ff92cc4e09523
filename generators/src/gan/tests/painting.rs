//! Painting with a tiny network.

use std::path::PathBuf;

use candle_core::{Device, Result, Tensor};
use phantasia_core::EmbeddedPrompt;

use super::*;
use crate::diffusion::Pipeline;
use crate::{Guide, ModelSource, Progress};

struct Source(PathBuf);

impl ModelSource for Source {
    fn gan(&self, name: &str) -> anyhow::Result<PathBuf> {
        Ok(self.0.join(name))
    }

    fn diffusion(&self, _: &str) -> anyhow::Result<PathBuf> {
        anyhow::bail!("there is none")
    }

    fn autoencoder(&self, _: &str) -> anyhow::Result<PathBuf> {
        anyhow::bail!("there is none")
    }

    fn encode_texts(
        &self,
        _: &Pipeline,
        _: &[&str],
        _: &Device,
        _: &mut Vec<String>,
    ) -> anyhow::Result<Vec<Tensor>> {
        anyhow::bail!("there is no text encoder")
    }
}

/// A red picture has the least loss.
fn loss(picture: &Tensor) -> Result<f64> {
    let means: Vec<f32> = picture.mean((0, 2, 3))?.to_vec1()?;
    Ok(f64::from(means[1] + means[2] - means[0]))
}

fn gradient(picture: &Tensor) -> Result<Tensor> {
    let pixels = (picture.elem_count() / 3) as f64;
    let signs = Tensor::new(&[-1f32, 1.0, 1.0], picture.device())?;
    let signs = (signs / pixels)?.reshape((1, 3, 1, 1))?;
    signs.broadcast_as(picture.shape())?.contiguous()
}

/// Remembers what it was asked.
#[derive(Default)]
struct Reds {
    losses: Vec<f64>,
}

impl Guide for Reds {
    fn losses(&mut self, pictures: &[Tensor]) -> anyhow::Result<Vec<f64>> {
        let losses = pictures.iter().map(loss).collect::<Result<Vec<_>>>()?;
        self.losses.extend_from_slice(&losses);
        Ok(losses)
    }

    fn prompt_embeddings(&mut self) -> anyhow::Result<Vec<EmbeddedPrompt>> {
        Ok(vec![])
    }
}

const STEPS: usize = 10;

/// A generator, with its warnings and notes.
type Built = (Box<dyn Generator>, [Vec<String>; 2]);

/// Builds a generator with the tiny network `community` and a context that `change` changes.
fn build(config: &Config, change: impl FnOnce(&mut BuildContext<'_>)) -> anyhow::Result<Built> {
    let folder = folder(&tensors("community"));
    let source = Source(folder.path().to_owned());
    let config = Config {
        model: String::new(),
        ..config.clone()
    };
    let mut context = BuildContext {
        models: Some(&source),
        ..BuildContext::new([32, 32], STEPS, 3, &Device::Cpu)
    };
    change(&mut context);
    let generator = config.build(&mut context)?;
    Ok((generator, [context.warnings, context.notes]))
}

/// Settings with a single start: to choose among several, a generator needs a guide, and these tests have none.
fn plain() -> Config {
    Config {
        starts: Starts(1),
        lr: 0.1.into(),
        ..Config::default()
    }
}

fn step(generator: &mut dyn Generator) -> Result<Progress> {
    let image = generator.render()?;
    let grad = gradient(&image)?;
    generator.step(image, &grad)
}

#[test]
fn the_start_is_the_sample_of_the_least_loss() -> anyhow::Result<()> {
    let mut guide = Reds::default();
    let (mut generator, [_, notes]) = build(&Config::default(), |context| {
        // it lives as long as this test
        context.guide = Some(Box::leak(Box::new(Reds::default())));
    })?;
    assert!(notes[0].contains("of 32 is taken"), "{notes:?}");
    // the same samples again
    for index in 0..32 {
        let (mut sample, _) = build(&plain(), |context| {
            context.seed = crate::starts::seed_of(3, index);
        })?;
        guide.losses(&[sample.picture()?])?;
    }
    let least = guide.losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(loss(&generator.picture()?)?, least);
    assert_eq!(loss(&generator.render()?)?, least);
    Ok(())
}

#[test]
fn ten_steps_lower_the_loss() -> anyhow::Result<()> {
    for ema in [0.0, 0.9] {
        let (mut generator, _) = build(&Config { ema, ..plain() }, |_| ())?;
        let first = loss(&generator.picture()?)?;
        for index in 0..STEPS {
            let progress = step(generator.as_mut())?;
            assert_eq!(progress == Progress::Finished, index + 1 == STEPS);
        }
        let [rendered, shown] = [generator.render()?, generator.picture()?].map(|x| loss(&x));
        let (rendered, shown) = (rendered?, shown?);
        assert!(shown < first, "{ema}: {first} to {shown}");
        // the average follows behind
        assert_eq!(rendered < shown, ema > 0.0, "{ema}");
        assert_eq!(step(generator.as_mut())?, Progress::Finished);
    }
    Ok(())
}

#[test]
fn a_resumed_painting_is_the_same_to_the_byte() -> anyhow::Result<()> {
    let config = Config {
        latent_noise: 0.2.into(),
        ..plain()
    };
    let (mut whole, _) = build(&config, |_| ())?;
    let (mut stopped, _) = build(&config, |_| ())?;
    let mut saved = None;
    for index in 0..STEPS {
        step(whole.as_mut())?;
        if index < 4 {
            step(stopped.as_mut())?;
            // pictures in between change nothing
            stopped.picture()?;
            saved = Some(stopped.save()?);
        }
    }
    let saved = saved.expect("a state");
    let (mut resumed, _) = build(&config, |context| context.is_restored = true)?;
    resumed.load(&saved)?;
    for _ in 4..STEPS {
        step(resumed.as_mut())?;
    }
    assert_eq!(bytes(&resumed.picture()?)?, bytes(&whole.picture()?)?);
    assert_eq!(bytes(&resumed.render()?)?, bytes(&whole.render()?)?);
    // a state that lacks something changes nothing
    let before = bytes(&resumed.picture()?)?;
    for key in ["average.0.z", "parameter.0"] {
        let mut saved = saved.clone();
        saved.tensors.remove(key);
        let error = resumed.load(&saved).expect_err("an error").to_string();
        assert!(error.contains("another generator"), "{error}");
        assert_eq!(bytes(&resumed.picture()?)?, before);
    }
    Ok(())
}

#[test]
fn the_image_to_start_from_is_inverted() -> anyhow::Result<()> {
    let (mut other, _) = build(&plain(), |context| context.seed = 99)?;
    let init = other.picture()?;
    let invert = || {
        let config = Config {
            starts: Starts(4),
            inversion: 60,
            ..plain()
        };
        build(&config, |context| {
            context.init = Some(Box::leak(Box::new(init.clone())));
        })
    };
    let (mut first, [warnings, notes]) = invert()?;
    assert_eq!(warnings, [""; 0]);
    assert!(notes[0].contains("the nearest of 4 samples"), "{notes:?}");
    let off =
        |picture: &Tensor| -> Result<f32> { (picture - &init)?.sqr()?.mean_all()?.to_scalar() };
    let (mut sample, _) = build(&plain(), |_| ())?;
    let (found, sample) = (off(&first.picture()?)?, off(&sample.picture()?)?);
    assert!(found < 0.2 * sample, "{found} of {sample}");
    let (mut again, _) = invert()?;
    assert_eq!(bytes(&again.picture()?)?, bytes(&first.picture()?)?);
    Ok(())
}

#[test]
fn without_steps_it_is_a_plain_sample_of_the_seed() -> anyhow::Result<()> {
    // there is no guide to ask for losses
    let (mut generator, [warnings, _]) = build(&Config::default(), |context| {
        context.steps = 0;
        context.size = [48, 32];
    })?;
    assert!(
        warnings[0].contains("32 x 32 instead of 48 x 32"),
        "{warnings:?}"
    );
    let (mut plain, _) = build(&plain(), |_| ())?;
    assert_eq!(bytes(&generator.picture()?)?, bytes(&plain.picture()?)?);
    let (mut calm, _) = build(
        &Config {
            truncation: 0.0,
            ..self::plain()
        },
        |_| (),
    )?;
    assert_ne!(bytes(&calm.picture()?)?, bytes(&plain.picture()?)?);
    Ok(())
}

#[test]
fn a_size_that_the_next_stage_changes_is_not_told() -> anyhow::Result<()> {
    let warnings = |picture: Option<&str>| {
        let (_, [warnings, _]) = build(&plain(), |context| {
            context.size = [48, 32];
            context.picture = picture.map(str::to_owned);
        })?;
        anyhow::Ok(warnings)
    };
    assert_eq!(warnings(None)?, [""; 0]);
    let told = warnings(Some("the picture of stage 1"))?;
    assert!(
        told[0].starts_with("the picture of stage 1 is 32 x 32 instead of 48 x 32: "),
        "{told:?}"
    );
    Ok(())
}
