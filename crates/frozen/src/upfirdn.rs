//! Resampling by zero insertion and a FIR filter: the resizing of the StyleGAN family (Karras et al. 2019).

use candle_core::{Result, Tensor, bail};

use crate::gemm::build;
use crate::host::{self, Slice, dims4, fused};
use crate::layer::{Layer, Pullback};
use crate::real::{Real, simd};

/// Images [b, c, h, w]: zeros inserted between pixels, a border added or cut, filtered, and every so many pixels kept.
///
/// Along each axis the result has `(n up + before + after - taps) / down + 1` pixels. The filter is not scaled: enlarging keeps brightness if
/// its taps add up to `up^2`.
#[derive(Clone, Debug)]
pub struct Upfirdn2d {
    /// Rows of taps.
    taps: Vec<Vec<f64>>,
    /// The taps as a product of a column and a row, if they are one.
    factors: Option<[Vec<f64>; 2]>,
    up: usize,
    down: usize,
    /// Along y and x, pixels that are added before and after, or cut.
    pad: [[i64; 2]; 2],
}

impl Upfirdn2d {
    /// `taps` are the rows of the filter's impulse response: a convolution in the narrow sense, which turns them. `pad` is for y and x what is
    /// added before and after; negative numbers cut.
    ///
    /// # Errors
    /// Where there are no taps, their rows differ in length, or a factor is 0.
    pub fn new(taps: &[Vec<f64>], up: usize, down: usize, pad: [[i64; 2]; 2]) -> Result<Self> {
        let width = taps.first().map_or(0, Vec::len);
        if width == 0 || taps.iter().any(|row| row.len() != width) {
            bail!("Upfirdn2d: the filter must be rows of as many taps each, and at least one");
        }
        if up == 0 || down == 0 {
            bail!("Upfirdn2d: the factors must be at least 1, found {up} and {down}");
        }
        Ok(Self {
            factors: factors(taps),
            taps: taps.to_vec(),
            up,
            down,
            pad,
        })
    }

    /// The taps along y and x.
    fn lengths(&self) -> [usize; 2] {
        [self.taps.len(), self.taps[0].len()]
    }

    /// The result's height and width.
    fn output(&self, size: [usize; 2]) -> Result<[usize; 2]> {
        let along = |axis: usize| {
            let [before, after] = self.pad[axis];
            let padded = (size[axis] * self.up) as i64 + before + after;
            let rest = padded - self.lengths()[axis] as i64;
            usize::try_from(rest).ok().map(|rest| rest / self.down + 1)
        };
        match (along(0), along(1)) {
            (Some(height), Some(width)) if size[0] * size[1] > 0 => Ok([height, width]),
            _ => bail!(
                "Upfirdn2d: an image of {} x {} is too small for the filter, {} x {}",
                size[0],
                size[1],
                self.taps.len(),
                self.taps[0].len()
            ),
        }
    }

    /// The layer that takes gradients of the result back to an image of this size.
    fn transposed(&self, size: [usize; 2]) -> Result<Self> {
        let output = self.output(size)?;
        let turned: Vec<Vec<f64>> = (self.taps.iter().rev())
            .map(|row| row.iter().rev().copied().collect())
            .collect();
        let pad = [0, 1].map(|axis| {
            let (up, down) = (self.up as i64, self.down as i64);
            let before = self.pad[axis][0];
            let ends = size[axis] as i64 * up - output[axis] as i64 * down;
            let length = self.lengths()[axis] as i64;
            [length - before - 1, ends + before - up + 1]
        });
        Self::new(&turned, self.down, self.up, pad)
    }

    fn value<T: Real>(&self, x: &Tensor) -> Result<Tensor> {
        let (b, c, h, w) = x.dims4()?;
        let [oh, ow] = self.output([h, w])?;
        let x = x.contiguous()?;
        let x = Slice::<T>::new(&x)?;
        let x = &*x;
        let plane = |i: usize| &x[i * h * w..][..h * w];
        let y = match &self.factors {
            Some([column, row]) if (self.up, self.down) == (1, 1) => {
                let (column, row) = (quads::<T>(column), quads::<T>(row));
                build(b * c * oh * ow, oh * ow, |i, out| {
                    self.filter(plane(i), [h, w], [&column, &row], out, ow);
                })
            }
            _ => {
                let weights = self.turned::<T>();
                build(b * c * oh * ow, oh * ow, |i, out| {
                    self.resample(plane(i), [h, w], &weights, out, ow);
                })
            }
        };
        host::tensor(y, (b, c, oh, ow))
    }

    /// The weights by which pixels are multiplied, row after row.
    fn turned<T: Real>(&self) -> Vec<T> {
        let taps = self.taps.iter().rev().flat_map(|row| row.iter().rev());
        taps.map(|&tap| T::of(tap)).collect()
    }

    /// A plane with a filter of two factors, without change of resolution: columns of each row, then the row.
    fn filter<T: Real>(
        &self,
        x: &[T],
        [h, w]: [usize; 2],
        [column, row]: [&[[T; 4]]; 2],
        out: &mut [T],
        ow: usize,
    ) {
        let [top, left] = self.pad.map(|[before, _]| before);
        let skipped = usize::try_from(-left).unwrap_or(0).min(w);
        let first = usize::try_from(left).unwrap_or(0);
        // with the zeros that the row's last taps meet
        let mut line = vec![T::zero(); ow + 4 * row.len()];
        let count = (w - skipped).min(line.len().saturating_sub(first));
        let nothing = vec![T::zero(); count];
        for (oy, out) in out.chunks_exact_mut(ow).enumerate() {
            let at = |k: usize| {
                let y = oy as i64 + k as i64 - top;
                match usize::try_from(y) {
                    Ok(y) if y < h => &x[y * w + skipped..][..count],
                    _ => &nothing,
                }
            };
            let middle = &mut line[first..first + count];
            middle.fill(T::zero());
            for (i, &taps) in column.iter().enumerate() {
                add(middle, taps, [0, 1, 2, 3].map(|k| at(4 * i + k)));
            }
            for (i, &taps) in row.iter().enumerate() {
                add(out, taps, [0, 1, 2, 3].map(|k| &line[4 * i + k..][..ow]));
            }
        }
    }

    /// A plane with any filter and factors.
    fn resample<T: Real>(
        &self,
        x: &[T],
        [h, w]: [usize; 2],
        weights: &[T],
        out: &mut [T],
        ow: usize,
    ) {
        let [_, length] = self.lengths();
        for (oy, out) in out.chunks_exact_mut(ow).enumerate() {
            for (ky, weights) in weights.chunks_exact(length).enumerate() {
                let reach = Reach::new(self, 0, ky, h, oy + 1);
                let Some(y) = reach.of(oy) else { continue };
                let pixels = &x[y * w..][..w];
                for (kx, &weight) in weights.iter().enumerate() {
                    let reach = Reach::new(self, 1, kx, w, ow);
                    let Some(first) = reach.of(reach.start) else {
                        continue;
                    };
                    let from = pixels[first..].iter().step_by(reach.input);
                    let to = out[reach.start..].iter_mut().step_by(reach.output);
                    for (to, &from) in to.zip(from) {
                        *to += weight * from;
                    }
                }
            }
        }
    }

    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        let (b, c, h, w) = x.dims4()?;
        let [oh, ow] = self.output([h, w])?;
        let spread = x.contiguous()?.reshape((b * c, h, 1, w, 1))?;
        let spread = spread.pad_with_zeros(2, 0, self.up - 1)?;
        let spread = spread.pad_with_zeros(4, 0, self.up - 1)?;
        let mut padded = spread.reshape((b * c, 1, h * self.up, w * self.up))?;
        for (dim, [before, after]) in [(2, self.pad[0]), (3, self.pad[1])] {
            let added = [before, after].map(|side| usize::try_from(side).unwrap_or(0));
            let [cut, behind] = [before, after].map(|side| usize::try_from(-side).unwrap_or(0));
            padded = padded.pad_with_zeros(dim, added[0], added[1])?;
            let rest = padded.dim(dim)? - cut - behind;
            padded = padded.narrow(dim, cut, rest)?;
        }
        let [rows, columns] = self.lengths();
        let weights = host::constant(self.turned::<f64>(), &[1, 1, rows, columns], x)?;
        let y = padded.contiguous()?.conv2d(&weights, 0, self.down, 1, 1)?;
        y.reshape((b, c, oh, ow))
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        fused!(x, self.value(x), self.composed(x))
    }
}

impl Layer for Upfirdn2d {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        dims4("Upfirdn2d", x)?;
        self.apply(&x.detach())
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let y = self.eval(x)?;
        let (_, _, h, w) = x.dims4()?;
        let (transposed, shape) = (self.transposed([h, w])?, y.shape().clone());
        let pullback = move |grad: &Tensor| {
            host::check_grad("Upfirdn2d", grad, &shape)?;
            transposed.apply(grad)
        };
        Ok((y, Box::new(pullback)))
    }
}

/// The positions of a result along one axis that one tap reaches, and the pixels that it multiplies there.
struct Reach {
    /// The first position.
    start: usize,
    /// From one position to the next.
    output: usize,
    /// From one pixel to the next.
    input: usize,
    /// Where the first pixel is from the first position, times `up`.
    offset: i64,
    up: i64,
    down: i64,
    /// Pixels.
    size: usize,
}

impl Reach {
    /// For tap `k` of an axis of `size` pixels, and `positions` of the result.
    fn new(layer: &Upfirdn2d, axis: usize, k: usize, size: usize, positions: usize) -> Self {
        let (up, down) = (layer.up as i64, layer.down as i64);
        // the pixel at position `o` is number (o down + offset) / up
        let offset = k as i64 - layer.pad[axis][0];
        let least = (-offset).max(0).div_euclid(down);
        let fits = |o: &i64| {
            let place = o * down + offset;
            place >= 0 && place % up == 0
        };
        let start = (least..least + up + 1).find(fits);
        let step = up / gcd(up, down);
        Self {
            start: start.map_or(positions, |start| (start as usize).min(positions)),
            output: step as usize,
            input: (step * down / up) as usize,
            offset,
            up,
            down,
            size,
        }
    }

    /// The pixel that is multiplied at a position, if there is one.
    fn of(&self, position: usize) -> Option<usize> {
        let place = position as i64 * self.down + self.offset;
        let pixel = usize::try_from(place).ok()? / self.up as usize;
        (place % self.up == 0 && pixel < self.size).then_some(pixel)
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A filter as a product of a column and a row, if it is one to the precision of its numbers.
fn factors(taps: &[Vec<f64>]) -> Option<[Vec<f64>; 2]> {
    let all = (0..taps.len()).flat_map(|y| (0..taps[0].len()).map(move |x| (y, x)));
    let (y, x) = all.max_by(|a, b| taps[a.0][a.1].abs().total_cmp(&taps[b.0][b.1].abs()))?;
    let pivot = taps[y][x];
    if pivot == 0.0 || !pivot.is_finite() {
        return None;
    }
    let row = taps[y].clone();
    let column: Vec<f64> = taps.iter().map(|row| row[x] / pivot).collect();
    let close = taps.iter().zip(&column).all(|(taps, c)| {
        (taps.iter().zip(&row)).all(|(tap, r)| (tap - c * r).abs() <= 1e-12 * pivot.abs())
    });
    close.then_some([column, row])
}

/// Taps turned, in fours, the last filled up with zeros.
fn quads<T: Real>(taps: &[f64]) -> Vec<[T; 4]> {
    let turned: Vec<T> = taps.iter().rev().map(|&tap| T::of(tap)).collect();
    (turned.chunks(4))
        .map(|part| [0, 1, 2, 3].map(|i| part.get(i).copied().unwrap_or_default()))
        .collect()
}

/// Adds four rows of pixels, each times its tap.
fn add<T: Real>(out: &mut [T], taps: [T; 4], x: [&[T]; 4]) {
    simd!(<'a, T> (out: &'a mut [T], taps: [T; 4], x: [&'a [T]; 4]) {
        let [a, b, c, d] = x;
        for ((((out, &a), &b), &c), &d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            let first = taps[0].fma(a, taps[1].fma(b, *out));
            *out = taps[2].fma(c, taps[3].fma(d, first));
        }
    });
}
