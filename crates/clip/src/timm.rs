//! Image towers from timm, as open_clip wraps them: `visual.trunk.` is the network, `visual.head.` the projection, if it has one of its own.

mod convnext;
mod fastvit;
mod folded;
pub mod models;
mod vit;
mod vitamin;

use frozen::{Activation, Layer};
use weights::checkpoint::{Branch, CheckpointError};

use crate::config::{TimmConfig, TimmHead};
use crate::transformer::linear;
use crate::trunk::Trunk;
use models::Family;

/// Reads a tower: normalised pixels `[batch, 3, size, size]` to embeddings `[batch, projection]`, not yet of unit length.
pub fn tower(
    weights: Branch<'_>,
    config: &TimmConfig,
    size: usize,
    projection: usize,
) -> Result<Trunk, CheckpointError> {
    match &config.family {
        Family::Vit(traits) => vit::read(weights, config, traits, size, projection),
        Family::Vitamin(traits) => vitamin::read(weights, config, traits, size, projection),
        Family::FastVit => fastvit::read(weights, config, size, projection),
        Family::ConvNext(traits) => convnext::read(weights, config, traits, size, projection),
    }
}

/// The layers that take a tower's features `[batch, features]` to embeddings `[batch, projection]`. `classifier` is the name of the tower's own
/// last layer.
fn head(
    weights: Branch<'_>,
    config: &TimmConfig,
    classifier: &str,
    features: usize,
    projection: usize,
) -> Result<Vec<Box<dyn Layer>>, CheckpointError> {
    let name = |part: &str| format!("visual.head.{part}");
    Ok(match config.head {
        TimmHead::None if features != projection => {
            let what = format!(
                "an image tower of width {features} without a projection does not match the joint space of {projection}"
            );
            return Err(candle_core::Error::Msg(what).into());
        }
        TimmHead::None => vec![],
        TimmHead::Classifier => {
            let layer = linear(weights, classifier, features, projection, true)?;
            vec![Box::new(layer)]
        }
        TimmHead::Linear { bias } => {
            let layer = linear(weights, &name("proj"), features, projection, bias)?;
            vec![Box::new(layer)]
        }
        TimmHead::Mlp { bias } => {
            let hidden = 2 * projection;
            vec![
                Box::new(linear(weights, &name("mlp.fc1"), features, hidden, true)?),
                Box::new(Activation::Gelu),
                Box::new(linear(weights, &name("mlp.fc2"), hidden, projection, bias)?),
            ]
        }
    })
}

/// Refuses a width that a tower's heads do not divide; `tensor` has it. Their number is that of the tower's name.
fn check_heads(
    weights: Branch<'_>,
    config: &TimmConfig,
    tensor: &str,
    width: usize,
    heads: usize,
) -> Result<(), CheckpointError> {
    if width.is_multiple_of(heads) {
        return Ok(());
    }
    let what = format!(
        "`{tensor}` in {} is {width} channels wide, which the {heads} heads of timm's `{}` (`timm_model_name`) do not divide: the weights are those of another tower",
        weights.checkpoint().origin(),
        config.name
    );
    Err(candle_core::Error::Msg(what).into())
}

/// Refuses an image size that is too small for a network: its strides would reduce the image to `left` = 0 pixels.
fn check_side(size: usize, left: usize) -> Result<(), CheckpointError> {
    if left == 0 {
        let what = format!("an image size of {size} is too small for its image tower");
        return Err(candle_core::Error::Msg(what).into());
    }
    Ok(())
}

/// How many tensors there are whose names differ in a number that counts from 0.
fn count(weights: Branch<'_>, name: impl Fn(usize) -> String) -> usize {
    (0..1000)
        .take_while(|index| weights.has(&name(*index)))
        .count()
}
