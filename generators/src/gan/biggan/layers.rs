//! A BigGAN's layers.

use candle_core::{Result, Tensor};
use frozen::{
    Conv2d, Film, FilmTape, Layer, Linear, MaxPool2d, Pullback, UpsampleNearest, scaled_dot_product,
};

/// A batch normalisation whose scale and shift are linear in a condition, followed by ReLU: the statistics are constants.
pub(super) struct ConditionalNorm {
    /// From the condition to scales, and behind them shifts, [1, 2 c].
    pub affine: Linear,
    /// `1 / sqrt(variance + eps)` and the mean, [1, c] each.
    pub inverse: Tensor,
    pub mean: Tensor,
}

/// The way back through a [`ConditionalNorm`].
struct NormPullback {
    affine: Pullback,
    film: FilmTape,
    inverse: Tensor,
    mean: Tensor,
}

impl ConditionalNorm {
    /// The value at features [1, c, h, w] and a condition [1, n].
    fn vjp(&self, x: &Tensor, condition: &Tensor) -> Result<(Tensor, NormPullback)> {
        let channels = self.mean.dims()[1];
        let (affine, back) = self.affine.vjp(condition)?;
        let scale = ((affine.narrow(1, 0, channels)? + 1.0)? * &self.inverse)?;
        let shift = (affine.narrow(1, channels, channels)? - (&scale * &self.mean)?)?;
        let (y, film) = Film::RELU.vjp(x, &scale, Some(&shift), None)?;
        let pullback = NormPullback {
            affine: back,
            film,
            inverse: self.inverse.clone(),
            mean: self.mean.clone(),
        };
        Ok((y, pullback))
    }
}

impl NormPullback {
    /// The gradients of features and condition.
    fn pull(&self, grad: &Tensor) -> Result<(Tensor, Tensor)> {
        let grads = self.film.pull(grad)?;
        // the shift holds the scale times the mean
        let scale = ((grads.scale - (&grads.shift * &self.mean)?)? * &self.inverse)?;
        let affine = Tensor::cat(&[scale, grads.shift], 1)?;
        Ok((grads.x, (self.affine)(&affine)?))
    }
}

/// A residual bottleneck of four convolutions.
pub(super) struct Block {
    pub norms: [ConditionalNorm; 4],
    /// The second one enlarges its input where the block does.
    pub convs: [Box<dyn Layer>; 4],
    /// Whether the sides are doubled.
    pub enlarges: bool,
    /// How many of the input's channels are added to the result.
    pub kept: usize,
}

/// The way back through a [`Block`].
pub(super) struct BlockPullback {
    steps: Vec<(NormPullback, Pullback)>,
    enlarged: Option<Pullback>,
    /// Channels of the input that are not added to the result.
    dropped: usize,
}

impl Block {
    pub fn vjp(&self, x: &Tensor, condition: &Tensor) -> Result<(Tensor, BlockPullback)> {
        let mut steps = vec![];
        let mut y = x.clone();
        for (norm, conv) in self.norms.iter().zip(&self.convs) {
            let (normed, norm) = norm.vjp(&y, condition)?;
            let (next, conv) = conv.vjp(&normed)?;
            y = next;
            steps.push((norm, conv));
        }
        let mut skipped = x.narrow(1, 0, self.kept)?.contiguous()?;
        let mut enlarged = None;
        if self.enlarges {
            let (larger, back) = UpsampleNearest::new(2)?.vjp(&skipped)?;
            skipped = larger;
            enlarged = Some(back);
        }
        let pullback = BlockPullback {
            steps,
            enlarged,
            dropped: x.dims()[1] - self.kept,
        };
        Ok(((y + skipped)?, pullback))
    }
}

impl BlockPullback {
    /// The gradients of features and condition.
    pub fn pull(&self, grad: &Tensor) -> Result<(Tensor, Tensor)> {
        let mut skipped = match &self.enlarged {
            None => grad.clone(),
            Some(back) => back(grad)?,
        };
        if self.dropped > 0 {
            skipped = skipped.pad_with_zeros(1, 0, self.dropped)?;
        }
        let mut condition = None;
        let mut grad = grad.clone();
        for (norm, conv) in self.steps.iter().rev() {
            let (features, part) = norm.pull(&conv(&grad)?)?;
            grad = features;
            frozen::add_to(&mut condition, part)?;
        }
        let condition = condition.map_or_else(|| grad.zeros_like(), Ok)?;
        Ok(((grad + skipped)?, condition))
    }
}

/// Self-attention whose keys and values are max-pooled.
pub(super) struct Attention {
    /// 1 x 1, scaled by the root of its channels, since the scores are not divided by it.
    pub query: Conv2d,
    pub key: Conv2d,
    pub value: Conv2d,
    /// Scaled by the layer's share of the sum.
    pub output: Conv2d,
}

/// Features [1, c, h, w] as one head of tokens, [1, 1, h w, c].
fn tokens(x: &Tensor) -> Result<Tensor> {
    x.flatten_from(2)?.transpose(1, 2)?.unsqueeze(1)
}

/// The features of tokens.
fn features(x: &Tensor, [h, w]: [usize; 2]) -> Result<Tensor> {
    let x = x.squeeze(1)?.transpose(1, 2)?.contiguous()?;
    let channels = x.dims()[1];
    x.reshape((1, channels, h, w))
}

impl Layer for Attention {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.vjp(x)?.0)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (_, _, h, w) = x.dims4()?;
        let pool = MaxPool2d::new(2)?;
        let (q, to_q) = self.query.vjp(x)?;
        let (k, to_k) = self.key.vjp(x)?;
        let (v, to_v) = self.value.vjp(x)?;
        let (k, pool_k) = pool.vjp(&k)?;
        let (v, pool_v) = pool.vjp(&v)?;
        let (attended, back) = scaled_dot_product(&tokens(&q)?, &tokens(&k)?, &tokens(&v)?, false)?;
        let (y, to_attended) = self.output.vjp(&features(&attended, [h, w])?)?;
        let pullback = move |grad: &Tensor| {
            let (q, k, v) = back(&tokens(&to_attended(grad)?)?)?;
            let half = [h / 2, w / 2];
            let mut sum = (grad + to_q(&features(&q, [h, w])?)?)?;
            sum = (sum + to_k(&pool_k(&features(&k, half)?)?)?)?;
            sum + to_v(&pool_v(&features(&v, half)?)?)?
        };
        Ok(((x + y)?, Box::new(pullback)))
    }
}

/// A channel's scale and shift that nothing conditions, followed by ReLU.
pub(super) struct LastNorm {
    /// [1, c] each.
    pub scale: Tensor,
    pub shift: Tensor,
}

impl Layer for LastNorm {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        Ok(Film::RELU.vjp(x, &self.scale, Some(&self.shift), None)?.0)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (y, film) = Film::RELU.vjp(x, &self.scale, Some(&self.shift), None)?;
        Ok((y, Box::new(move |grad| Ok(film.pull(grad)?.x))))
    }
}
