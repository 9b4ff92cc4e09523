//! Every layer: its pullback against finite differences, against the same layer made of candle's operations, in memory
//! of any layout, and through candle's graph.

mod common;

use candle_core::{DType, Result, Tensor, Var};
use common::frozen::{self, *};
use common::{differences, distance, gradient, random, strided};

const F64: DType = DType::F64;

fn layer(make: impl Fn(DType) -> Result<Box<dyn Layer>>, dtype: DType) -> Box<dyn Layer> {
    make(dtype).expect("a layer")
}

/// The tests of one layer: `name: input shape, |t| layer`, where `t` makes weights of a shape.
macro_rules! layers {
    ($($name:ident: [$($dim:expr),*], |$t:ident| $layer:expr;)*) => {$(
        mod $name {
            use super::*;

            const SHAPE: &[usize] = &[$($dim),*];

            fn make(dtype: DType) -> Result<Box<dyn Layer>> {
                let count = std::cell::Cell::new(0);
                #[allow(unused)]
                let $t = |shape: &[usize]| {
                    count.set(count.get() + 1);
                    random(count.get(), shape, dtype)
                };
                Ok(Box::new($layer))
            }

            fn subject(dtype: DType) -> (Box<dyn Layer>, Tensor, Tensor) {
                let layer = layer(make, dtype);
                let x = random(77, SHAPE, dtype);
                let y = layer.eval(&x).expect("a value");
                (layer, x, random(78, y.dims(), dtype))
            }

            #[test]
            fn pullback_equals_finite_differences() -> Result<()> {
                let (layer, x, g) = subject(F64);
                let error = distance(&gradient(&layer, &x, &g)?, &differences(&layer, &x, &g)?);
                assert!(error < 1e-7, "{error}");
                Ok(())
            }

            #[test]
            fn composed_equals_fused() -> Result<()> {
                for (dtype, tolerance) in [(DType::F32, 3e-6), (F64, 1e-12)] {
                    let (layer, x, g) = subject(dtype);
                    let (y, dx) = (layer.eval(&x)?, gradient(&layer, &x, &g)?);
                    let (y2, dx2) = frozen::kernel::composed(|| -> Result<_> {
                        Ok((layer.eval(&x)?, gradient(&layer, &x, &g)?))
                    })?;
                    let errors = [distance(&y, &y2), distance(&dx, &dx2)];
                    let close = errors.iter().all(|&error| error < tolerance);
                    assert!(close, "{dtype:?} {errors:?}");
                }
                Ok(())
            }

            #[test]
            fn composed_works_in_half_precision() -> Result<()> {
                let (wide, x, g) = subject(DType::F32);
                let (narrow, ..) = subject(DType::F16);
                let (x16, g16) = (x.to_dtype(DType::F16)?, g.to_dtype(DType::F16)?);
                let errors = [
                    distance(&narrow.eval(&x16)?, &wide.eval(&x)?),
                    distance(&gradient(&narrow, &x16, &g16)?, &gradient(&wide, &x, &g)?),
                ];
                assert!(errors.iter().all(|&error| error < 0.02), "{errors:?}");
                Ok(())
            }

            #[test]
            fn memory_of_any_layout() -> Result<()> {
                let (layer, x, g) = subject(DType::F32);
                let (y, dx) = (layer.eval(&x)?, gradient(&layer, &x, &g)?);
                let (x, g) = (strided(&x)?, strided(&g)?);
                let errors = [
                    distance(&layer.eval(&x)?, &y),
                    distance(&layer.vjp(&x)?.0, &y),
                    distance(&gradient(&layer, &x, &g)?, &dx),
                ];
                // A product of matrices may add up in another order where their strides differ.
                assert!(errors.iter().all(|&error| error < 1e-6), "{errors:?}");
                Ok(())
            }

            #[test]
            fn graph_gives_the_same_gradient() -> Result<()> {
                let (layer, x, g) = subject(DType::F32);
                let var = Var::from_tensor(&x)?;
                let y = layer.forward(&var)?;
                assert_eq!(distance(&y, &layer.eval(&x)?), 0.0);
                let grads = (y * &g)?.sum_all()?.backward()?;
                let dx = grads.get(&var).expect("a gradient");
                assert_eq!(distance(dx, &gradient(&layer, &x, &g)?), 0.0);
                Ok(())
            }

            #[test]
            fn gradient_of_another_shape_is_refused() -> Result<()> {
                let (layer, x, g) = subject(DType::F32);
                let wrong = g.unsqueeze(0)?;
                let error = layer.vjp(&x)?.1(&wrong).expect_err("an error");
                assert!(error.to_string().contains("gradient"), "{error}");
                Ok(())
            }
        }
    )*};
}

fn heads(q: &Tensor, rest: usize, part: usize, x: &Tensor) -> Result<[Tensor; 3]> {
    let mut parts = [q.clone(), q.clone(), q.clone()];
    for (i, p) in parts.iter_mut().enumerate() {
        let rows = if i == 0 { 4 } else { rest };
        *p = if i == part {
            x.clone()
        } else {
            random(i as u64, &[2, 3, rows, 5], q.dtype())
        };
    }
    Ok(parts)
}

/// [`scaled_dot_product`] as a layer of q, k or v alone.
struct Attend {
    part: usize,
    causal: bool,
}

impl Layer for Attend {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.vjp(x)?.0)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let [q, k, v] = heads(x, 6, self.part, x)?;
        let (y, pullback) = scaled_dot_product(&q, &k, &v, self.causal)?;
        let part = self.part;
        let pick = move |g: &Tensor| {
            let (q, k, v) = pullback(g)?;
            Ok([q, k, v][part].clone())
        };
        Ok((y, Box::new(pick)))
    }
}

fn conv(
    t: impl Fn(&[usize]) -> Tensor,
    weight: [usize; 4],
    stride: usize,
    padding: usize,
    groups: usize,
) -> Result<Conv2d> {
    let options = Conv2dOptions {
        stride,
        padding,
        groups,
    };
    Conv2d::new(t(&weight), Some(t(&weight[..1])), options)
}

fn depthwise(
    t: impl Fn(&[usize]) -> Tensor,
    weight: [usize; 3],
    multiplier: usize,
    stride: usize,
) -> Result<DepthwiseConv2d> {
    let [channels, rows, columns] = weight;
    let bias = t(&weight[..1]);
    DepthwiseConv2d::new(
        t(&[channels, 1, rows, columns]),
        Some(bias),
        multiplier,
        stride,
    )
}

fn crops(border: Border) -> Result<Crops> {
    let crop = |top, left, height, width, flip| Crop {
        top,
        left,
        height,
        width,
        flip,
    };
    let crops = vec![
        crop(0.0, 0.0, 11.0, 9.0, false),
        crop(1.3, 2.6, 3.1, 2.2, true),
        crop(-4.5, -3.25, 20.0, 14.5, false),
        crop(30.0, -40.0, 8.0, 9.0, false),
    ];
    Crops::new(crops, 4, 3, Filter::Bicubic, border)
}

fn warp(border: Border) -> Result<Warp> {
    let turn = [0.8, -0.6, 0.1, 0.6, 0.8, -0.2, 0.1, -0.2, 1.0];
    let far = [1.5, 0.1, 0.4, 0.0, 1.9, -0.7, 0.0, 0.3, 1.0];
    Warp::new(vec![turn, far], border)
}

/// [`Film`] as a layer of one of its four inputs.
struct Modulate {
    part: usize,
    film: Film,
    plane: bool,
}

impl Layer for Modulate {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.vjp(x)?.0)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let shapes: [&[usize]; 4] = [&[2, 3, 4, 5], &[2, 3], &[2, 3], &[2, 1, 4, 5]];
        let mut parts = [1, 2, 3, 4].map(|i| random(i, shapes[i as usize - 1], x.dtype()));
        parts[self.part] = x.clone();
        let [image, scale, shift, plane] = &parts;
        let plane = self.plane.then_some(plane);
        let (y, tape) = self.film.vjp(image, scale, Some(shift), plane)?;
        let part = self.part;
        let pull = move |g: &Tensor| {
            if part == 3 {
                return tape.pull_plane(g);
            }
            let FilmGradients { x, scale, shift } = tape.pull(g)?;
            Ok([x, scale, shift][part].clone())
        };
        Ok((y, Box::new(pull)))
    }
}

fn film(part: usize, slope: f64, plane: bool) -> Modulate {
    let film = Film { slope, gain: 1.4 };
    Modulate { part, film, plane }
}

fn fir(rows: usize, columns: usize) -> Vec<Vec<f64>> {
    let tap = |y: usize, x: usize| (1.7 * (y * columns + x) as f64 + 0.4).sin();
    let row = |y| (0..columns).map(|x| tap(y, x)).collect();
    (0..rows).map(row).collect()
}

/// The outer product of 1, 3, 3, 1 and itself.
fn binomial() -> Vec<Vec<f64>> {
    let taps = [1.0, 3.0, 3.0, 1.0];
    let row = |y: f64| taps.iter().map(|x| x * y / 16.0).collect();
    taps.iter().map(|&y| row(y)).collect()
}

fn rope(tokens: usize, pairs: usize, like: &Tensor) -> Result<Rope> {
    let angles: Vec<f64> = (0..tokens * pairs).map(|i| i as f64 * 0.7).collect();
    Rope::new(&angles, pairs, like)
}

layers! {
    linear: [2, 3, 5], |t| Linear::new(t(&[7, 5]), Some(t(&[7])))?;
    linear_plain: [5], |t| Linear::new(t(&[3, 5]), None)?;
    conv_same: [2, 3, 5, 6], |t| conv(t, [4, 3, 3, 3], 1, 1, 1)?;
    conv_1x1: [2, 3, 5, 4], |t| conv(t, [4, 3, 1, 1], 1, 0, 1)?;
    conv_wide: [1, 2, 6, 7], |t| conv(t, [3, 2, 2, 5], 1, 1, 1)?;
    conv_far: [1, 2, 3, 4], |t| conv(t, [3, 2, 2, 2], 1, 3, 1)?;
    conv_down: [2, 3, 7, 6], |t| conv(t, [4, 3, 3, 3], 2, 1, 1)?;
    conv_patch: [2, 3, 7, 9], |t| conv(t, [5, 3, 3, 3], 3, 0, 1)?;
    conv_sparse: [1, 2, 8, 9], |t| conv(t, [3, 2, 2, 2], 3, 1, 1)?;
    conv_groups: [2, 4, 5, 4], |t| conv(t, [6, 2, 3, 3], 1, 1, 2)?;
    conv_groups_down: [2, 4, 5, 4], |t| conv(t, [6, 2, 3, 3], 2, 1, 2)?;
    conv_wrap: [2, 3, 5, 6], |t| conv(t, [4, 3, 3, 3], 1, 1, 1)?.wrapping([true, true]);
    conv_wrap_x: [2, 3, 5, 6], |t| conv(t, [4, 3, 3, 3], 1, 1, 1)?.wrapping([false, true]);
    conv_wrap_y_down: [1, 4, 7, 6], |t| conv(t, [6, 2, 3, 3], 2, 1, 2)?.wrapping([true, false]);
    depthwise_3: [2, 5, 9, 3], |t| depthwise(t, [3, 3, 3], 1, 1)?;
    depthwise_3_down: [2, 5, 6, 3], |t| depthwise(t, [3, 3, 3], 1, 2)?;
    depthwise_3_double: [1, 3, 5, 3], |t| depthwise(t, [6, 3, 3], 2, 1)?;
    depthwise_7: [1, 4, 9, 17], |t| depthwise(t, [17, 7, 7], 1, 1)?;
    depthwise_7_down: [1, 7, 8, 2], |t| depthwise(t, [2, 7, 7], 1, 2)?;
    depthwise_7_double_down: [2, 8, 5, 2], |t| depthwise(t, [4, 7, 7], 2, 2)?;
    depthwise_plain: [1, 4, 3, 2], |t| DepthwiseConv2d::new(t(&[2, 1, 1, 1]), None, 1, 2)?;
    channels_last: [2, 3, 4, 5], |t| ChannelsLast;
    channels_first: [2, 3, 4, 5], |t| ChannelsFirst;
    space_to_depth: [2, 5, 4, 3], |t| SpaceToDepth::new(2)?;
    global_avg_pool: [2, 3, 4, 5], |t| GlobalAvgPool;
    mean_of_tokens: [2, 5, 4], |t| GlobalAvgPool;
    neighborhood_mean: [2, 5, 6, 3], |t| NeighborhoodMean::new(3, 3, 2, &t(&[1]))?;
    neighborhood_mean_same: [1, 4, 3, 2], |t| NeighborhoodMean::new(2, 3, 1, &t(&[1]))?;
    squeeze_excite: [2, 3, 4, 6], |t| SqueezeExcite::new(Linear::new(t(&[4, 6]), Some(t(&[4])))?, Linear::new(t(&[6, 4]), Some(t(&[6])))?)?;
    conv_transposed: [2, 3, 4, 5], |t| ConvTranspose2d::new(t(&[3, 2, 3, 3]), 2)?;
    conv_transposed_wide: [1, 3, 2, 3], |t| ConvTranspose2d::new(t(&[3, 2, 4, 2]), 3)?;
    conv_transposed_plain: [1, 2, 3, 3], |t| ConvTranspose2d::new(t(&[2, 3, 3, 3]), 1)?;
    upfirdn_blur: [2, 2, 5, 7], |t| Upfirdn2d::new(&binomial(), 1, 1, [[1, 1], [1, 1]])?;
    upfirdn_blur_cut: [1, 2, 6, 7], |t| Upfirdn2d::new(&binomial(), 1, 1, [[-1, 5], [3, -2]])?;
    upfirdn_long: [1, 2, 6, 7], |t| Upfirdn2d::new(&fir(1, 6), 1, 1, [[0, 0], [2, 3]])?;
    upfirdn_up: [2, 2, 3, 4], |t| Upfirdn2d::new(&binomial(), 2, 1, [[2, 1], [2, 1]])?;
    upfirdn_down: [1, 2, 7, 8], |t| Upfirdn2d::new(&fir(4, 3), 1, 2, [[1, 1], [0, 2]])?;
    upfirdn_both: [1, 2, 5, 4], |t| Upfirdn2d::new(&fir(5, 4), 3, 2, [[2, -1], [-2, 4]])?;
    upfirdn_even: [1, 1, 5, 4], |t| Upfirdn2d::new(&fir(3, 4), 2, 4, [[1, 2], [3, 0]])?;
    film_image: [2, 3, 4, 5], |t| film(0, 0.2, true);
    film_image_relu: [2, 3, 4, 5], |t| film(0, 0.0, false);
    film_scale: [2, 3], |t| film(1, 0.2, true);
    film_scale_linear: [2, 3], |t| film(1, 1.0, false);
    film_shift: [2, 3], |t| film(2, 0.2, true);
    film_plane: [2, 1, 4, 5], |t| film(3, 0.2, true);
    max_pool: [2, 3, 4, 6], |t| MaxPool2d::new(2)?;
    pad: [2, 2, 3, 4], |t| Pad::new([2, 1], [0, 3], [true, false]);
    pad_wrap: [2, 2, 3, 4], |t| Pad::new([2, 1], [0, 3], [true, true]);
    layer_norm: [2, 3, 37], |t| LayerNorm::new(t(&[37]), Some(t(&[37])), 1e-5)?;
    layer_norm_plain: [4, 6], |t| LayerNorm::new(t(&[6]), None, 1e-3)?;
    group_norm: [2, 6, 3, 5], |t| GroupNorm::new(3, t(&[6]), t(&[6]), 1e-5)?;
    group_norm_silu: [2, 6, 3, 5], |t| GroupNorm::new(3, t(&[6]), t(&[6]), 1e-5)?.then_silu();
    group_norm_flat: [2, 6], |t| GroupNorm::new(2, t(&[6]), t(&[6]), 1e-5)?;
    attention_q: [2, 3, 4, 5], |t| Attend { part: 0, causal: false };
    attention_k: [2, 3, 6, 5], |t| Attend { part: 1, causal: false };
    attention_v: [2, 3, 6, 5], |t| Attend { part: 2, causal: false };
    attention_q_causal: [2, 3, 4, 5], |t| Attend { part: 0, causal: true };
    attention_k_causal: [2, 3, 6, 5], |t| Attend { part: 1, causal: true };
    attention_v_causal: [2, 3, 6, 5], |t| Attend { part: 2, causal: true };
    self_attention: [2, 5, 6], |t| SelfAttention::fused(t(&[18, 6]), Some(t(&[18])), Linear::new(t(&[6, 6]), None)?, 2, false)?;
    self_attention_causal: [1, 7, 6], |t| SelfAttention::fused(t(&[18, 6]), None, Linear::new(t(&[6, 6]), None)?, 3, true)?;
    self_attention_inner: [2, 3, 5], |t| {
        let part = |bias: bool| Linear::new(t(&[8, 5]), bias.then(|| t(&[8])));
        SelfAttention::new(part(true)?, part(false)?, part(true)?, Linear::new(t(&[5, 8]), Some(t(&[5])))?, 2, false)?
    };
    self_attention_rope: [2, 4, 6], |t| SelfAttention::fused(t(&[24, 6]), Some(t(&[24])), Linear::new(t(&[6, 8]), None)?, 2, false)?
        .rotating(rope(4, 2, &t(&[1]))?);
    self_attention_norm: [2, 4, 6], |t| SelfAttention::fused(t(&[24, 6]), None, Linear::new(t(&[6, 8]), None)?, 2, true)?
        .rotating(rope(4, 2, &t(&[1]))?)
        .normalizing(LayerNorm::new(t(&[8]), Some(t(&[8])), 1e-3)?);
    latent_pool: [2, 5, 6], |t| LatentPool::new(&t(&[4]), &t(&[4, 6]), &t(&[8, 6]), Some(&t(&[8])), 2)?;
    latent_pool_plain: [1, 3, 4], |t| LatentPool::new(&t(&[4]), &t(&[4, 4]), &t(&[4, 4]), None, 4)?;
    gate_silu: [2, 3, 10], |t| Gate(Activation::Silu);
    gate_gelu: [3, 2], |t| Gate(Activation::Gelu);
    gelu: [3, 7], |t| Activation::Gelu;
    gelu_tanh: [3, 7], |t| Activation::GeluTanh;
    quick_gelu: [3, 7], |t| Activation::QuickGelu;
    silu: [3, 7], |t| Activation::Silu;
    relu: [3, 7], |t| Activation::Relu;
    glu: [2, 6, 3, 4], |t| Glu::default();
    glu_with_noise: [2, 6, 3, 4], |t| Glu::with_noise(t(&[3, 4]), t(&[6]))?;
    upsample_conv: [2, 3, 4, 5], |t| UpsampleConv2d::new(&t(&[4, 3, 3, 3]), Some(&t(&[4])))?;
    upsample_conv_of_a_pixel: [1, 2, 1, 1], |t| UpsampleConv2d::new(&t(&[3, 2, 3, 3]), None)?;
    upsample_nearest: [2, 3, 2, 3], |t| UpsampleNearest::new(3)?;
    avg_pool: [2, 3, 5, 7], |t| AvgPool2d::new(2)?;
    bilinear_up: [2, 2, 3, 4], |t| Resample::new(5, 9, Filter::Bilinear, false)?;
    bilinear_down: [1, 2, 9, 8], |t| Resample::new(4, 3, Filter::Bilinear, true)?;
    bicubic_up: [2, 2, 3, 4], |t| Resample::new(5, 9, Filter::Bicubic, false)?;
    bicubic_down: [1, 2, 9, 8], |t| Resample::new(4, 3, Filter::Bicubic, true)?;
    bilinear_up_wrap: [2, 2, 3, 4], |t| Resample::new(5, 9, Filter::Bilinear, false)?.wrapping([true, true]);
    bicubic_up_wrap_x: [2, 2, 3, 4], |t| Resample::new(5, 9, Filter::Bicubic, false)?.wrapping([false, true]);
    bicubic_down_wrap_y: [1, 2, 9, 8], |t| Resample::new(4, 3, Filter::Bicubic, true)?.wrapping([true, false]);
    crops_edge: [1, 2, 11, 9], |t| crops(Border::Edge)?;
    crops_wrap_x: [1, 2, 11, 9], |t| crops(Border::Edge)?.wrapping([false, true]);
    crops_reflect: [1, 2, 11, 9], |t| crops(Border::Reflect)?;
    crops_zero: [1, 2, 11, 9], |t| crops(Border::Zero)?;
    crops_wrap: [1, 2, 11, 9], |t| crops(Border::Wrap)?;
    warp_edge: [2, 2, 6, 5], |t| warp(Border::Edge)?;
    warp_reflect: [2, 2, 6, 5], |t| warp(Border::Reflect)?;
    warp_zero: [2, 2, 6, 5], |t| warp(Border::Zero)?;
    warp_wrap: [2, 2, 6, 5], |t| warp(Border::Wrap)?;
    parallel: [2, 3, 6], |t| Parallel(Linear::new(t(&[4, 6]), None)?, Linear::new(t(&[4, 6]), None)?);
    chain: [2, 3, 6], |t| Chain::new(vec![
        Box::new(Residual(Linear::new(t(&[6, 6]), None)?)),
        Box::new(Activation::Silu),
        Box::new(LayerNorm::new(t(&[6]), None, 1e-5)?),
    ]);
}

#[test]
fn a_convolution_of_an_enlarged_image_is_one_layer() -> Result<()> {
    let (weight, bias) = (random(1, &[4, 3, 3, 3], F64), random(2, &[4], F64));
    let x = random(3, &[2, 3, 5, 4], F64);
    let options = Conv2dOptions {
        padding: 1,
        ..Conv2dOptions::default()
    };
    let two: Vec<Box<dyn Layer>> = vec![
        Box::new(UpsampleNearest::new(2)?),
        Box::new(Conv2d::new(weight.clone(), Some(bias.clone()), options)?),
    ];
    let (two, one) = (Chain::new(two), UpsampleConv2d::new(&weight, Some(&bias))?);
    let y = two.eval(&x)?;
    assert!(distance(&one.eval(&x)?, &y) < 1e-12);
    let g = random(4, y.dims(), F64);
    assert!(distance(&gradient(&one, &x, &g)?, &gradient(&two, &x, &g)?) < 1e-12);
    Ok(())
}

#[test]
fn channels_are_scaled_and_their_products_summed() -> Result<()> {
    for dtype in [DType::F32, F64] {
        let (x, y) = (
            random(1, &[2, 3, 5, 4], dtype),
            random(2, &[2, 3, 5, 4], dtype),
        );
        let scale = random(3, &[2, 3, 1, 1], dtype);
        let expected = [x.broadcast_mul(&scale)?, (&x * &y)?.sum_keepdim((2, 3))?];
        let found =
            || -> Result<_> { Ok([scale_channels(&x, &scale)?, channel_products(&x, &y)?]) };
        for found in [found()?, frozen::kernel::composed(found)?] {
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found.dims(), expected.dims());
                assert!(distance(found, expected) < 1e-6);
            }
        }
    }
    Ok(())
}
