//! From a recipe's `vqgan` or `latent` section to the generator.

use std::sync::Arc;

use anyhow::{Result, bail};
use generators::{Autoencoder, Latent, LatentConfig, LatentStart, OptimizerKind};

use super::backend::resize_to_fill;
use super::generator::Order;
use crate::load;
use crate::recipe::{LatentOptions, Schedule, VqganOptions, VqganStart};

/// Bytes that decoding a picture may take before it is done in tiles.
const DECODING: usize = 3 << 30;

pub(super) fn vqgan(
    options: &VqganOptions,
    order: &Order<'_>,
    warnings: &mut Vec<String>,
) -> Result<Latent> {
    let autoencoder = load::autoencoder(&options.model, order.device)?;
    warnings.extend(autoencoder.warnings().iter().cloned());
    if autoencoder.codebook().is_none() {
        bail!(
            "`{}` is an autoencoder without a codebook: paint with `kind: latent`, or name a VQGAN",
            options.model
        );
    }
    let start = match (options.start, order.init) {
        (Some(VqganStart::Codes), _) | (None, None) => LatentStart::Codes,
        (Some(VqganStart::Noise), _) => LatentStart::Noise,
        (Some(VqganStart::Init), _) | (None, Some(_)) => LatentStart::Init,
    };
    let config = LatentConfig {
        quantise: true,
        ..latent_config(start, &options.lr, options.tile, order)
    };
    painting(&options.model, autoencoder, config, order, warnings)
}

pub(super) fn latent(
    options: &LatentOptions,
    order: &Order<'_>,
    warnings: &mut Vec<String>,
) -> Result<Latent> {
    let autoencoder = load::autoencoder(&options.model, order.device)?;
    warnings.extend(autoencoder.warnings().iter().cloned());
    let start = match order.init {
        None => LatentStart::Noise,
        Some(_) => LatentStart::Init,
    };
    let config = LatentConfig {
        noise: options.noise,
        optimizer: OptimizerKind::Adam {
            weight_decay: options.weight_decay,
        },
        ..latent_config(start, &options.lr, options.tile, order)
    };
    painting(&options.model, autoencoder, config, order, warnings)
}

/// What both kinds have in common; the size is not yet one of whole latents, and the tile is in pixels.
fn latent_config(
    start: LatentStart,
    lr: &Schedule,
    tile: Option<usize>,
    order: &Order<'_>,
) -> LatentConfig {
    let [width, height] = order.size;
    LatentConfig {
        width,
        height,
        quantise: false,
        start,
        noise: 1.0,
        optimizer: OptimizerKind::Adam { weight_decay: 0.0 },
        lr: order.learning_rate(lr),
        tile,
        steps: order.steps,
        seed: order.seed,
    }
}

/// A painting of whole latents, in tiles where memory or the recipe asks for it, both of which are said.
fn painting(
    model: &str,
    autoencoder: Autoencoder,
    mut config: LatentConfig,
    order: &Order<'_>,
    warnings: &mut Vec<String>,
) -> Result<Latent> {
    let asked = [config.width, config.height];
    let size = autoencoder.nearest_size(asked);
    let factor = autoencoder.factor();
    if size != asked {
        warnings.push(format!(
            "the picture is {} x {} instead of {} x {}: `{model}` paints in squares of {factor} pixels",
            size[0], size[1], asked[0], asked[1]
        ));
    }
    [config.width, config.height] = size;
    config.tile = match config.tile {
        // in latents, and enough of them to overlap
        Some(pixels) => Some(pixels.div_ceil(factor).max(2)),
        None => {
            let tile = autoencoder.tile(size, DECODING);
            if let Some(tile) = tile {
                warnings.push(format!(
                    "the picture is decoded in tiles of {} pixels, since the whole would take too much memory",
                    tile * factor
                ));
            }
            tile
        }
    };
    let init = order
        .init
        .map(|init| resize_to_fill(init, size))
        .transpose()?;
    Ok(Latent::new(
        config,
        Arc::new(autoencoder),
        init.as_ref(),
        order.device,
    )?)
}
