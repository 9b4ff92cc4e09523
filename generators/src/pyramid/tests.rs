//! The gradients of a pyramid, its start and its state.

use candle_core::Device;

use super::*;

const SIZE: [usize; 2] = [13, 9];

fn config(optimizer: OptimizerKind) -> Config {
    Config {
        sides: Some(Sides::List(vec![1, 3, 6])),
        decay: 0.7,
        gain: 1.3,
        noise: 0.5,
        squash: Squash::Sigmoid,
        optimizer,
        momentum: 0.0,
        lr: Schedule::from(0.1),
        normalize: false,
        ..Config::default()
    }
}

fn start(config: &Config, seed: u64) -> Result<Pyramid> {
    start_seamless(config, seed, Seamless::No)
}

fn start_seamless(config: &Config, seed: u64, seamless: Seamless) -> Result<Pyramid> {
    let context = BuildContext {
        seamless,
        ..BuildContext::new(SIZE, 10, seed, &Device::Cpu)
    };
    Pyramid::new(config, &context)
}

fn grad(pyramid: &Pyramid) -> Result<Tensor> {
    let [w, h] = pyramid.size;
    let values: Vec<f32> = (0..3 * h * w).map(|i| (1.3 * i as f32).sin()).collect();
    Tensor::from_vec(values, (1, 3, h, w), &Device::Cpu)
}

fn loss(pyramid: &mut Pyramid) -> Result<f64> {
    let image = pyramid.render()?;
    let sum = (image * grad(pyramid)?)?.sum_all()?;
    Ok(f64::from(sum.to_scalar::<f32>()?))
}

#[test]
fn the_gradient_of_every_layer_matches_finite_differences() -> Result<()> {
    for (squash, seamless) in [
        (Squash::Sigmoid, Seamless::No),
        (Squash::Tanh, Seamless::No),
        (Squash::Clamp, Seamless::No),
        (Squash::Clamp, Seamless::Both),
        (Squash::Clamp, Seamless::X),
    ] {
        let mut config = config(OptimizerKind::Sgd);
        config.squash = squash;
        config.noise = 0.1;
        config.lr = Schedule::from(1.0);
        let mut pyramid = start_seamless(&config, 3, seamless)?;
        let before: Vec<Tensor> = (pyramid.parameters().iter())
            .map(|p| p.as_detached_tensor().copy())
            .collect::<Result<_>>()?;
        let image = pyramid.render()?;
        let upstream = grad(&pyramid)?;
        pyramid.step(image, &upstream)?;
        // with a learning rate of 1 the step is the gradient
        let found: Vec<Tensor> = (pyramid.parameters().iter().zip(&before))
            .map(|(p, before)| before - p.as_detached_tensor())
            .collect::<Result<_>>()?;
        for (layer, before_all) in before.iter().enumerate() {
            for (p, before) in pyramid.parameters().iter().zip(&before) {
                p.set(before)?;
            }
            let values = before_all.flatten_all()?.to_vec1::<f32>()?;
            let found = found[layer].flatten_all()?.to_vec1::<f32>()?;
            for i in (0..values.len()).step_by(5) {
                let mut at = |h: f32| -> Result<f64> {
                    let mut moved = values.clone();
                    moved[i] += h;
                    let moved = Tensor::from_vec(moved, before_all.shape(), &Device::Cpu)?;
                    pyramid.parameters()[layer].set(&moved)?;
                    loss(&mut pyramid)
                };
                let slope = (at(1e-2)? - at(-1e-2)?) / 2e-2;
                let error = (slope - f64::from(found[i])).abs();
                assert!(error < 5e-3, "{squash:?} {layer} {i}: {slope} {}", found[i]);
            }
        }
    }
    Ok(())
}

#[test]
fn an_init_image_is_the_first_render() -> Result<()> {
    for squash in [Squash::Sigmoid, Squash::Tanh, Squash::Clamp] {
        let mut config = config(OptimizerKind::Sgd);
        config.squash = squash;
        let values: Vec<f32> = (0..3 * 9 * 13)
            .map(|i| 0.5 + 0.45 * (0.7 * i as f32).sin())
            .collect();
        let init = Tensor::from_vec(values, (1, 3, 9, 13), &Device::Cpu)?;
        for seamless in [Seamless::No, Seamless::Both] {
            let context = BuildContext {
                init: Some(&init),
                seamless,
                ..BuildContext::new(SIZE, 10, 3, &Device::Cpu)
            };
            let mut pyramid = Pyramid::new(&config, &context)?;
            let off = (pyramid.render()? - &init)?.abs()?.max_all()?;
            assert!(off.to_scalar::<f32>()? < 1e-5, "{squash:?} {seamless:?}");
        }
    }
    Ok(())
}

#[test]
fn a_saved_pyramid_goes_on_to_the_same_bytes() -> Result<()> {
    for kind in [OptimizerKind::Sgd, OptimizerKind::Adam] {
        let mut whole = start(&config(kind), 3)?;
        let upstream = grad(&whole)?;
        let run = |pyramid: &mut Pyramid, steps: usize| -> Result<()> {
            for _ in 0..steps {
                let image = pyramid.render()?;
                pyramid.step(image, &upstream)?;
            }
            Ok(())
        };
        run(&mut whole, 2)?;
        let saved = whole.save()?;
        run(&mut whole, 3)?;
        let mut resumed = start(&config(kind), 99)?;
        resumed.load(&saved)?;
        run(&mut resumed, 3)?;
        let values = |p: &mut Pyramid| p.render()?.flatten_all()?.to_vec1::<f32>();
        assert_eq!(values(&mut whole)?, values(&mut resumed)?);
    }
    Ok(())
}

#[test]
fn a_state_of_another_size_is_refused_and_changes_nothing() -> Result<()> {
    let mut small = config(OptimizerKind::Adam);
    small.sides = Some(Sides::List(vec![2, 4, 5]));
    let saved = start(&small, 3)?.save()?;
    let mut pyramid = start(&config(OptimizerKind::Adam), 3)?;
    let before = pyramid.render()?.flatten_all()?.to_vec1::<f32>()?;
    let error = pyramid.load(&saved).expect_err("another size").to_string();
    assert!(error.contains("another size"), "{error}");
    assert_eq!(before, pyramid.render()?.flatten_all()?.to_vec1::<f32>()?);
    Ok(())
}

#[test]
fn a_normalized_step_has_the_learning_rate_as_its_root_mean_square() -> Result<()> {
    let mut config = config(OptimizerKind::Sgd);
    config.normalize = true;
    config.squash = Squash::Clamp;
    config.noise = 0.0;
    config.lr = Schedule::from(0.03);
    let mut pyramid = start(&config, 3)?;
    let before = pyramid.render()?;
    let upstream = grad(&pyramid)?;
    pyramid.step(before.clone(), &upstream)?;
    let rms = (pyramid.render()? - before)?.sqr()?.mean_all()?.sqrt()?;
    assert!((rms.to_scalar::<f32>()? - 0.03).abs() < 1e-4);
    Ok(())
}

#[test]
fn progressive_layers_wait() -> Result<()> {
    let mut config = config(OptimizerKind::Sgd);
    config.progressive = 1.0;
    let mut pyramid = start(&config, 3)?;
    let before: Vec<Vec<f32>> = (pyramid.parameters().iter())
        .map(|p| p.as_detached_tensor().copy()?.flatten_all()?.to_vec1())
        .collect::<Result<_>>()?;
    let image = pyramid.render()?;
    let upstream = grad(&pyramid)?;
    pyramid.step(image, &upstream)?;
    let same = |i: usize| -> Result<bool> {
        Ok(pyramid.parameters()[i].flatten_all()?.to_vec1::<f32>()? == before[i])
    };
    assert!(!same(0)? && same(1)? && same(2)?);
    Ok(())
}

#[test]
fn all_sides_are_thinned_to_a_geometric_series() {
    let config = Config {
        sides: Some(Sides::Word(AllSides::All)),
        ..Config::default()
    };
    assert_eq!(config.sides(5), [1, 2, 3, 4, 5]);
    let many = config.sides(512);
    assert!(many.len() <= Config::DENSE && many.len() > 20);
    assert_eq!((many[0], many[many.len() - 1]), (1, 512));
    assert!(many.windows(2).all(|pair| pair[0] < pair[1]));
}

/// Layers that are rolled by whole cells become the rolled picture.
#[test]
fn the_layers_of_a_seamless_picture_roll_with_it() -> Result<()> {
    let mut config = config(OptimizerKind::Sgd);
    config.sides = Some(Sides::List(vec![2, 4, 8]));
    for filter in [Filter::Bilinear, Filter::Bicubic] {
        config.filter = filter;
        for seamless in [Seamless::No, Seamless::X, Seamless::Y, Seamless::Both] {
            let context = BuildContext {
                seamless,
                ..BuildContext::new([16, 16], 10, 3, &Device::Cpu)
            };
            let mut pyramid = Pyramid::new(&config, &context)?;
            let before = pyramid.render()?;
            let start: Vec<Tensor> = (pyramid.parameters().iter())
                .map(|p| p.as_detached_tensor().copy())
                .collect::<Result<_>>()?;
            for (dim, wraps) in [(2, seamless.axes()[0]), (3, seamless.axes()[1])] {
                for ((parameter, start), cells) in
                    pyramid.parameters().iter().zip(&start).zip([1, 2, 4])
                {
                    parameter.set(&start.roll(cells, dim)?)?;
                }
                let off = (pyramid.render()? - before.roll(8, dim)?)?
                    .abs()?
                    .max_all()?;
                let off = off.to_scalar::<f32>()?;
                assert_eq!(off < 1e-5, wraps, "{filter:?} {seamless:?} {dim}: {off}");
            }
        }
    }
    Ok(())
}
