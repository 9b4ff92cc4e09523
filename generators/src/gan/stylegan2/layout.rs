//! How checkpoints of StyleGAN2 name and scale their tensors: those of rosinality's PyTorch version, and NVIDIA's.

use candle_core::{DType, Tensor};
use frozen::Linear;
use weights::checkpoint::{Branch, Checkpoint};

use crate::gan::styles::equalized;
use crate::layers::Loaded;

/// The largest side of a filter.
const MOST_TAPS: usize = 16;
/// What NVIDIA's filters are multiplied by where they enlarge; others are stored so.
const ENLARGING_GAIN: f64 = 4.0;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Rosinality,
    Nvidia,
}

impl Layout {
    /// A tensor that every one has.
    const fn mark(self) -> &'static str {
        match self {
            Self::Rosinality => "conv1.conv.modulation.weight",
            Self::Nvidia => "synthesis.b4.conv1.affine.weight",
        }
    }

    /// In front of the names of the generator that is the moving average of training.
    const fn average(self) -> &'static str {
        match self {
            Self::Rosinality => "g_ema.",
            Self::Nvidia => "G_ema.",
        }
    }

    /// What training programs save beside that.
    const fn others(self) -> &'static [&'static str] {
        match self {
            Self::Rosinality => &["g.", "d.", "g_optim.", "d_optim."],
            Self::Nvidia => &["G.", "D.", "augment_pipe."],
        }
    }
}

/// The generator of a checkpoint, that of the moving average if there are several.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub weights: Branch<'a>,
    pub layout: Layout,
    pub prefix: &'static str,
}

impl<'a> Reader<'a> {
    pub fn new(weights: Branch<'a>) -> Self {
        let found = |layout: &Layout| {
            let (average, mark) = (layout.average(), layout.mark());
            [average, ""]
                .into_iter()
                .find(|prefix| weights.has(&format!("{prefix}{mark}")))
                .map(|prefix| (*layout, prefix))
        };
        let layouts = [Layout::Rosinality, Layout::Nvidia];
        // where there is none, the first is said to be missing
        let (layout, prefix) = (layouts.iter())
            .find_map(found)
            .unwrap_or((Layout::Rosinality, ""));
        Self {
            weights,
            layout,
            prefix,
        }
    }

    pub fn checkpoint(&self) -> &'a Checkpoint {
        self.weights.checkpoint()
    }

    /// One of two names, by the layout, after the prefix.
    fn by_layout(&self, rosinality: &str, nvidia: &str) -> String {
        let name = match self.layout {
            Layout::Rosinality => rosinality,
            Layout::Nvidia => nvidia,
        };
        format!("{}{name}", self.prefix)
    }

    /// The names of a resolution's layers, after how many doublings it comes.
    fn block(level: usize) -> String {
        format!("synthesis.b{}", 4_usize << level.min(32))
    }

    /// The name of a layer of the mapping network.
    pub fn mapping(&self, number: usize) -> String {
        self.by_layout(
            &format!("style.{}", number + 1),
            &format!("mapping.fc{number}"),
        )
    }

    /// The name of a convolution.
    pub fn conv(&self, number: usize) -> String {
        let block = Self::block(number.div_ceil(2));
        let rosinality = match number {
            0 => "conv1".to_owned(),
            _ => format!("convs.{}", number - 1),
        };
        self.by_layout(&rosinality, &format!("{block}.conv{}", (number + 1) % 2))
    }

    /// The name of the colours of a resolution.
    pub fn colors(&self, level: usize) -> String {
        let rosinality = match level {
            0 => "to_rgb1".to_owned(),
            _ => format!("to_rgbs.{}", level - 1),
        };
        self.by_layout(&rosinality, &format!("{}.torgb", Self::block(level)))
    }

    /// The name of a convolution's weight, or that of colours.
    pub fn weight(&self, name: &str) -> String {
        match self.layout {
            Layout::Rosinality => format!("{name}.conv.weight"),
            Layout::Nvidia => format!("{name}.weight"),
        }
    }

    /// Where a style comes from.
    fn modulation(&self, name: &str) -> String {
        match self.layout {
            Layout::Rosinality => format!("{name}.conv.modulation"),
            Layout::Nvidia => format!("{name}.affine"),
        }
    }

    /// The sizes of the mapping network's first layer, w and z.
    pub fn mapping_sizes(&self) -> Loaded<[usize; 2]> {
        self.weights.dims(&format!("{}.weight", self.mapping(0)))
    }

    /// How many inputs the first convolution has, and how many numbers w.
    pub fn style_sizes(&self) -> Loaded<[usize; 2]> {
        let name = self.modulation(&self.conv(0));
        self.weights.dims(&format!("{name}.weight"))
    }

    /// The sizes of the features that everything begins with: how many there are, channels, height and width.
    pub fn input_sizes(&self) -> Loaded<[usize; 4]> {
        let name = self.input_name();
        match self.layout {
            Layout::Rosinality => self.weights.dims(&name),
            Layout::Nvidia => {
                let [channels, height, width] = self.weights.dims(&name)?;
                Ok([1, channels, height, width])
            }
        }
    }

    fn input_name(&self) -> String {
        self.by_layout("input.input", "synthesis.b4.const")
    }

    /// The features that everything begins with, of these sizes.
    pub fn input(&self, sizes: [usize; 4]) -> Loaded<Tensor> {
        let stored = match self.layout {
            Layout::Rosinality => &sizes[..],
            Layout::Nvidia => &sizes[1..],
        };
        let input = self.weights.get(&self.input_name(), stored)?;
        Ok(input.reshape(&sizes)?)
    }

    /// How many outputs a convolution has.
    pub fn outputs(&self, name: &str) -> Loaded<usize> {
        let name = self.weight(name);
        Ok(match self.layout {
            Layout::Rosinality => self.weights.dims::<5>(&name)?[1],
            Layout::Nvidia => self.weights.dims::<4>(&name)?[0],
        })
    }

    /// The layer that makes a style of w.
    pub fn style(&self, name: &str, sizes: [usize; 2]) -> Loaded<Linear> {
        equalized(self.weights, &self.modulation(name), sizes, 1.0)
    }

    /// The kernels [outputs, inputs, k, k] of a modulated convolution, scaled. NVIDIA scales only those that are not demodulated, where it makes a
    /// difference.
    pub fn kernels(
        &self,
        name: &str,
        [input, output]: [usize; 2],
        size: usize,
        is_demodulated: bool,
    ) -> Loaded<Tensor> {
        let shape = [1, output, input, size, size];
        let stored = match self.layout {
            Layout::Rosinality => &shape[..],
            Layout::Nvidia => &shape[1..],
        };
        let weight = self.weights.get(&self.weight(name), stored)?;
        let weight = weight.reshape(&shape[1..])?;
        if self.layout == Layout::Nvidia && is_demodulated {
            return Ok(weight);
        }
        let fan_in = (input * size * size) as f64;
        Ok((weight / fan_in.sqrt())?)
    }

    /// A convolution's factor of the noise, of one element.
    pub fn strength(&self, name: &str) -> Loaded<Tensor> {
        match self.layout {
            Layout::Rosinality => self.weights.get(&format!("{name}.noise.weight"), &[1]),
            Layout::Nvidia => {
                let strength = self.weights.get(&format!("{name}.noise_strength"), &[])?;
                Ok(strength.reshape(1)?)
            }
        }
    }

    /// A convolution's bias, [outputs].
    pub fn bias(&self, name: &str, outputs: usize) -> Loaded<Tensor> {
        let bias = match self.layout {
            Layout::Rosinality => "activate.bias",
            Layout::Nvidia => "bias",
        };
        self.weights.get(&format!("{name}.{bias}"), &[outputs])
    }

    /// The bias of colours, [3].
    pub fn color_bias(&self, name: &str) -> Loaded<Tensor> {
        let shape: &[usize] = match self.layout {
            Layout::Rosinality => &[1, 3, 1, 1],
            Layout::Nvidia => &[3],
        };
        let bias = self.weights.get(&format!("{name}.bias"), shape)?;
        Ok(bias.flatten_all()?)
    }

    /// The largest size of a layer's values, which NVIDIA's say as they were trained to run in 16 bits.
    pub fn limit(&self, name: &str) -> Option<f64> {
        let limit = self.checkpoint().number(&format!("{name}.conv_clamp"));
        limit.filter(|_| self.layout == Layout::Nvidia)
    }

    /// The name of the plane of noise of a convolution.
    pub fn plane(&self, number: usize) -> String {
        match self.layout {
            Layout::Rosinality => format!("{}noises.noise_{number}", self.prefix),
            Layout::Nvidia => format!("{}.noise_const", self.conv(number)),
        }
    }

    /// The stored plane of noise of a convolution, [1, 1, h, w].
    pub fn stored_plane(&self, number: usize, [h, w]: [usize; 2]) -> Loaded<Tensor> {
        let shape = [1, 1, h, w];
        let stored = match self.layout {
            Layout::Rosinality => &shape[..],
            Layout::Nvidia => &shape[2..],
        };
        let plane = self.weights.get(&self.plane(number), stored)?;
        Ok(plane.reshape(&shape)?)
    }

    /// The taps of the blur behind a convolution that enlarges.
    pub fn blur(&self, name: &str) -> Loaded<Result<Vec<Vec<f64>>, String>> {
        self.taps(match self.layout {
            Layout::Rosinality => format!("{name}.conv.blur.kernel"),
            Layout::Nvidia => format!("{name}.resample_filter"),
        })
    }

    /// The taps of the filter that enlarges the picture of the resolution below.
    pub fn enlarging(&self, level: usize) -> Loaded<Result<Vec<Vec<f64>>, String>> {
        self.taps(match self.layout {
            Layout::Rosinality => format!("{}.upsample.kernel", self.colors(level)),
            Layout::Nvidia => format!("{}{}.resample_filter", self.prefix, Self::block(level)),
        })
    }

    /// The taps of a filter, or what is wrong with it.
    fn taps(&self, name: String) -> Loaded<Result<Vec<Vec<f64>>, String>> {
        let [rows, columns] = self.weights.dims(&name)?;
        if rows != columns || rows > MOST_TAPS {
            return Ok(Err(format!("`{name}` is not a small square")));
        }
        let taps = self.weights.get(&name, &[rows, columns])?;
        let taps = match self.layout {
            Layout::Rosinality => taps,
            Layout::Nvidia => (taps * ENLARGING_GAIN)?,
        };
        Ok(Ok(taps.to_dtype(DType::F64)?.to_vec2()?))
    }

    /// The beginnings of names of tensors that are not read: other networks, and of this one, after so many doublings, planes that are drawn or
    /// painted, and filters of what does not enlarge.
    pub fn left(&self, doublings: usize) -> Vec<String> {
        let others = self.layout.others().iter();
        let mut left: Vec<String> = (others.filter(|_| !self.prefix.is_empty()))
            .map(|name| (*name).to_owned())
            .collect();
        left.extend((0..=2 * doublings).map(|conv| self.plane(conv)));
        if self.layout == Layout::Nvidia {
            left.push(format!("{}synthesis.b4.resample_filter", self.prefix));
            left.extend(
                (0..=2 * doublings)
                    .step_by(2)
                    .map(|conv| format!("{}.resample_filter", self.conv(conv))),
            );
        }
        left
    }
}
