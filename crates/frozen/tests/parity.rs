//! Values and input gradients as PyTorch computes them: fixtures/parity.safetensors, made by fixtures/make.py, fixtures/vit.safetensors, made by
//! fixtures/make_vit.py, fixtures/conv.safetensors, made by fixtures/make_conv.py, and fixtures/gan.safetensors, made by fixtures/make_gan.py. Both ways of computing are compared.

mod common;

use std::collections::HashMap;
use std::sync::LazyLock;

use candle_core::{DType, Device, Result, Tensor};
use common::frozen::{self, *};
use common::{distance, gradient, numbers};

static FIXTURE: LazyLock<HashMap<String, Tensor>> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let files = ["parity", "vit", "conv", "gan"].map(|name| format!("{folder}/{name}.safetensors"));
    let load = |file| candle_core::safetensors::load(file, &Device::Cpu).expect("a fixture");
    files.into_iter().flat_map(load).collect()
});

/// The tensors of one case.
struct Case(&'static str);

impl Case {
    fn get(&self, part: &str) -> Tensor {
        self.find(part)
            .unwrap_or_else(|| panic!("no {part} in case {}", self.0))
    }

    fn find(&self, part: &str) -> Option<Tensor> {
        FIXTURE.get(&format!("{}.{part}", self.0)).cloned()
    }
}

fn check(case: &Case, layer: impl Layer) -> Result<()> {
    agrees(case, &layer)?;
    frozen::kernel::composed(|| agrees(case, &layer))
}

fn agrees(case: &Case, layer: &dyn Layer) -> Result<()> {
    let (x, g) = (case.get("x"), case.get("g"));
    let value = distance(&layer.eval(&x)?, &case.get("y"));
    let slope = distance(&gradient(layer, &x, &g)?, &case.get("dx"));
    assert!(
        value < 2e-6 && slope < 2e-6,
        "{}: value {value:e}, gradient {slope:e}",
        case.0
    );
    Ok(())
}

macro_rules! parity {
    ($($name:ident: |$case:ident| $layer:expr;)*) => {$(
        #[test]
        fn $name() -> Result<()> {
            let $case = Case(stringify!($name));
            check(&$case, $layer)
        }
    )*};
}

fn conv(case: &Case, stride: usize, padding: usize, groups: usize) -> Result<Conv2d> {
    Conv2d::new(
        case.get("weight"),
        case.find("bias"),
        Conv2dOptions {
            stride,
            padding,
            groups,
        },
    )
}

fn attend(case: &Case, causal: bool) -> Result<SelfAttention> {
    let (weight, bias) = (case.get("qkv_weight"), case.get("qkv_bias"));
    let part = |i: usize| {
        Linear::new(
            weight.narrow(0, 12 * i, 12)?,
            Some(bias.narrow(0, 12 * i, 12)?),
        )
    };
    let out = Linear::new(case.get("out_weight"), case.find("out_bias"))?;
    SelfAttention::new(part(0)?, part(1)?, part(2)?, out, 3, causal)
}

fn turning(case: &Case) -> Result<SelfAttention> {
    let angles = numbers(&case.get("angles"));
    let weight = case.get("qkv_weight");
    let rope = Rope::new(&angles, 2, &weight)?;
    let out = Linear::new(case.get("out_weight"), case.find("out_bias"))?;
    let layer = SelfAttention::fused(weight, case.find("qkv_bias"), out, 3, false)?.rotating(rope);
    match case.find("norm_weight") {
        Some(weight) => {
            Ok(layer.normalizing(LayerNorm::new(weight, case.find("norm_bias"), 1e-6)?))
        }
        None => Ok(layer),
    }
}

fn pooling(case: &Case) -> Result<LatentPool> {
    let [query, key, value] = ["query", "key", "value"].map(|part| case.get(part));
    LatentPool::new(&query, &key, &value, case.find("bias").as_ref(), 3)
}

fn depthwise(case: &Case, multiplier: usize, stride: usize) -> Result<DepthwiseConv2d> {
    DepthwiseConv2d::new(case.get("weight"), case.find("bias"), multiplier, stride)
}

fn excite(case: &Case) -> Result<SqueezeExcite> {
    let part = |name: &str| {
        let weight = case.get(&format!("{name}_weight"));
        Linear::new(weight.flatten_from(1)?, case.find(&format!("{name}_bias")))
    };
    SqueezeExcite::new(part("fc1")?, part("fc2")?)
}

/// A convolution whose stride is its size.
fn squares(case: &Case) -> Result<Chain> {
    let weight = case.get("weight").permute((0, 2, 3, 1))?.contiguous()?;
    Ok(Chain::new(vec![
        Box::new(SpaceToDepth::new(2)?),
        Box::new(Linear::new(weight.flatten_from(1)?, case.find("bias"))?),
    ]))
}

fn resample(h: usize, w: usize, filter: Filter, antialias: bool) -> Result<Resample> {
    Resample::new(h, w, filter, antialias)
}

fn crops(filter: Filter, border: Border) -> Result<Crops> {
    let crop = |top, left, height, width, flip| Crop {
        top,
        left,
        height,
        width,
        flip,
    };
    let crops = vec![
        crop(0.0, 0.0, 12.0, 10.0, false),
        crop(3.0, 2.0, 6.0, 5.0, false),
        crop(-4.0, 3.0, 9.0, 10.0, true),
        crop(7.0, -6.0, 12.0, 15.0, false),
        crop(20.0, 20.0, 4.0, 5.0, false),
    ];
    Crops::new(crops, 4, 5, filter, border)
}

fn warp(case: &Case, border: Border) -> Result<Warp> {
    let matrices = numbers(&case.get("matrices"));
    Warp::new(matrices.as_chunks::<9>().0.to_vec(), border)
}

fn upfirdn(case: &Case, up: usize, down: usize, pad: [[i64; 2]; 2]) -> Result<Upfirdn2d> {
    let taps = case.get("taps").to_dtype(DType::F64)?.to_vec2()?;
    Upfirdn2d::new(&taps, up, down, pad)
}

parity! {
    upfirdn_blur: |case| upfirdn(&case, 1, 1, [[1, 1], [1, 1]])?;
    upfirdn_up: |case| upfirdn(&case, 2, 1, [[2, 1], [2, 1]])?;
    upfirdn_down: |case| upfirdn(&case, 1, 2, [[1, 2], [-1, 2]])?;
    upfirdn_separable: |case| upfirdn(&case, 1, 1, [[-1, 3], [4, 0]])?;
    upfirdn_both: |case| upfirdn(&case, 3, 2, [[2, -1], [-2, 4]])?;
    conv_transposed: |case| ConvTranspose2d::new(case.get("weight"), 2)?;
    max_pool: |case| MaxPool2d::new(2)?;
    linear: |case| Linear::new(case.get("weight"), case.find("bias"))?;
    linear_plain: |case| Linear::new(case.get("weight"), None)?;
    conv3x3: |case| conv(&case, 1, 1, 1)?;
    conv1x1: |case| conv(&case, 1, 0, 1)?;
    conv_wide: |case| conv(&case, 1, 2, 1)?;
    conv_far: |case| conv(&case, 1, 3, 1)?;
    conv_down: |case| conv(&case, 2, 1, 1)?;
    conv_patch: |case| conv(&case, 4, 0, 1)?;
    conv_groups: |case| conv(&case, 1, 1, 3)?;
    conv_depth: |case| conv(&case, 1, 1, 4)?;
    conv_sparse: |case| conv(&case, 3, 0, 1)?;
    conv_circular: |case| conv(&case, 1, 1, 1)?.wrapping([true, true]);
    conv_circular_x: |case| conv(&case, 1, 1, 1)?.wrapping([false, true]);
    conv_circular_down: |case| conv(&case, 2, 1, 1)?.wrapping([true, true]);
    pad_circular: |case| Pad::new([0, 1], [2, 3], [true, true]);
    folded: |case| Conv2d::folded(
        case.get("weight"),
        case.find("bias"),
        &case.get("bn_weight"),
        &case.get("bn_bias"),
        &case.get("bn_mean"),
        &case.get("bn_var"),
        1e-5,
        Conv2dOptions { padding: 1, ..Default::default() },
    )?;
    layer_norm: |case| LayerNorm::new(case.get("weight"), case.find("bias"), 1e-5)?;
    layer_norm_plain: |case| LayerNorm::new(case.get("weight"), None, 1e-5)?;
    group_norm: |case| GroupNorm::new(3, case.get("weight"), case.get("bias"), 1e-6)?;
    group_norm_flat: |case| GroupNorm::new(3, case.get("weight"), case.get("bias"), 1e-6)?;
    self_attention: |case| attend(&case, false)?;
    self_attention_causal: |case| attend(&case, true)?;
    rope: |case| turning(&case)?;
    rope_norm: |case| turning(&case)?;
    latent_pool: |case| pooling(&case)?;
    gate_silu: |case| Gate(Activation::Silu);
    gate_gelu: |case| Gate(Activation::Gelu);
    depthwise_3_1_1: |case| depthwise(&case, 1, 1)?;
    depthwise_3_1_2: |case| depthwise(&case, 2, 1)?;
    depthwise_3_2_1: |case| depthwise(&case, 1, 2)?;
    depthwise_3_2_2: |case| depthwise(&case, 2, 2)?;
    depthwise_7_1_1: |case| depthwise(&case, 1, 1)?;
    depthwise_7_1_2: |case| depthwise(&case, 2, 1)?;
    depthwise_7_2_1: |case| depthwise(&case, 1, 2)?;
    depthwise_7_2_2: |case| depthwise(&case, 2, 2)?;
    channel_norm: |case| LayerNorm::new(case.get("weight"), case.find("bias"), 1e-6)?;
    squeeze_excite: |case| excite(&case)?;
    mean_of_pixels: |case| GlobalAvgPool;
    neighborhood_mean: |case| NeighborhoodMean::new(3, 3, 2, &case.get("x"))?;
    conv_2_2: |case| squares(&case)?;
    gelu: |case| Activation::Gelu;
    gelu_tanh: |case| Activation::GeluTanh;
    quick_gelu: |case| Activation::QuickGelu;
    silu: |case| Activation::Silu;
    relu: |case| Activation::Relu;
    upsample_nearest: |case| UpsampleNearest::new(3)?;
    avg_pool: |case| AvgPool2d::new(3)?;
    bilinear_down: |case| resample(4, 5, Filter::Bilinear, false)?;
    bilinear_up: |case| resample(19, 23, Filter::Bilinear, false)?;
    bilinear_same: |case| resample(11, 13, Filter::Bilinear, false)?;
    bilinear_mixed: |case| resample(23, 6, Filter::Bilinear, false)?;
    bilinear_down_antialias: |case| resample(4, 5, Filter::Bilinear, true)?;
    bilinear_up_antialias: |case| resample(19, 23, Filter::Bilinear, true)?;
    bilinear_same_antialias: |case| resample(11, 13, Filter::Bilinear, true)?;
    bilinear_mixed_antialias: |case| resample(23, 6, Filter::Bilinear, true)?;
    bicubic_down: |case| resample(4, 5, Filter::Bicubic, false)?;
    bicubic_up: |case| resample(19, 23, Filter::Bicubic, false)?;
    bicubic_same: |case| resample(11, 13, Filter::Bicubic, false)?;
    bicubic_mixed: |case| resample(23, 6, Filter::Bicubic, false)?;
    bicubic_down_antialias: |case| resample(4, 5, Filter::Bicubic, true)?;
    bicubic_up_antialias: |case| resample(19, 23, Filter::Bicubic, true)?;
    bicubic_same_antialias: |case| resample(11, 13, Filter::Bicubic, true)?;
    bicubic_mixed_antialias: |case| resample(23, 6, Filter::Bicubic, true)?;
    bilinear_circular: |case| resample(33, 39, Filter::Bilinear, false)?.wrapping([true, true]);
    bicubic_circular: |case| resample(33, 39, Filter::Bicubic, false)?.wrapping([true, true]);
    bicubic_circular_y: |case| resample(33, 39, Filter::Bicubic, false)?.wrapping([true, false]);
    bicubic_circular_down: |case| resample(4, 3, Filter::Bicubic, true)?.wrapping([true, true]);
    crops_edge: |case| crops(Filter::Bicubic, Border::Edge)?;
    crops_reflect: |case| crops(Filter::Bicubic, Border::Reflect)?;
    crops_zero: |case| crops(Filter::Bicubic, Border::Zero)?;
    crops_wrap: |case| crops(Filter::Bicubic, Border::Wrap)?;
    crops_bilinear: |case| crops(Filter::Bilinear, Border::Edge)?;
    warp_zero: |case| warp(&case, Border::Zero)?;
    warp_edge: |case| warp(&case, Border::Edge)?;
    warp_reflect: |case| warp(&case, Border::Reflect)?;
}

/// Far from zero a function's value is small, and must still be right in relation to itself.
#[test]
fn activations_have_relative_precision() -> Result<()> {
    use Activation::*;
    for layer in [Gelu, GeluTanh, QuickGelu, Silu] {
        let x = Case("gelu").get("x");
        let narrow = numbers(&layer.eval(&x)?);
        let wide = numbers(&layer.eval(&x.to_dtype(DType::F64)?)?);
        for (x, (a, b)) in numbers(&x).iter().zip(narrow.iter().zip(&wide)) {
            // Values that f32 holds with fewer digits, or not at all, are as good as zero.
            let error = (a - b).abs() / b.abs().max(1e-30);
            // The exponential of a rounded number loses digits as that number grows.
            assert!(
                error < 1e-6 + 1e-7 * x * x,
                "{layer:?}({x}) = {a:e}, not {b:e}"
            );
        }
    }
    Ok(())
}

#[test]
fn attention_to_other_tokens() -> Result<()> {
    for (case, causal) in [(Case("attention"), false), (Case("attention_causal"), true)] {
        let (q, k, v) = (case.get("q"), case.get("k"), case.get("v"));
        let (y, pullback) = scaled_dot_product(&q, &k, &v, causal)?;
        let (dq, dk, dv) = pullback(&case.get("g"))?;
        for (ours, part) in [(y, "y"), (dq, "dq"), (dk, "dk"), (dv, "dv")] {
            let error = distance(&ours, &case.get(part));
            assert!(error < 2e-6, "{} {part}: {error:e}", case.0);
        }
    }
    Ok(())
}
