//! From a recipe's `cellular` section to the generator.

use anyhow::Result;
use generators::cellular::{Cellular, CellularConfig, Padding, RuleConfig};

use super::generator::Order;
use crate::recipe::{CellularOptions, CellularPadding};

pub(super) fn cellular(options: &CellularOptions, order: &Order<'_>) -> Result<Cellular> {
    let [width, height] = order.size;
    let config = CellularConfig {
        width,
        height,
        rule: RuleConfig {
            channels: options.channels,
            hidden: options.hidden,
            fire_rate: options.fire_rate,
            padding: match options.padding {
                CellularPadding::Circular => Padding::Circular,
                CellularPadding::Zero => Padding::Zero,
            },
        },
        iterations: (options.iterations[0], options.iterations[1]),
        pool: options.pool,
        batch: options.batch,
        reseed: options.reseed,
        damage: options.damage,
        overflow: options.overflow,
        lr: order.learning_rate(&options.lr),
        steps: order.steps,
        seed: order.seed,
    };
    Ok(Cellular::new(config, order.init, order.device)?)
}
