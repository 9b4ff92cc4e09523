//! Filters, borders, and the weights they give.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The filter of a change of resolution.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Linear in both directions.
    Bilinear,
    /// Cubic in both directions (Keys 1981).
    Bicubic,
}

/// What lies outside of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Border {
    /// The nearest pixel of the edge.
    Edge,
    /// The image mirrored at its edge: the outermost pixel comes twice.
    Reflect,
    /// Nothing: zero.
    Zero,
    /// The image again, as on a torus.
    Wrap,
}

impl Border {
    /// The pixel of 0..n that stands for pixel `i`, or none.
    #[inline]
    pub(crate) fn fold(self, i: i64, n: usize) -> Option<usize> {
        if (0..n as i64).contains(&i) {
            return Some(i as usize);
        }
        let n = n as i64;
        match self {
            Self::Zero => None,
            Self::Edge => Some(i.clamp(0, n - 1) as usize),
            Self::Wrap => Some(i.rem_euclid(n) as usize),
            Self::Reflect => {
                let i = i.rem_euclid(2 * n);
                Some(i.min(2 * n - 1 - i) as usize)
            }
        }
    }
}

/// Keys' cubic.
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * a
    } else {
        0.0
    }
}

impl Filter {
    /// How far the filter reaches, in pixels to either side.
    fn reach(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn weight(self, x: f64, a: f64) -> f64 {
        match self {
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Bicubic => cubic(x, a),
        }
    }

    /// A whole side of `len` pixels resized to `out`. Where it wraps, the filter reads on at the opposite end.
    pub(super) fn resize(self, len: usize, out: usize, antialias: bool, wraps: bool) -> Taps {
        if antialias && wraps {
            return self.span(0.0, len as f64, len, out, Border::Wrap);
        }
        let scale = len as f64 / out as f64;
        if antialias {
            let bounds = 0..len as i64;
            return Taps::new(len, out, Border::Zero, |i| {
                self.around(
                    scale * (i as f64 + 0.5),
                    scale.max(1.0),
                    -0.5,
                    Some(&bounds),
                )
            });
        }
        let border = if wraps { Border::Wrap } else { Border::Edge };
        Taps::new(len, out, border, |i| {
            // No wider than the filter, whatever the factor, and the pixels on both sides of the point even where
            // their weight is zero.
            self.around(scale * (i as f64 + 0.5), 1.0, -0.75, None)
        })
    }

    /// `out` samples of the span of `extent` pixels from `start` on, in an infinite image.
    pub(super) fn span(
        self,
        start: f64,
        extent: f64,
        len: usize,
        out: usize,
        border: Border,
    ) -> Taps {
        let scale = extent / out as f64;
        Taps::new(len, out, border, |i| {
            self.around(start + scale * (i as f64 + 0.5), scale.max(1.0), -0.5, None)
        })
    }

    /// The pixels around the point `center` (pixel i covers i..i + 1) under the filter widened by `scale`, and their
    /// weights, of sum 1.
    fn around(
        self,
        center: f64,
        scale: f64,
        a: f64,
        bounds: Option<&std::ops::Range<i64>>,
    ) -> Vec<(i64, f64)> {
        let reach = self.reach() * scale;
        let mut from = (center - reach + 0.5).floor() as i64;
        let mut to = (center + reach + 0.5).floor() as i64;
        if let Some(bounds) = bounds {
            from = from.max(bounds.start);
            to = to.min(bounds.end);
        }
        let weight = |i| self.weight((i as f64 - center + 0.5) / scale, a);
        let mut taps = (from..to).map(|i| (i, weight(i))).collect::<Vec<_>>();
        let sum = taps.iter().map(|tap| tap.1).sum::<f64>();
        taps.iter_mut().for_each(|tap| tap.1 /= sum);
        taps
    }
}

/// A banded matrix: for each output the first input it reads, and the weights of the inputs from there on.
#[derive(Debug)]
pub(super) struct Taps {
    start: Vec<usize>,
    /// Where each output's weights begin, and after the last where they end.
    first: Vec<usize>,
    weights: Vec<f64>,
}

impl Taps {
    fn new(
        len: usize,
        out: usize,
        border: Border,
        taps: impl Fn(usize) -> Vec<(i64, f64)>,
    ) -> Self {
        let (mut start, mut first, mut weights) = (Vec::with_capacity(out), vec![0], Vec::new());
        for i in 0..out {
            let fold = |(i, w)| Some((border.fold(i, len)?, w));
            let inside = taps(i).into_iter().filter_map(fold).collect::<Vec<_>>();
            let from = inside.iter().map(|tap| tap.0).min().unwrap_or(0);
            let to = inside.iter().map(|tap| tap.0 + 1).max().unwrap_or(0);
            let base = weights.len();
            weights.resize(base + to - from, 0.0);
            for (i, w) in inside {
                weights[base + i - from] += w;
            }
            start.push(from);
            first.push(weights.len());
        }
        Self {
            start,
            first,
            weights,
        }
    }

    /// The outputs in the opposite order.
    pub(super) fn reversed(&self) -> Self {
        let (mut first, mut weights) = (vec![0], Vec::with_capacity(self.weights.len()));
        for i in (0..self.len()).rev() {
            weights.extend_from_slice(self.at(i).1);
            first.push(weights.len());
        }
        let start = self.start.iter().rev().copied().collect();
        Self {
            start,
            first,
            weights,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.start.len()
    }

    /// The first input that output `i` reads, and the weights.
    #[inline(always)]
    pub(super) fn at(&self, i: usize) -> (usize, &[f64]) {
        (
            self.start[i],
            &self.weights[self.first[i]..self.first[i + 1]],
        )
    }

    /// The inputs that any output reads.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        let used = || {
            (0..self.len())
                .map(|i| self.at(i))
                .filter(|tap| !tap.1.is_empty())
        };
        let from = used().map(|(start, _)| start).min().unwrap_or(0);
        let to = used()
            .map(|(start, weights)| start + weights.len())
            .max()
            .unwrap_or(0);
        from..to
    }
}
