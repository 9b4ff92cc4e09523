//! What the layers promise beyond their values: the same bytes every time, crops that do not depend on each other.

mod common;

use candle_core::{DType, Device, Result, Tensor, Var};
use common::frozen::{self, *};
use common::{distance, gradient, numbers, random};

const F32: DType = DType::F32;

fn t(shape: &[usize]) -> Tensor {
    random(5, shape, F32)
}

#[test]
fn embedding_looks_up_rows() -> Result<()> {
    let table = Embedding::new(t(&[5, 3]))?;
    let ids = Tensor::new(&[[4u32, 0], [2, 4]], &Device::Cpu)?;
    let rows = table.lookup(&ids)?;
    assert_eq!(rows.dims(), [2, 2, 3]);
    assert_eq!(distance(&rows.get(1)?.get(0)?, &table.table().get(2)?), 0.0);
    assert_eq!(
        distance(&table.lookup(&ids.t()?)?, &rows.transpose(0, 1)?),
        0.0
    );
    Ok(())
}

/// A name, a layer, and an input for it.
type Case = (&'static str, Box<dyn Layer>, Tensor);

/// Large enough that all threads take part.
fn large() -> Result<Vec<Case>> {
    let conv = |k, stride, padding| {
        let options = Conv2dOptions {
            stride,
            padding,
            groups: 1,
        };
        Conv2d::new(t(&[24, 16, k, k]), Some(t(&[24])), options)
    };
    let image = t(&[2, 16, 61, 67]);
    let crop = |i: usize| Crop {
        top: 3.7 * i as f64 - 9.0,
        left: 5.1 * i as f64 - 8.0,
        height: 50.0 + i as f64,
        width: 61.5,
        flip: i & 1 == 0,
    };
    let crops = (0..8).map(crop).collect();
    let turn = [0.8, -0.6, 0.1, 0.6, 0.8, -0.2, 0.1, -0.2, 1.0];
    Ok(vec![
        (
            "linear",
            Box::new(Linear::new(t(&[128, 96]), Some(t(&[128])))?) as Box<dyn Layer>,
            t(&[300, 96]),
        ),
        ("conv", Box::new(conv(3, 1, 1)?), image.clone()),
        ("conv down", Box::new(conv(3, 2, 1)?), image.clone()),
        ("conv patch", Box::new(conv(4, 4, 0)?), image.clone()),
        (
            "layer norm",
            Box::new(LayerNorm::new(t(&[96]), Some(t(&[96])), 1e-5)?),
            t(&[400, 96]),
        ),
        (
            "group norm",
            Box::new(GroupNorm::new(4, t(&[16]), t(&[16]), 1e-5)?),
            image.clone(),
        ),
        (
            "attention",
            Box::new(SelfAttention::fused(
                t(&[144, 48]),
                None,
                Linear::new(t(&[48, 48]), None)?,
                4,
                true,
            )?),
            t(&[4, 70, 48]),
        ),
        (
            "depthwise",
            Box::new(DepthwiseConv2d::new(
                t(&[40, 1, 7, 7]),
                Some(t(&[40])),
                1,
                1,
            )?),
            t(&[2, 21, 23, 40]),
        ),
        (
            "depthwise down",
            Box::new(DepthwiseConv2d::new(t(&[40, 1, 3, 3]), None, 2, 2)?),
            t(&[2, 41, 40, 20]),
        ),
        ("channels last", Box::new(ChannelsLast), image.clone()),
        (
            "squeeze and excite",
            Box::new(SqueezeExcite::new(
                Linear::new(t(&[8, 40]), Some(t(&[8])))?,
                Linear::new(t(&[40, 8]), Some(t(&[40])))?,
            )?),
            t(&[2, 21, 23, 40]),
        ),
        ("gelu", Box::new(Activation::Gelu), image.clone()),
        (
            "upsample",
            Box::new(UpsampleNearest::new(2)?),
            image.clone(),
        ),
        ("pool", Box::new(AvgPool2d::new(2)?), image.clone()),
        (
            "resample",
            Box::new(Resample::new(50, 90, Filter::Bicubic, true)?),
            image.clone(),
        ),
        (
            "crops",
            Box::new(Crops::new(crops, 40, 36, Filter::Bicubic, Border::Reflect)?),
            t(&[1, 3, 100, 90]),
        ),
        (
            "warp",
            Box::new(Warp::new(vec![turn; 2], Border::Wrap)?),
            image,
        ),
    ])
}

#[test]
fn results_are_the_same_bytes_every_time() -> Result<()> {
    for (name, layer, x) in large()? {
        let (y, pullback) = layer.vjp(&x)?;
        let g = random(9, y.dims(), F32);
        let first = (numbers(&y), numbers(&pullback(&g)?));
        for _ in 0..5 {
            let (y, pullback) = layer.vjp(&x)?;
            assert!((numbers(&y), numbers(&pullback(&g)?)) == first, "{name}");
        }
        // A pullback may be called again.
        assert!(numbers(&pullback(&g)?) == first.1, "{name}");
    }
    Ok(())
}

#[test]
fn large_layers_equal_composed_ones() -> Result<()> {
    for (name, layer, x) in large()? {
        let y = layer.eval(&x)?;
        let g = random(9, y.dims(), F32);
        let dx = gradient(&*layer, &x, &g)?;
        let (y2, dx2) = frozen::kernel::composed(|| -> Result<_> {
            Ok((layer.eval(&x)?, gradient(&*layer, &x, &g)?))
        })?;
        assert!(
            distance(&y, &y2) < 5e-6,
            "{name}: value {:e}",
            distance(&y, &y2)
        );
        assert!(
            distance(&dx, &dx2) < 5e-6,
            "{name}: gradient {:e}",
            distance(&dx, &dx2)
        );
    }
    Ok(())
}

#[test]
fn images_do_not_depend_on_the_number_of_threads() -> Result<()> {
    let pool = |n| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(n)
            .build()
            .expect("threads")
    };
    for (name, layer, x) in large()? {
        if ![
            "resample",
            "crops",
            "warp",
            "upsample",
            "pool",
            "depthwise",
            "depthwise down",
            "channels last",
            "gelu",
            "group norm",
        ]
        .contains(&name)
        {
            continue;
        }
        let run = || -> Result<_> {
            let (y, pullback) = layer.vjp(&x)?;
            let g = random(9, y.dims(), F32);
            Ok((numbers(&y), numbers(&pullback(&g)?)))
        };
        assert!(pool(1).install(run)? == pool(3).install(run)?, "{name}");
    }
    Ok(())
}

#[test]
fn a_crop_does_not_depend_on_the_other_crops() -> Result<()> {
    let crop = |i: usize| Crop {
        top: 1.7 * i as f64 - 4.0,
        left: 7.0 - 2.3 * i as f64,
        height: 9.0 + i as f64,
        width: 14.5,
        flip: i == 1,
    };
    let all = (0..5).map(crop).collect::<Vec<_>>();
    let make = |crops: &[Crop]| Crops::new(crops.to_vec(), 6, 7, Filter::Bicubic, Border::Edge);
    let x = t(&[1, 3, 17, 15]);
    let (together, pullback) = make(&all)?.vjp(&x)?;
    let g = random(9, together.dims(), F32);
    let mut sum = x.zeros_like()?;
    for (i, &crop) in all.iter().enumerate() {
        let (alone, pullback) = make(&[crop])?.vjp(&x)?;
        assert_eq!(distance(&alone, &together.narrow(0, i, 1)?), 0.0);
        sum = (sum + pullback(&g.narrow(0, i, 1)?)?)?;
    }
    assert!(distance(&pullback(&g)?, &sum) < 1e-6);
    Ok(())
}

#[test]
fn constant_images_stay_constant() -> Result<()> {
    let x = (Tensor::ones((1, 2, 30, 20), F32, &Device::Cpu)? * 0.37)?;
    let crop = |top, height| Crop {
        top,
        left: -7.3,
        height,
        width: 31.7,
        flip: false,
    };
    for filter in [Filter::Bilinear, Filter::Bicubic] {
        for border in [Border::Edge, Border::Reflect, Border::Wrap] {
            let crops = vec![crop(-20.5, 70.0), crop(3.3, 4.1)];
            let y = Crops::new(crops, 9, 11, filter, border)?.eval(&x)?;
            assert!(
                numbers(&y).iter().all(|y| (y - 0.37).abs() < 1e-6),
                "{filter:?} {border:?}"
            );
        }
        for antialias in [false, true] {
            let y = Resample::new(7, 50, filter, antialias)?.eval(&x)?;
            assert!(
                numbers(&y).iter().all(|y| (y - 0.37).abs() < 1e-6),
                "{filter:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_crop_of_everything_is_the_image() -> Result<()> {
    let x = t(&[1, 3, 8, 9]);
    let all = Crop {
        top: 0.0,
        left: 0.0,
        height: 8.0,
        width: 9.0,
        flip: false,
    };
    for filter in [Filter::Bilinear, Filter::Bicubic] {
        let y = Crops::new(vec![all], 8, 9, filter, Border::Zero)?.eval(&x)?;
        assert!(distance(&y, &x) < 1e-6, "{filter:?}");
    }
    Ok(())
}

#[test]
fn a_crop_beyond_the_image_is_zero_where_the_border_is() -> Result<()> {
    let x = Var::from_tensor(&t(&[1, 3, 8, 9]))?;
    let far = Crop {
        top: 100.0,
        left: -100.0,
        height: 8.0,
        width: 9.0,
        flip: false,
    };
    let y = Crops::new(vec![far], 4, 4, Filter::Bicubic, Border::Zero)?.forward(&x)?;
    assert_eq!(numbers(&y.detach()), [0.0; 48]);
    let grads = y.sum_all()?.backward()?;
    assert_eq!(numbers(grads.get(&x).expect("a gradient")), [0.0; 216]);
    Ok(())
}

#[test]
fn the_identity_warps_nothing() -> Result<()> {
    let x = t(&[1, 2, 5, 7]);
    let identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    for border in [Border::Edge, Border::Reflect, Border::Zero, Border::Wrap] {
        let y = Warp::new(vec![identity], border)?.eval(&x)?;
        assert!(distance(&y, &x) < 1e-6, "{border:?}");
    }
    Ok(())
}

/// A homography whose horizon crosses the image divides by zero there.
#[test]
fn a_horizon_gives_numbers() -> Result<()> {
    let x = t(&[1, 2, 9, 9]);
    let horizon = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0];
    for border in [Border::Edge, Border::Reflect, Border::Zero, Border::Wrap] {
        let (y, pullback) = Warp::new(vec![horizon], border)?.vjp(&x)?;
        assert!(numbers(&y).iter().all(|y| y.is_finite()));
        assert!(numbers(&pullback(&y)?).iter().all(|y| y.is_finite()));
    }
    Ok(())
}

#[test]
fn not_a_number_is_passed_on() -> Result<()> {
    let x = Tensor::new(&[[1.0f32, f32::NAN, 2.0, 3.0]], &Device::Cpu)?;
    for layer in [
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Silu,
        Activation::Relu,
    ] {
        let (y, pullback) = layer.vjp(&x)?;
        assert!(numbers(&y)[1].is_nan(), "{layer:?}");
        assert!(numbers(&y)[0].is_finite(), "{layer:?}");
        assert!(numbers(&pullback(&x)?)[1].is_nan(), "{layer:?}");
    }
    let y = LayerNorm::new(t(&[4]), None, 1e-5)?.eval(&x)?;
    assert!(numbers(&y).iter().all(|y| y.is_nan()));
    let x = x.reshape((1, 1, 4, 1))?;
    let (y, _) = scaled_dot_product(&x, &x, &x, false)?;
    assert!(numbers(&y).iter().all(|y| y.is_nan()));
    Ok(())
}

#[test]
fn extreme_inputs_have_values() -> Result<()> {
    let x = Tensor::new(
        &[-1e30f32, -1e4, -100.0, -0.0, 0.0, 100.0, 1e4, 1e30],
        &Device::Cpu,
    )?;
    for layer in [
        Activation::Gelu,
        Activation::QuickGelu,
        Activation::Silu,
        Activation::Relu,
    ] {
        let (y, pullback) = layer.vjp(&x)?;
        let y = numbers(&y);
        assert_eq!(y[..5], [0.0; 5], "{layer:?}");
        assert_eq!(y[5..], numbers(&x)[5..], "{layer:?}");
        let slope = numbers(&pullback(&x.ones_like()?)?);
        assert_eq!(slope[..3], [0.0; 3], "{layer:?}");
        assert_eq!(slope[5..], [1.0; 3], "{layer:?}");
    }
    Ok(())
}

#[test]
fn empty_batches_give_empty_results() -> Result<()> {
    let empty = |shape: &[usize]| Tensor::zeros(shape, F32, &Device::Cpu);
    let conv = Conv2d::new(t(&[4, 3, 3, 3]), None, Conv2dOptions::default())?;
    assert_eq!(conv.eval(&empty(&[0, 3, 5, 5])?)?.dims(), [0, 4, 3, 3]);
    assert_eq!(
        Linear::new(t(&[4, 3]), None)?
            .eval(&empty(&[0, 3])?)?
            .dims(),
        [0, 4]
    );
    assert_eq!(
        LayerNorm::new(t(&[3]), None, 1e-5)?
            .eval(&empty(&[0, 3])?)?
            .dims(),
        [0, 3]
    );
    assert_eq!(Activation::Silu.eval(&empty(&[0, 3])?)?.dims(), [0, 3]);
    Ok(())
}

#[test]
fn a_norm_followed_by_silu_is_both_in_one_pass() -> Result<()> {
    let (w, b) = (random(1, &[6], DType::F32), random(2, &[6], DType::F32));
    let norm = GroupNorm::new(3, w, b, 1e-6)?;
    let (x, g) = (
        random(3, &[2, 6, 9, 7], DType::F32),
        random(4, &[2, 6, 9, 7], DType::F32),
    );
    let both = Chain::new(vec![Box::new(norm.clone()), Box::new(Activation::Silu)]);
    let one = norm.then_silu();
    assert!(distance(&one.eval(&x)?, &both.eval(&x)?) < 1e-6);
    assert!(distance(&gradient(&one, &x, &g)?, &gradient(&both, &x, &g)?) < 1e-6);
    Ok(())
}
