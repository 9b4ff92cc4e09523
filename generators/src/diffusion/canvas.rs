//! The space that a sampler works in, pixels or the latents of an autoencoder, and the picture made of it.

use std::fmt;
use std::sync::Arc;

use candle_core::{Result, Tensor};
use frozen::{Filter, Layer, Pullback, Resample};

use crate::{Autoencoder, BuildContext};

/// The space that a sampler works in.
#[derive(Clone)]
pub enum Space {
    /// In pixels, -1..=1.
    Pixels,
    /// In the latents of an autoencoder, which are of about unit variance.
    Latents {
        /// From latents to pictures and back.
        autoencoder: Arc<Autoencoder>,
        /// Bytes that a decoding with its gradient may take before it is done in tiles.
        memory: usize,
    },
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pixels => "Pixels",
            Self::Latents { .. } => "Latents",
        })
    }
}

impl Space {
    /// Channels in this space.
    pub fn channels(&self) -> usize {
        match self {
            Self::Pixels => 3,
            Self::Latents { autoencoder, .. } => autoencoder.channels(),
        }
    }

    /// Pixels per element along a side.
    pub fn factor(&self) -> usize {
        match self {
            Self::Pixels => 1,
            Self::Latents { autoencoder, .. } => autoencoder.factor(),
        }
    }

    /// The picture, about 0..=1, with its pullback where it is `guided`.
    fn show(&self, x: &Tensor, guided: bool) -> Result<(Tensor, Option<Pullback>)> {
        match self {
            Self::Pixels => {
                let pullback: Pullback = Box::new(|grad| grad * 0.5);
                Ok((x.affine(0.5, 0.5)?, guided.then_some(pullback)))
            }
            Self::Latents {
                autoencoder,
                memory,
            } => {
                let scale = autoencoder.latent_scale();
                let x = &scaled(x, 1.0 / scale)?;
                if !guided {
                    return Ok((autoencoder.decode(x)?, None));
                }
                let (_, _, h, w) = x.dims4()?;
                let size = [w, h].map(|side| side * autoencoder.factor());
                let (image, pull) = autoencoder.decode_vjp(x, autoencoder.tile(size, *memory))?;
                let pull: Pullback = Box::new(move |grad| scaled(&pull(grad)?, 1.0 / scale));
                Ok((image, Some(pull)))
            }
        }
    }

    /// A picture in this space.
    fn read(&self, image: &Tensor) -> Result<Tensor> {
        match self {
            Self::Pixels => image.affine(2.0, -1.0),
            Self::Latents { autoencoder, .. } => {
                scaled(&autoencoder.encode(image)?, autoencoder.latent_scale())
            }
        }
    }
}

fn scaled(x: &Tensor, scale: f64) -> Result<Tensor> {
    if scale == 1.0 {
        return Ok(x.clone());
    }
    x * scale
}

/// A space with its size, and the size of the picture made of it.
#[derive(Debug)]
pub(crate) struct Canvas {
    space: Space,
    /// Width and height of the picture.
    size: [usize; 2],
    /// Width and height of the picture as the network makes it.
    inner: [usize; 2],
    /// Along y and x, whether the picture continues at the opposite side.
    wrap: [bool; 2],
}

impl Canvas {
    /// `asked` is the size that the network is to work at, in pixels. Sides that are no multiples of `multiple` places are rounded up, with a
    /// warning that names the model.
    pub fn new(
        model: &str,
        space: Space,
        asked: [usize; 2],
        multiple: usize,
        context: &mut BuildContext<'_>,
    ) -> Result<Self> {
        context.sides()?;
        let size = context.size;
        let multiple = (multiple * space.factor()).max(1);
        let inner = asked.map(|side| side.max(1).next_multiple_of(multiple));
        if inner != asked {
            context.warnings.push(format!(
                "`{model}` cannot work at {}x{}: it works at {}x{}, and the picture is resized to {}x{}",
                asked[0], asked[1], inner[0], inner[1], size[0], size[1]
            ));
        }
        Ok(Self {
            space,
            size,
            inner,
            wrap: context.seamless.axes(),
        })
    }

    /// Width and height of the picture.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Width and height of the picture as the network makes it.
    pub fn inner(&self) -> [usize; 2] {
        self.inner
    }

    /// The shape of an image in the sampler's space.
    pub fn shape(&self) -> [usize; 4] {
        let [width, height] = self.inner.map(|side| side / self.space.factor());
        [1, self.space.channels(), height, width]
    }

    /// The picture `[1, 3, height, width]`, about 0..=1, with its pullback where it is `guided`.
    pub fn show(&self, x: &Tensor, guided: bool) -> Result<(Tensor, Option<Pullback>)> {
        let (shown, pull) = self.space.show(x, guided)?;
        if self.inner == self.size {
            return Ok((shown, pull));
        }
        let resize = self.resize(self.size)?;
        let Some(pull) = pull else {
            return Ok((resize.eval(&shown)?, None));
        };
        let (image, unresize) = resize.vjp(&shown)?;
        Ok((image, Some(Box::new(move |grad| pull(&unresize(grad)?)))))
    }

    /// A picture `[1, 3, height, width]` of its size, in 0..=1, as the network has it.
    pub fn read(&self, image: &Tensor) -> Result<Tensor> {
        if self.inner == self.size {
            return self.space.read(image);
        }
        self.space.read(&self.resize(self.inner)?.eval(image)?)
    }

    fn resize(&self, [width, height]: [usize; 2]) -> Result<Resample> {
        Ok(Resample::new(height, width, Filter::Bicubic, true)?.wrapping(self.wrap))
    }
}
