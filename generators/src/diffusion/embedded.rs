//! The diffusion model that is part of the program. `tools/embedded-diffusion` trains it.

use candle_core::Device;
use weights::checkpoint::Checkpoint;
use weights::models::EMBEDDED;

use super::error::{Loaded, ModelError};
use super::load::SchedulerConfig;
use super::load_options::LoadOptions;
use super::unet::{UNet, UNetConfig};

/// Classifier-free guidance where it is not set.
pub(super) const CFG: f64 = 3.0;
/// The side of the pictures that it was trained on.
const SIDE: usize = 96;
/// The longest side: attention sees every latent from every other.
const LONGEST: usize = 4 * SIDE;
/// Sides are multiples of this: 8 pixels a latent, halved once.
const MULTIPLE: usize = 16;

/// Width and height that it works at for a picture of that size: the shorter side is that of its training, and the aspect ratio the picture's, up to
/// four to one.
pub(super) fn resolution(size: [usize; 2]) -> [usize; 2] {
    let shorter = size[0].min(size[1]).max(1) as f64;
    size.map(|side| {
        let scaled = side as f64 * SIDE as f64 / shorter;
        ((scaled / MULTIPLE as f64).round() as usize * MULTIPLE).min(LONGEST)
    })
}

pub(super) fn scheduler() -> Loaded<SchedulerConfig> {
    serde_json::from_str(embedded_diffusion::SCHEDULER).map_err(refused)
}

pub(super) fn network(options: LoadOptions, device: &Device) -> Loaded<UNet> {
    let config = UNetConfig::parse(embedded_diffusion::CONFIG).map_err(refused)?;
    let checkpoint = Checkpoint::from_static(EMBEDDED, embedded_diffusion::WEIGHTS)?;
    UNet::new(config, &checkpoint, device, options)
}

fn refused(source: serde_json::Error) -> ModelError {
    ModelError::Json {
        path: EMBEDDED.into(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_works_near_the_size_of_its_training() {
        for (size, expected) in [
            ([256, 256], [96, 96]),
            ([64, 64], [96, 96]),
            ([384, 256], [144, 96]),
            ([250, 333], [96, 128]),
            ([1, 3], [96, 288]),
            ([16384, 1], [384, 96]),
        ] {
            assert_eq!(resolution(size), expected, "{size:?}");
        }
    }
}
