//! What does not fit is refused, in words that name the layer, what was expected and what was found.

mod common;

use candle_core::{DType, Device, Result, Tensor};
use common::frozen::*;
use common::random;

fn t(shape: &[usize]) -> Tensor {
    random(5, shape, DType::F32)
}

/// The message of an error, which must contain all of `parts`.
fn refused<T>(result: Result<T>, parts: &[&str]) {
    let Err(error) = result else {
        panic!("accepted, where an error with {parts:?} was expected");
    };
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}

#[test]
fn shapes_that_do_not_fit_are_named() -> Result<()> {
    let linear = Linear::new(t(&[4, 3]), None)?;
    refused(linear.eval(&t(&[2, 5])), &["Linear", "3]", "[2, 5]"]);
    refused(linear.eval(&t(&[3]).sum_all()?), &["Linear", "[]"]);
    let conv = Conv2d::new(t(&[4, 3, 3, 3]), None, Conv2dOptions::default())?;
    refused(
        conv.eval(&t(&[1, 2, 5, 5])),
        &["Conv2d", "3, height", "[1, 2, 5, 5]"],
    );
    refused(conv.eval(&t(&[3, 5, 5])), &["Conv2d", "[3, 5, 5]"]);
    refused(conv.eval(&t(&[1, 3, 2, 5])), &["Conv2d", "3 x 3", "2 x 5"]);
    let norm = LayerNorm::new(t(&[6]), None, 1e-5)?;
    refused(norm.eval(&t(&[2, 5])), &["LayerNorm", "6]", "[2, 5]"]);
    let norm = GroupNorm::new(2, t(&[6]), t(&[6]), 1e-5)?;
    refused(norm.eval(&t(&[2, 5, 3])), &["GroupNorm", "6,", "[2, 5, 3]"]);
    let attention =
        SelfAttention::fused(t(&[12, 4]), None, Linear::new(t(&[4, 4]), None)?, 2, false)?;
    refused(attention.eval(&t(&[2, 4])), &["SelfAttention", "[2, 4]"]);
    refused(attention.eval(&t(&[2, 3, 5])), &["4]", "[2, 3, 5]"]);
    let (q, k) = (t(&[1, 2, 3, 4]), t(&[1, 2, 5, 6]));
    refused(
        scaled_dot_product(&q, &k, &k, false),
        &["attention", "[1, 2, 3, 4]", "[1, 2, 5, 6]"],
    );
    let depthwise = DepthwiseConv2d::new(t(&[4, 1, 3, 3]), None, 2, 1)?;
    refused(
        depthwise.eval(&t(&[1, 5, 5, 4])),
        &["DepthwiseConv2d", "width, 2]", "[1, 5, 5, 4]"],
    );
    refused(
        SpaceToDepth::new(4)?.eval(&t(&[1, 9, 3, 2])),
        &["SpaceToDepth", "9 x 3"],
    );
    let (reduce, expand) = (t(&[2, 6]), t(&[6, 2]));
    let (reduce, expand) = (Linear::new(reduce, None)?, Linear::new(expand, None)?);
    refused(
        SqueezeExcite::new(reduce, expand)?.eval(&t(&[1, 3, 3, 4])),
        &["SqueezeExcite", "width, 6]", "[1, 3, 3, 4]"],
    );
    refused(
        UpsampleNearest::new(2)?.eval(&t(&[2, 3])),
        &["UpsampleNearest", "[2, 3]"],
    );
    refused(
        Glu::default().eval(&t(&[1, 3, 2, 2])),
        &["Glu", "3 channels"],
    );
    refused(
        Glu::with_noise(t(&[2, 3]), t(&[4]))?.eval(&t(&[1, 4, 2, 2])),
        &["Glu", "[2, 3]", "[1, 4, 2, 2]"],
    );
    refused(
        scale_channels(&t(&[1, 3, 2, 2]), &t(&[1, 2, 1, 1])),
        &["scale_channels", "[1, 2, 1, 1]", "[1, 3, 2, 2]"],
    );
    refused(
        AvgPool2d::new(4)?.eval(&t(&[1, 1, 3, 9])),
        &["AvgPool2d", "3 x 9"],
    );
    let resample = Resample::new(2, 2, Filter::Bicubic, true)?;
    refused(resample.eval(&t(&[3, 4])), &["Resample", "[3, 4]"]);
    let crop = Crop {
        top: 0.0,
        left: 0.0,
        height: 1.0,
        width: 1.0,
        flip: false,
    };
    let crops = Crops::new(vec![crop], 2, 2, Filter::Bilinear, Border::Edge)?;
    refused(
        crops.eval(&t(&[2, 3, 4, 4])),
        &["Crops", "one image", "[2, 3, 4, 4]"],
    );
    let warp = Warp::new(vec![[1.0; 9]], Border::Edge)?;
    refused(
        warp.eval(&t(&[2, 3, 4, 4])),
        &["Warp", "[1, channels", "[2, 3, 4, 4]"],
    );
    Ok(())
}

#[test]
fn weights_that_do_not_fit_are_refused() -> Result<()> {
    refused(Linear::new(t(&[4]), None), &["Linear", "[4]"]);
    refused(
        Linear::new(t(&[4, 3]), Some(t(&[3]))),
        &["Linear", "[4]", "[3]"],
    );
    let options = |stride, groups| Conv2dOptions {
        stride,
        groups,
        padding: 0,
    };
    refused(
        Conv2d::new(t(&[4, 3]), None, options(1, 1)),
        &["Conv2d", "[4, 3]"],
    );
    refused(
        Conv2d::new(t(&[4, 3, 1, 1]), None, options(0, 1)),
        &["Conv2d", "stride"],
    );
    refused(
        Conv2d::new(t(&[4, 3, 1, 1]), None, options(1, 3)),
        &["Conv2d", "3 groups"],
    );
    refused(
        DepthwiseConv2d::new(t(&[4, 2, 3, 3]), None, 1, 1),
        &["DepthwiseConv2d", "[4, 2, 3, 3]"],
    );
    let even = t(&[4, 1, 2, 2]);
    refused(
        DepthwiseConv2d::new(even, None, 1, 1),
        &["DepthwiseConv2d", "[4, 1, 2, 2]"],
    );
    let depthwise =
        |multiplier, stride| DepthwiseConv2d::new(t(&[4, 1, 3, 3]), None, multiplier, stride);
    refused(depthwise(3, 1), &["DepthwiseConv2d", "4 output", "3 for"]);
    refused(depthwise(0, 1), &["DepthwiseConv2d", "0 for"]);
    refused(depthwise(1, 3), &["DepthwiseConv2d", "stride", "3"]);
    let (reduce, expand) = (t(&[2, 6]), t(&[5, 2]));
    refused(
        SqueezeExcite::new(Linear::new(reduce, None)?, Linear::new(expand, None)?),
        &["SqueezeExcite", "6 to 2", "2 to 5"],
    );
    refused(SpaceToDepth::new(0), &["SpaceToDepth"]);
    refused(
        NeighborhoodMean::new(3, 2, 1, &t(&[1])),
        &["NeighborhoodMean", "odd", "2"],
    );
    refused(
        LayerNorm::new(t(&[4]), Some(t(&[5])), 1e-5),
        &["LayerNorm", "[4]", "[5]"],
    );
    refused(
        GroupNorm::new(3, t(&[4]), t(&[4]), 1e-5),
        &["GroupNorm", "3 groups"],
    );
    refused(
        GroupNorm::new(0, t(&[4]), t(&[4]), 1e-5),
        &["GroupNorm", "0 groups"],
    );
    let out = Linear::new(t(&[4, 4]), None)?;
    refused(
        SelfAttention::fused(t(&[12, 4]), None, out.clone(), 3, false),
        &["SelfAttention", "3 heads"],
    );
    refused(
        SelfAttention::fused(t(&[9, 4]), None, out, 2, false),
        &["SelfAttention", "9 rows"],
    );
    refused(UpsampleNearest::new(0), &["UpsampleNearest"]);
    let even = t(&[4, 2, 2, 2]);
    refused(
        UpsampleConv2d::new(&even, None),
        &["UpsampleConv2d", "[4, 2, 2, 2]"],
    );
    refused(AvgPool2d::new(0), &["AvgPool2d"]);
    refused(
        Resample::new(0, 2, Filter::Bicubic, true),
        &["Resample", "0 x 2"],
    );
    refused(
        Crops::new(vec![], 2, 2, Filter::Bicubic, Border::Edge),
        &["Crops", "0 crops"],
    );
    let crop = Crop {
        top: f64::NAN,
        left: 0.0,
        height: 1.0,
        width: 1.0,
        flip: false,
    };
    refused(
        Crops::new(vec![crop], 2, 2, Filter::Bicubic, Border::Edge),
        &["Crops", "crop 0", "NaN"],
    );
    refused(
        Warp::new(vec![[f64::INFINITY; 9]], Border::Edge),
        &["Warp", "matrix 0"],
    );
    Ok(())
}

#[test]
fn types_that_differ_are_named() -> Result<()> {
    let linear = Linear::new(t(&[4, 3]), None)?;
    refused(
        linear.eval(&random(1, &[2, 3], DType::F64)),
        &["Linear", "F32", "F64"],
    );
    let bias = random(1, &[4], DType::F64);
    refused(
        Linear::new(t(&[4, 3]), Some(bias)),
        &["Linear", "F32", "F64"],
    );
    Ok(())
}

#[test]
fn embedding_refuses_ids_outside_of_its_table() -> Result<()> {
    let table = Embedding::new(t(&[5, 3]))?;
    refused(
        table.lookup(&Tensor::new(&[4u32, 5], &Device::Cpu)?),
        &["Embedding", "id 5", "0..5"],
    );
    refused(
        table.lookup(&Tensor::new(&[-1i64], &Device::Cpu)?),
        &["Embedding", "id -1"],
    );
    refused(table.lookup(&t(&[2])), &["Embedding", "integers"]);
    refused(Embedding::new(t(&[2])), &["Embedding", "[2]"]);
    Ok(())
}
