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

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::flat;
    use crate::objective::{Objective, TermContext, Terms};
    use crate::picture;
    use crate::recipe::{GeneratorOptions, terms};
    use crate::session::Session;
    use crate::session::generator::LearningRateScale;

    /// All cells begin alike and differ only by when they are updated; the term `mean` makes them change in the first place.
    #[test]
    fn the_term_contrast_makes_a_pattern_of_an_even_start() -> Result<()> {
        let options = CellularOptions {
            iterations: [8, 16],
            ..CellularOptions::default()
        };
        let steps = 150;
        let order = Order {
            options: &GeneratorOptions::Cellular(options.clone()),
            size: [24, 24],
            steps,
            seed: 1,
            prompts: &[],
            init: None,
            device: &Device::Cpu,
            learning_rate_scale: &LearningRateScale::default(),
        };
        let terms = Terms {
            mean: Some(terms::mean::Config(0.4.into())),
            contrast: Some(terms::contrast::Config(0.2.into())),
            ..Terms::default()
        };
        let objective = Objective::new(terms.build(&mut TermContext::default())?);
        let mut session =
            Session::from_parts(Box::new(cellular(&options, &order)?), objective, steps);
        while !session.is_finished() {
            session.tick()?;
        }
        let contrast = flat::contrast(&picture::from_tensor(&session.image()?)?);
        assert!((0.1..0.3).contains(&contrast), "{contrast}");
        Ok(())
    }
}
