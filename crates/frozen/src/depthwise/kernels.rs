//! Depthwise convolution on the CPU.
//!
//! A task is a block of channels of one image. Its pixels are packed into a padded image of their own, so that the inner loops
//! meet neither borders nor the strides of other channels, and sums of a run of neighbouring pixels stay in registers.

use std::array::from_fn;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::DepthwiseConv2d;
use crate::gemm::{MatMut, zeros};
use crate::host::{self, Slice};
use crate::real::Real;

/// Channels of a block.
const LANES: usize = 16;

/// Neighbouring output pixels that are computed at a time: their sums fit into registers, and a weight is read once for all.
const RUN: usize = 4;

/// The values of a block's channels at one pixel.
type Pixel<T> = [T; LANES];

/// Whether the value is computed, or the gradient of the input from that of the value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Backward,
}

/// The sizes of a correlation of a padded image with a stride.
struct Geometry {
    direction: Direction,
    /// Width of the image in memory.
    w: usize,
    /// Pixels between its neighbours once it is padded.
    spread: usize,
    /// Size of the padded image.
    padded: (usize, usize),
    /// Size of the result.
    size: (usize, usize),
    /// Number of channels of the input, and of the output.
    channels: (usize, usize),
    /// Images that are added up, of different channels: more than one in the gradient of a layer with a multiplier.
    planes: usize,
}

/// The layer's value at `x`, or its pullback of a gradient `x`: [b, .., c] of `size`.
pub(super) fn correlate<T: Real>(
    layer: &DepthwiseConv2d,
    x: &Tensor,
    size: (usize, usize),
    direction: Direction,
) -> Result<Tensor> {
    let (b, h, w, _) = x.dims4()?;
    let (inputs, outputs) = (layer.inputs(), layer.inputs() * layer.multiplier);
    let (k, p) = (layer.kernel, layer.padding());
    let forward = direction == Direction::Forward;
    let (stride, spread) = if forward {
        (layer.stride, 1)
    } else {
        (1, layer.stride)
    };
    // the last run may reach over the end of a row
    let reach = |out: usize, run: usize, size: usize| {
        let computed = (out.next_multiple_of(run) - 1) * stride + k;
        computed.max(p + (size - 1) * spread + 1)
    };
    let geometry = Geometry {
        direction,
        w,
        spread,
        padded: (reach(size.0, 1, h), reach(size.1, RUN, w)),
        size,
        channels: if forward {
            (inputs, outputs)
        } else {
            (outputs, inputs)
        },
        planes: if forward { 1 } else { layer.multiplier },
    };
    let x = x.contiguous()?;
    let x = Slice::<T>::new(&x)?;
    let weight = Slice::<T>::new(&layer.weight)?;
    let bias = (layer.bias.as_ref().filter(|_| forward)).map(Slice::<T>::new);
    let bias = bias.transpose()?;
    let (x, weight, bias, g) = (&*x, &*weight, bias.as_deref(), &geometry);
    let (positions, channels) = (size.0 * size.1, g.channels.1);
    let mut y = zeros::<T>(b * positions * channels);
    let shape = (b, size.0, size.1, channels);
    if y.is_empty() {
        return host::tensor(y, shape);
    }
    let images = y.chunks_exact_mut(positions * channels).enumerate();
    let tasks = images.flat_map(|(image, y)| {
        let blocks = MatMut::new(y, positions, channels).split_cols(LANES);
        let blocks = blocks.enumerate();
        blocks.map(move |(block, y)| (image, block * LANES, y))
    });
    let tasks = tasks.collect::<Vec<_>>();
    let run = |buffer: &mut Buffer<T>, (image, first, y): (usize, usize, MatMut<T>)| {
        let x = &x[image * h * w * g.channels.0..][..h * w * g.channels.0];
        buffer.pack(x, weight, first, y.cols(), layer, g);
        let mut start = [T::zero(); LANES];
        if let Some(bias) = bias {
            start[..y.cols()].copy_from_slice(&bias[first..][..y.cols()]);
        }
        match stride {
            1 => slide::<T, 1>(&buffer.pixels, &buffer.weights, start, k, g, y),
            _ => slide::<T, 2>(&buffer.pixels, &buffer.weights, start, k, g, y),
        }
    };
    if b * positions * channels * k * k < 1 << 16 {
        let mut buffer = Buffer::default();
        tasks.into_iter().for_each(|task| run(&mut buffer, task));
    } else {
        tasks.into_par_iter().for_each_init(Buffer::default, run);
    }
    host::tensor(y, shape)
}

/// What a thread packs a task into. Between the tasks of one correlation its padding stays zero.
struct Buffer<T> {
    /// [planes, padded height, padded width]
    pixels: Vec<Pixel<T>>,
    /// [planes, k k]
    weights: Vec<Pixel<T>>,
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Self {
            pixels: vec![],
            weights: vec![],
        }
    }
}

impl<T: Real> Buffer<T> {
    /// Packs the pixels and weights of the result's channels `first..first + count`.
    fn pack(
        &mut self,
        x: &[T],
        weight: &[T],
        first: usize,
        count: usize,
        layer: &DepthwiseConv2d,
        g: &Geometry,
    ) {
        let (height, width) = g.padded;
        let (p, taps) = (layer.padding(), layer.kernel * layer.kernel);
        let multiplier = layer.multiplier;
        let zero = [T::zero(); LANES];
        self.pixels.resize(g.planes * height * width, zero);
        self.weights.resize(g.planes * taps, zero);
        let forward = g.direction == Direction::Forward;
        for plane in 0..g.planes {
            let source: [usize; LANES] = from_fn(|lane| {
                let channel = (first + lane).min(g.channels.1 - 1);
                if forward {
                    channel / multiplier
                } else {
                    channel * multiplier + plane
                }
            });
            let pixels = &mut self.pixels[plane * height * width..][..height * width];
            for (y, row) in x.chunks_exact(g.w * g.channels.0).enumerate() {
                let padded = &mut pixels[(p + y * g.spread) * width + p..];
                let padded = padded.iter_mut().step_by(g.spread);
                for (to, from) in padded.zip(row.chunks_exact(g.channels.0)) {
                    if multiplier == 1 {
                        to[..count].copy_from_slice(&from[first..][..count]);
                    } else {
                        for (to, &source) in to.iter_mut().zip(&source) {
                            *to = from[source];
                        }
                    }
                }
            }
            let weights = &mut self.weights[plane * taps..][..taps];
            for (tap, to) in weights.iter_mut().enumerate() {
                for (lane, to) in to[..count].iter_mut().enumerate() {
                    let channel = first + lane;
                    *to = if forward {
                        weight[channel * taps + tap]
                    } else {
                        weight[(channel * multiplier + plane + 1) * taps - 1 - tap]
                    };
                }
            }
        }
    }
}

/// Adds the product of a weight and a pixel to each sum of a run. Copies of whole pixels, so that they become vectors.
#[inline(always)]
fn add<T: Real, const STRIDE: usize>(
    sums: &mut [Pixel<T>; RUN],
    weight: &Pixel<T>,
    pixels: &[Pixel<T>],
) {
    let pixels = &pixels[..(RUN - 1) * STRIDE + 1];
    for (i, sums) in sums.iter_mut().enumerate() {
        let (pixel, mut sum) = (pixels[i * STRIDE], *sums);
        for lane in 0..LANES {
            sum[lane] = weight[lane].fma(pixel[lane], sum[lane]);
        }
        *sums = sum;
    }
}

/// The sums of products at every position, added to `start`.
fn slide<T: Real, const STRIDE: usize>(
    pixels: &[Pixel<T>],
    weights: &[Pixel<T>],
    start: Pixel<T>,
    k: usize,
    g: &Geometry,
    y: MatMut<T>,
) {
    struct Slide<'a, T, const STRIDE: usize> {
        pixels: &'a [Pixel<T>],
        weights: &'a [Pixel<T>],
        start: Pixel<T>,
        k: usize,
        g: &'a Geometry,
        y: MatMut<'a, T>,
    }

    impl<T: Real, const STRIDE: usize> pulp::WithSimd for Slide<'_, T, STRIDE> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: pulp::Simd>(mut self, _: S) {
            let (height, width) = self.g.padded;
            let (rows, columns) = self.g.size;
            let (k, lanes) = (self.k, self.y.cols());
            for row in 0..rows {
                for column in (0..columns).step_by(RUN) {
                    let mut sums = [self.start; RUN];
                    let planes = self.pixels.chunks_exact(height * width);
                    for (pixels, weights) in planes.zip(self.weights.chunks_exact(k * k)) {
                        for (ky, weights) in weights.chunks_exact(k).enumerate() {
                            let start = (row * STRIDE + ky) * width + column * STRIDE;
                            let pixels = &pixels[start..][..(RUN - 1) * STRIDE + k];
                            for (kx, weight) in weights.iter().enumerate() {
                                add::<T, STRIDE>(&mut sums, weight, &pixels[kx..]);
                            }
                        }
                    }
                    for (i, sums) in sums.iter().take(columns - column).enumerate() {
                        let y = self.y.row(row * columns + column + i);
                        y.copy_from_slice(&sums[..lanes]);
                    }
                }
            }
        }
    }

    pulp::Arch::new().dispatch(Slide::<T, STRIDE> {
        pixels,
        weights,
        start,
        k,
        g,
        y,
    });
}
