//! The terms of the image's own values, each by its gradient and by what it is for.

use candle_core::{DType, Device, Tensor};
use phantasia_core::{Schedule, Seamless, StepContext};

use super::*;

/// An image of f64, so that differences are exact enough, with values on both sides of 0 and 1.
fn image() -> Tensor {
    let values: Vec<f64> = (0..3 * 4 * 5)
        .map(|i| 0.5 + 0.9 * (1.7 * f64::from(i)).sin())
        .collect();
    Tensor::from_vec(values, (1, 3, 4, 5), &Device::Cpu).expect("an image")
}

fn build(terms: &Terms) -> Vec<Box<dyn Term>> {
    build_seamless(terms, Seamless::No)
}

fn build_seamless(terms: &Terms, seamless: Seamless) -> Vec<Box<dyn Term>> {
    let mut context = TermContext::default();
    context.seamless = seamless;
    terms.build(&mut context).expect("terms")
}

fn loss(terms: &Terms, image: &Tensor) -> Result<f64> {
    let mut losses = (build(terms).iter_mut())
        .map(|term| Ok(term.evaluate(image, StepContext::new(0, 1))?.loss))
        .collect::<Result<Vec<_>>>()?;
    assert_eq!(losses.len(), 1);
    Ok(losses.remove(0))
}

/// The gradient at an image matches finite differences, and is not 0 everywhere.
fn assert_gradient(term: &mut dyn Term, x: &Tensor) -> Result<()> {
    let at = StepContext::new(0, 1);
    let grad = (term.evaluate(x, at)?.grad.flatten_all()?).to_vec1::<f64>()?;
    assert!(grad.iter().any(|slope| slope.abs() > 1e-3));
    for (i, own) in grad.iter().enumerate() {
        let mut loss_at = |h: f64| -> Result<f64> {
            let mut values = x.flatten_all()?.to_vec1::<f64>()?;
            values[i] += h;
            let moved = Tensor::from_vec(values, x.shape(), &Device::Cpu)?;
            Ok(term.evaluate(&moved, at)?.loss)
        };
        let slope = (loss_at(1e-6)? - loss_at(-1e-6)?) / 2e-6;
        assert!(
            (slope - own).abs() < 1e-5 * slope.abs().max(1.0),
            "{} {i}: {slope} {own}",
            term.name()
        );
    }
    Ok(())
}

#[test]
fn gradients_match_finite_differences() -> Result<()> {
    let terms = build(&Terms {
        total_variation: total_variation::Config(1.0.into()),
        range: range::Config(2.0.into()),
        saturation: saturation::Config(3.0.into()),
        mean: Some(mean::Config(0.5.into())),
        contrast: Some(contrast::Config(0.5.into())),
        ..Terms::default()
    });
    let names: Vec<_> = terms.iter().map(|term| term.name().to_owned()).collect();
    assert_eq!(
        names,
        ["total_variation", "range", "saturation", "mean", "contrast"]
    );
    let variation = Terms {
        total_variation: total_variation::Config(1.0.into()),
        ..Terms::default()
    };
    let wrapped = [Seamless::Both, Seamless::X, Seamless::Y]
        .into_iter()
        .flat_map(|seamless| build_seamless(&variation, seamless));
    for mut term in terms.into_iter().chain(wrapped) {
        assert_gradient(&mut *term, &image())?;
    }
    Ok(())
}

#[test]
fn an_even_colour_has_no_contrast_however_far_its_channels_lie_apart() -> Result<()> {
    let terms = Terms {
        contrast: Some(contrast::Config(0.25.into())),
        ..Terms::default()
    };
    let blue = Tensor::new(&[0.3, 0.6, 1.0], &Device::Cpu)?.reshape((1, 3, 1, 1))?;
    let even = loss(&terms, &blue.broadcast_as((1, 3, 4, 4))?.contiguous()?)?;
    assert!((even - 100.0 * 0.25 * 0.25).abs() < 0.01, "{even}");
    // two halves that lie 0.5 apart have a standard deviation of 0.25 in each channel
    let halves = Tensor::cat(
        &[
            blue.broadcast_as((1, 3, 4, 2))?,
            (blue - 0.5)?.broadcast_as((1, 3, 4, 2))?,
        ],
        3,
    )?;
    assert!(loss(&terms, &halves)? < 1e-6);
    Ok(())
}

/// Of a picture that repeats, each pixel has a neighbour, so that where it begins makes no difference.
#[test]
fn the_variation_of_a_seamless_picture_is_that_of_the_rolled_one() -> Result<()> {
    let terms = Terms {
        total_variation: total_variation::Config(1.0.into()),
        ..Terms::default()
    };
    let at = StepContext::new(0, 1);
    for (seamless, axis, same) in [
        (Seamless::No, 3, false),
        (Seamless::X, 3, true),
        (Seamless::X, 2, false),
        (Seamless::Y, 2, true),
        (Seamless::Both, 2, true),
        (Seamless::Both, 3, true),
    ] {
        let mut term = build_seamless(&terms, seamless).remove(0);
        let mut loss = |image: &Tensor| Ok::<_, anyhow::Error>(term.evaluate(image, at)?.loss);
        let (x, rolled) = (image(), image().roll(1, axis)?);
        let off = (loss(&x)? - loss(&rolled)?).abs();
        assert_eq!(off < 1e-12, same, "{seamless:?} {axis}: {off}");
    }
    Ok(())
}

#[test]
fn a_single_pixel_has_no_variation() -> Result<()> {
    let terms = Terms {
        total_variation: total_variation::Config(1.0.into()),
        ..Terms::default()
    };
    let pixel = Tensor::ones((1, 3, 1, 1), DType::F32, &Device::Cpu)?;
    assert_eq!(loss(&terms, &pixel)?, 0.0);
    Ok(())
}

/// candle computes no gradient of what is multiplied by 0.
#[test]
fn a_weight_may_pass_through_0() -> Result<()> {
    let terms = Terms {
        saturation: saturation::Config(Schedule::parse("t")?),
        ..Terms::default()
    };
    let output = build(&terms)[0].evaluate(&image(), StepContext::new(0, 10))?;
    assert_eq!(output.loss, 0.0);
    assert_eq!(output.grad.abs()?.sum_all()?.to_scalar::<f64>()?, 0.0);
    Ok(())
}

#[test]
fn a_picture_is_kept_near_its_start() -> Result<()> {
    let at = StepContext::new(0, 1);
    let x = image();
    let mut context = TermContext::default();
    let terms = Terms {
        init: Some(init::Config {
            weight: 0.7.into(),
            resolution: 2,
        }),
        ..Terms::default()
    };
    let mut term = terms.build(&mut context)?.remove(0);
    // it starts from nothing
    let free = term.evaluate(&x, at)?;
    assert_eq!(free.loss, 0.0);
    assert_eq!(free.grad.sqr()?.sum_all()?.to_scalar::<f64>()?, 0.0);

    context.base.set(Some(x.clone()));
    assert_eq!(term.evaluate(&x, at)?.loss, 0.0);
    context.base.set(Some((&x * 0.5)?));
    assert_gradient(&mut *term, &x)?;
    Ok(())
}
