//! FastGAN (Liu et al. 2021, "Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image Synthesis", arXiv 2101.04775).
//!
//! Convolutions of an image that is enlarged, each with its normalisation and a gated linear unit; the channels of the larger steps are
//! scaled by what those of a sixteenth of their side saw. Two layouts of names are read: the authors' own, of any size from 64 to 1,024 pixels, and
//! that of the `huggan` organisation on the hub. Sizes are those of the tensors.
//!
//! The network adds noise to some steps, of new random numbers for each picture as it was published. Here it stays the same, so that the gradient is
//! that of one function and a video does not flicker.

use candle_core::{Device, Tensor};
use frozen::{
    Activation, AvgPool2d, Chain, Conv2d, Conv2dOptions, Glu, Layer, Linear, UpsampleConv2d,
};
use weights::checkpoint::{Branch, Checkpoint, Scope};

use super::files::Architecture;
use super::ladder::{Ladder, LadderNetwork, Step};
use super::layers::{Norm, Sigmoid, ToImage, plane, weight};
use super::{GanError, Network, NetworkOptions};

const NAME: &str = "FastGAN";

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: NAME,
    marks: &[
        "feat_8.1.weight_orig",
        "feat_8.1.weight",
        "feat_8.1.parametrizations.weight.original",
        "_upsample_8._layers.1._conv.weight_orig",
        "_upsample_8._layers.1._conv.weight",
    ],
    read,
};

/// The side after the first step.
const FIRST: usize = 4;
/// A step is scaled by the one whose side is a sixteenth of its own.
const SKIPPED: usize = 4;
/// The step whose features scale the channels of a later one, and how.
type Excitation = (usize, Box<dyn Layer>);
/// Doublings up to the largest picture.
const LARGEST: usize = 8;

/// How the parts are named.
struct Names {
    first: &'static str,
    step: &'static str,
    excitation: &'static str,
    last: &'static str,
    /// Whether `last` is followed by the picture's side.
    last_has_side: bool,
    /// The beginnings of the names of parts that make no part of the picture.
    unused: &'static [&'static str],
}

const OWN: Names = Names {
    first: "init.",
    step: "feat_",
    excitation: "se_",
    last: "to_big",
    last_has_side: false,
    unused: &["to_128."],
};

const HUGGAN: Names = Names {
    first: "_init.",
    step: "_upsample_",
    excitation: "_sle_",
    last: "_out_",
    last_has_side: true,
    unused: &["_out_128."],
};

fn read(
    checkpoint: &Checkpoint,
    options: &NetworkOptions,
    device: &Device,
) -> std::result::Result<Box<dyn Network>, GanError> {
    options.allow(NAME, &[])?;
    let names = if checkpoint.keys().any(|key| key.starts_with(OWN.step)) {
        OWN
    } else {
        HUGGAN
    };
    let reader = Reader {
        weights: Branch::root(checkpoint, device),
        seed: options.seed,
        device,
        names,
    };
    let network = reader.network()?;
    checkpoint.finish(Scope::All, reader.names.unused)?;
    Ok(Box::new(network))
}

/// A module that has weights.
enum Module {
    Convolution(String),
    Noise(String),
    Norm(String),
}

struct Reader<'a> {
    weights: Branch<'a>,
    seed: u64,
    device: &'a Device,
    names: Names,
}

impl Reader<'_> {
    fn network(&self) -> std::result::Result<LadderNetwork, GanError> {
        let (first, latents, mut channels) = self.first()?;
        let mut steps = vec![Step {
            layer: first,
            excitation: None,
        }];
        // each step's channels
        let mut all = vec![channels];
        let mut planes = 0;
        for doubling in 1..=LARGEST {
            let side = FIRST << doubling;
            let prefix = format!("{}{side}.", self.names.step);
            let modules = self.modules(&prefix);
            if modules.is_empty() {
                break;
            }
            let (layer, outputs) = self.step(&prefix, &modules, channels, side, &mut planes)?;
            let excitation = self.excitation(side, doubling, &all, outputs)?;
            steps.push(Step { layer, excitation });
            channels = outputs;
            all.push(channels);
        }
        let side = FIRST << (steps.len() - 1);
        let last = self.last(channels, side)?;
        Ok(LadderNetwork {
            architecture: NAME,
            ladder: Ladder { steps, last },
            latents,
            side,
        })
    }

    /// The modules with weights below a prefix, in the order in which they are applied.
    fn modules(&self, prefix: &str) -> Vec<Module> {
        let checkpoint = self.weights.checkpoint();
        let mut modules = vec![];
        let mut before = String::new();
        for key in checkpoint.keys().filter(|key| key.starts_with(prefix)) {
            let Some((module, _)) = key.rsplit_once('.') else {
                continue;
            };
            let module = module.split(".parametrizations").next().unwrap_or(module);
            if module == before {
                continue;
            }
            module.clone_into(&mut before);
            let has = |part: &str| checkpoint.has(&format!("{module}.{part}"));
            modules.push(if has("running_mean") {
                Module::Norm(module.to_owned())
            } else if checkpoint.shape(key) == Some(&[1]) {
                Module::Noise(key.to_owned())
            } else {
                Module::Convolution(module.to_owned())
            });
        }
        modules
    }

    /// From the latent to the first step's image, the number of latents and the channels.
    fn first(&self) -> std::result::Result<(Box<dyn Layer>, usize, usize), GanError> {
        let modules = self.modules(self.names.first);
        let [Module::Convolution(conv), Module::Norm(norm)] = modules.as_slice() else {
            return Err(self.unsupported(format!(
                "`{}*` is not a transposed convolution and its normalisation",
                self.names.first
            )));
        };
        let [latents, doubled, ..] = self.dims(conv)?;
        let shape = [latents, doubled, FIRST, FIRST];
        let weight = weight(self.weights, conv, &shape, 1)?;
        let [weight, bias] = Norm::load(self.weights, norm, doubled)?.fold(&weight, None, 1)?;
        let pixels = FIRST * FIRST;
        let weight = weight.reshape((latents, doubled * pixels))?.t()?;
        let bias = bias.unsqueeze(1)?.broadcast_as((doubled, pixels))?;
        let chain = Chain::new(vec![
            Box::new(Linear::new(weight, Some(bias.flatten_all()?))?),
            Box::new(ToImage { size: [FIRST; 2] }),
            Box::new(Glu::default()),
        ]);
        Ok((Box::new(chain), latents, self.half(conv, doubled)?))
    }

    /// One or two convolutions of the image that is twice as large, and the channels.
    fn step(
        &self,
        prefix: &str,
        modules: &[Module],
        mut channels: usize,
        side: usize,
        planes: &mut usize,
    ) -> std::result::Result<(Box<dyn Layer>, usize), GanError> {
        let mut layers: Vec<Box<dyn Layer>> = vec![];
        let mut rest = modules;
        while !rest.is_empty() {
            let (conv, noise, norm) = match rest {
                [Module::Convolution(conv), Module::Norm(norm), ..] => (conv, None, norm),
                [
                    Module::Convolution(conv),
                    Module::Noise(noise),
                    Module::Norm(norm),
                    ..,
                ] => (conv, Some(noise), norm),
                _ => {
                    return Err(self.unsupported(format!(
                        "`{prefix}*` is not made of convolutions, each with its noise and normalisation"
                    )));
                }
            };
            rest = &rest[2 + usize::from(noise.is_some())..];
            let [doubled, ..] = self.dims(conv)?;
            let weight = weight(self.weights, conv, &[doubled, channels, 3, 3], 0)?;
            let norm = Norm::load(self.weights, norm, doubled)?;
            let [weight, bias] = norm.fold(&weight, None, 0)?;
            layers.push(if layers.is_empty() {
                Box::new(UpsampleConv2d::new(&weight, Some(&bias))?)
            } else {
                let options = Conv2dOptions {
                    padding: 1,
                    ..Conv2dOptions::default()
                };
                Box::new(Conv2d::new(weight, Some(bias), options)?)
            });
            layers.push(Box::new(match noise {
                None => Glu::default(),
                Some(key) => {
                    *planes += 1;
                    let plane = plane(self.seed, *planes, side, self.device)?;
                    let strength = self.weights.get(key, &[1])?;
                    Glu::with_noise(plane, norm.scale.broadcast_mul(&strength)?)?
                }
            }));
            channels = self.half(conv, doubled)?;
        }
        Ok((Box::new(Chain::new(layers)), channels))
    }

    /// What scales the channels of the step of that side, if anything does.
    fn excitation(
        &self,
        side: usize,
        doubling: usize,
        channels: &[usize],
        outputs: usize,
    ) -> std::result::Result<Option<Excitation>, GanError> {
        let prefix = format!("{}{side}.", self.names.excitation);
        let (modules, source) = (self.modules(&prefix), doubling.checked_sub(SKIPPED));
        let (first, second, source) = match (modules.as_slice(), source) {
            ([], _) => return Ok(None),
            ([Module::Convolution(first), Module::Convolution(second)], Some(source)) => {
                (first, second, source)
            }
            _ => {
                return Err(
                    self.unsupported(format!("`{prefix}*` is not made of two convolutions"))
                );
            }
        };
        let plain = Conv2dOptions::default();
        let first = weight(self.weights, first, &[outputs, channels[source], 4, 4], 0)?;
        let second = weight(self.weights, second, &[outputs, outputs, 1, 1], 0)?;
        let layer = Chain::new(vec![
            Box::new(AvgPool2d::new((FIRST << source) / 4)?),
            Box::new(Conv2d::new(first, None, plain)?),
            Box::new(Activation::Silu),
            Box::new(Conv2d::new(second, None, plain)?),
            Box::new(Sigmoid { steepness: 1.0 }),
        ]);
        Ok(Some((source, Box::new(layer))))
    }

    /// From the last step's channels to the picture.
    fn last(&self, channels: usize, side: usize) -> std::result::Result<Box<dyn Layer>, GanError> {
        let Names { last, .. } = self.names;
        let prefix = if self.names.last_has_side {
            format!("{last}{side}.")
        } else {
            format!("{last}.")
        };
        let modules = self.modules(&prefix);
        let [Module::Convolution(conv)] = modules.as_slice() else {
            return Err(self.unsupported(format!(
                "there is no convolution `{prefix}*` to a picture of {side} pixels"
            )));
        };
        let kernel = self.dims(conv)?[2];
        if kernel % 2 == 0 {
            return Err(self.unsupported(format!("`{conv}` has an even kernel")));
        }
        let weight = weight(self.weights, conv, &[3, channels, kernel, kernel], 0)?;
        let options = Conv2dOptions {
            padding: kernel / 2,
            ..Conv2dOptions::default()
        };
        // the authors' own has tanh only in front of its largest pictures
        if self.names.last_has_side || side == FIRST << LARGEST {
            return Ok(Box::new(Chain::new(vec![
                Box::new(Conv2d::new(weight, None, options)?),
                Box::new(Sigmoid { steepness: 2.0 }),
            ])));
        }
        // from -1..=1 to 0..=1
        let bias = Tensor::full(0.5f32, 3, self.device)?;
        Ok(Box::new(Conv2d::new((weight * 0.5)?, Some(bias), options)?))
    }

    /// The sizes of a convolution's weight.
    fn dims(&self, module: &str) -> std::result::Result<[usize; 4], GanError> {
        let parts = ["weight_orig", "parametrizations.weight.original", "weight"];
        let keys = parts.map(|part| format!("{module}.{part}"));
        let key = keys.iter().find(|key| self.weights.has(key));
        Ok(self.weights.dims(key.unwrap_or(&keys[2]))?)
    }

    /// Half of a convolution's channels.
    fn half(&self, module: &str, doubled: usize) -> std::result::Result<usize, GanError> {
        if doubled.is_multiple_of(2) {
            return Ok(doubled / 2);
        }
        Err(self.unsupported(format!(
            "`{module}` has {doubled} channels, of which a gated linear unit takes two each"
        )))
    }

    fn unsupported(&self, what: String) -> GanError {
        GanError::Unsupported {
            origin: self.weights.checkpoint().origin().to_owned(),
            architecture: NAME,
            what,
        }
    }
}
