//! The views of a picture that a CLIP is shown at one step: where they are cut, and what is done to them.

use candle_core::{Device, Result, Tensor};
use frozen::{Border, Chain, Crop, Crops, Filter, Layer, Warp};
use rand::Rng;
use rayon::prelude::*;

use super::augment::{ColorAffine, MaskAdd};
use crate::config::{self as recipe, Augment, CutoutOptions};
use clip::{Shown, Tower};
use phantasia_core::random::{self, Purpose};
use phantasia_core::{Schedule, StepContext};

/// CLIPs with a smaller input than this see too little in a small cutout.
const SMALL_INPUT: usize = 128;
/// The smallest cutout of such CLIPs, as a share of the picture's shorter side.
const SMALL_INPUT_SHARE: f64 = 0.75;
/// How many cutouts a step shows to a CLIP of small input, and to any other, where a recipe does not say.
const CUTOUTS: (usize, usize) = (2, 16);
/// What erased rectangles are filled with.
const GREY: f32 = 0.5;

/// One view: all that is random about it is drawn.
#[derive(Clone, Debug)]
pub struct View {
    crop: Crop,
    /// From places of the view to places of the cutout, in -1..=1; none where nothing is warped.
    warp: Option<[f64; 9]>,
    /// Three rows of a matrix and a shift; none where colours stay.
    color: Option<[f32; 12]>,
    /// Top, left, bottom, right of the grey rectangle in pixels of the view.
    erased: Option<[usize; 4]>,
    /// Standard deviation of the noise, and the seed of its numbers.
    noise: Option<(f32, u64)>,
}

/// How a tower looks at pictures.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// Side of its input in pixels.
    pub size: usize,
    /// What of a picture it makes sense of.
    pub shown: Shown,
}

impl Sight {
    /// That of an image tower.
    pub fn of(tower: &Tower) -> Self {
        Self {
            size: tower.size(),
            shown: tower.shown(),
        }
    }
}

/// The views of one step for one image tower.
pub struct Views {
    views: Vec<View>,
    size: usize,
    border: Border,
}

impl Views {
    /// Draws the views of a step for a tower, of a picture of `width` x `height`.
    /// `tower` sets towers apart, which see different views.
    pub fn draw(
        options: &CutoutOptions,
        (width, height): (usize, usize),
        sight: Sight,
        seed: u64,
        at: StepContext,
        tower: usize,
    ) -> Self {
        let (t, size) = (at.t(), sight.size);
        let count = match &options.count {
            Some(count) => (count.at(t).round() as usize).max(1),
            None if size < SMALL_INPUT => CUTOUTS.0,
            None => CUTOUTS.1,
        };
        let count = match sight.shown {
            Shown::Cutouts => count,
            // where a view is always the same, more of them tell nothing more
            Shown::Middle | Shown::All => 1,
        };
        let overview = (options.overview.at(t).round().max(0.0) as usize).min(count);
        let plan = Plan::new(options, (width, height), size, t);
        let views = (0..count)
            .map(|index| {
                // towers use up different ranges of indices
                let index_of_all = tower * 0x1_0000 + index;
                let mut rng = random::rng(seed, Purpose::Cutouts, at.clock, index_of_all);
                match sight.shown {
                    Shown::Cutouts if index < overview => plan.overview(index, &mut rng),
                    Shown::Cutouts => plan.inner(&mut rng),
                    Shown::Middle => plan.in_place(width.min(height), width.min(height), &mut rng),
                    Shown::All => plan.in_place(width, height, &mut rng),
                }
            })
            .collect();
        Self {
            views,
            size,
            border: border(options.border),
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// The map from a picture `[1, 3, height, width]` to the views of `range`, `[views, 3, size, size]`.
    pub fn layer(&self, range: std::ops::Range<usize>, device: &Device) -> Result<Chain> {
        let views = &self.views[range];
        let size = self.size;
        let crops = views.iter().map(|view| view.crop).collect();
        let mut layers: Vec<Box<dyn Layer>> = vec![Box::new(Crops::new(
            crops,
            size,
            size,
            Filter::Bicubic,
            self.border,
        )?)];
        if views.iter().any(|view| view.warp.is_some()) {
            const IDENTITY: [f64; 9] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
            let matrices = views
                .iter()
                .map(|view| view.warp.unwrap_or(IDENTITY))
                .collect();
            layers.push(Box::new(Warp::new(matrices, self.border)?));
        }
        if views.iter().any(|view| view.color.is_some()) {
            let colors = views.iter().map(|view| view.color);
            layers.push(Box::new(ColorAffine::new(colors, device)?));
        }
        if views
            .iter()
            .any(|view| view.erased.is_some() || view.noise.is_some())
        {
            layers.push(Box::new(self.mask_add(views, device)?));
        }
        Ok(Chain::new(layers))
    }

    fn mask_add(&self, views: &[View], device: &Device) -> Result<MaskAdd> {
        let (size, n) = (self.size, views.len());
        let pixels = size * size;
        let mut added = vec![0f32; n * 3 * pixels];
        added
            .par_chunks_exact_mut(3 * pixels)
            .zip(views)
            .for_each(|(added, view)| {
                if let Some((deviation, seed)) = view.noise {
                    let mut rng = random::rng(seed, Purpose::Cutouts, 0, 0);
                    for pair in added.chunks_mut(2) {
                        let (a, b) = random::normal_pair(&mut rng);
                        pair[0] = deviation * a;
                        if let Some(second) = pair.get_mut(1) {
                            *second = deviation * b;
                        }
                    }
                }
                if let Some(rectangle) = view.erased {
                    for channel in added.chunks_exact_mut(pixels) {
                        fill(channel, size, rectangle, GREY);
                    }
                }
            });
        let kept = match views.iter().any(|view| view.erased.is_some()) {
            false => None,
            true => {
                let mut kept = vec![1f32; n * pixels];
                for (kept, view) in kept.chunks_exact_mut(pixels).zip(views) {
                    if let Some(rectangle) = view.erased {
                        fill(kept, size, rectangle, 0.0);
                    }
                }
                Some(Tensor::from_vec(kept, (n, 1, size, size), device)?)
            }
        };
        let added = Tensor::from_vec(added, (n, 3, size, size), device)?;
        Ok(MaskAdd { kept, added })
    }
}

fn fill(plane: &mut [f32], size: usize, [top, left, bottom, right]: [usize; 4], value: f32) {
    for row in plane.chunks_exact_mut(size).take(bottom).skip(top) {
        row[left..right].fill(value);
    }
}

fn border(border: recipe::Border) -> Border {
    match border {
        recipe::Border::Edge => Border::Edge,
        recipe::Border::Reflect => Border::Reflect,
        recipe::Border::Zero => Border::Zero,
        recipe::Border::Wrap => Border::Wrap,
    }
}

/// The options of a step, as numbers.
struct Plan<'a> {
    augment: &'a [Augment],
    width: f64,
    height: f64,
    size: usize,
    power: f64,
    min: f64,
    max: f64,
    margin: f64,
    t: f64,
}

impl<'a> Plan<'a> {
    fn new(
        options: &'a CutoutOptions,
        (width, height): (usize, usize),
        size: usize,
        t: f64,
    ) -> Self {
        let short = width.min(height) as f64;
        let automatic = if size < SMALL_INPUT {
            SMALL_INPUT_SHARE
        } else {
            (size as f64).min(short) / short
        };
        let max = options.max.at(t);
        let min = options.min.as_ref().map_or(automatic, |min| min.at(t));
        Self {
            augment: &options.augment,
            width: width as f64,
            height: height as f64,
            size,
            power: options.power.at(t),
            // a side of at least one pixel
            min: (min.min(max) * short).max(1.0),
            max: (max * short).max(1.0),
            margin: options.margin.at(t),
            t,
        }
    }

    /// A rectangle of that size around the picture's middle.
    fn middle(&self, width: f64, height: f64) -> Crop {
        Crop {
            top: (self.height - height) / 2.0,
            left: (self.width - width) / 2.0,
            height,
            width,
            flip: false,
        }
    }

    /// The whole picture, its longer side filling the view (disco-diffusion's overview cuts: every second one grey, two of four mirrored).
    fn overview(&self, index: usize, rng: &mut impl Rng) -> View {
        let side = self.width.max(self.height);
        let crop = Crop {
            flip: index % 4 >= 2,
            ..self.middle(side, side)
        };
        let mut view = self.augmented(crop, rng);
        if index % 2 == 1 {
            let grey = Color::saturation(0.0);
            view.color = Some(match view.color {
                None => grey.0,
                Some(color) => grey.after(&Color(color)).0,
            });
        }
        view
    }

    /// So much of the picture's middle, with its colours alone changed: for towers to which places matter.
    fn in_place(&self, width: usize, height: usize, rng: &mut impl Rng) -> View {
        let crop = self.middle(width as f64, height as f64);
        View {
            crop,
            warp: None,
            erased: None,
            ..self.augmented(crop, rng)
        }
    }

    /// A square of random size somewhere in the picture.
    fn inner(&self, rng: &mut impl Rng) -> View {
        let side = rng.random::<f64>().powf(self.power) * (self.max - self.min) + self.min;
        let mut place = |length: f64| {
            let over = self.margin * side;
            let (a, b) = (-over, length - side + over);
            random::uniform(rng, a.min(b), a.max(b))
        };
        let (top, left) = (place(self.height), place(self.width));
        let crop = Crop {
            top,
            left,
            height: side,
            width: side,
            flip: false,
        };
        self.augmented(crop, rng)
    }

    fn augmented(&self, mut crop: Crop, rng: &mut impl Rng) -> View {
        let mut warp: Option<[f64; 9]> = None;
        let mut color: Option<Color> = None;
        let (mut erased, mut noise) = (None, None);
        let t = self.t;
        for augment in self.augment {
            match augment {
                Augment::Flip { p } => crop.flip ^= random::chance(rng, *p),
                Augment::Affine {
                    degrees,
                    translate,
                    p,
                } => {
                    let angle = random::uniform(rng, -1.0, 1.0) * degrees.at(t).to_radians();
                    // the view is two units wide
                    let shift = 2.0 * translate.at(t);
                    let x = random::uniform(rng, -shift, shift);
                    let y = random::uniform(rng, -shift, shift);
                    if random::chance(rng, *p) {
                        let (sin, cos) = angle.sin_cos();
                        let matrix = [cos, -sin, x, sin, cos, y, 0.0, 0.0, 1.0];
                        warp = Some(compose(warp, matrix));
                    }
                }
                Augment::Perspective { strength, p } => {
                    let strength = strength.at(t);
                    let corners = std::array::from_fn(|_| random::uniform(rng, 0.0, strength));
                    if random::chance(rng, *p) {
                        warp = Some(compose(warp, perspective(corners)));
                    }
                }
                Augment::Jitter {
                    hue,
                    saturation,
                    brightness,
                    contrast,
                    p,
                } => {
                    let mut up_to = |number: &Schedule| {
                        let largest = number.at(t);
                        random::uniform(rng, -largest, largest)
                    };
                    let hue = Color::hue(up_to(hue));
                    let saturation = Color::saturation(1.0 + up_to(saturation));
                    let contrast = Color::contrast(1.0 + up_to(contrast));
                    let brightness = Color::brightness(up_to(brightness));
                    if random::chance(rng, *p) {
                        let all = brightness.after(&contrast.after(&saturation.after(&hue)));
                        color = Some(match &color {
                            None => all,
                            Some(before) => all.after(before),
                        });
                    }
                }
                Augment::Erase { area, p } => {
                    let rectangle = self.rectangle(area.at(t), rng);
                    if random::chance(rng, *p) {
                        erased = Some(rectangle);
                    }
                }
                Augment::Noise { strength } => {
                    let deviation = random::uniform(rng, 0.0, strength.at(t));
                    let seed = rng.random();
                    noise = Some((deviation as f32, seed));
                }
            }
        }
        View {
            crop,
            warp,
            color: color.map(|color| color.0),
            erased,
            noise,
        }
    }

    /// A rectangle of up to `area` of the view, its sides in a ratio of up to 3.3 (Zhong et al. 2017, random erasing).
    fn rectangle(&self, area: f64, rng: &mut impl Rng) -> [usize; 4] {
        let size = self.size as f64;
        let area = random::uniform(rng, 0.02f64.min(area), area) * size * size;
        let ratio = random::uniform(rng, -1.0, 1.0) * 3.3f64.ln();
        let height = (area * ratio.exp()).sqrt().round().clamp(1.0, size);
        let width = (area / ratio.exp()).sqrt().round().clamp(1.0, size);
        let top = random::uniform(rng, 0.0, size - height + 1.0).floor() as usize;
        let left = random::uniform(rng, 0.0, size - width + 1.0).floor() as usize;
        [
            top,
            left,
            (top + height as usize).min(self.size),
            (left + width as usize).min(self.size),
        ]
    }
}

/// First `second`, a map of places, then `first`: augmentations apply in order, and each map leads from the result back to its source.
fn compose(first: Option<[f64; 9]>, second: [f64; 9]) -> [f64; 9] {
    let Some(first) = first else { return second };
    std::array::from_fn(|i| {
        let (row, column) = (i / 3, i % 3);
        (0..3)
            .map(|k| first[3 * row + k] * second[3 * k + column])
            .sum()
    })
}

/// The map that takes the corners of the view to places inside of it: each of the eight numbers, 0..1, is how far one coordinate
/// of a corner moves towards the middle, as a share of half the side.
fn perspective(inward: [f64; 8]) -> [f64; 9] {
    let corner =
        |i: usize, x: f64, y: f64| (x * (1.0 - inward[2 * i]), y * (1.0 - inward[2 * i + 1]));
    let (x0, y0) = corner(0, -1.0, -1.0);
    let (x1, y1) = corner(1, 1.0, -1.0);
    let (x2, y2) = corner(2, 1.0, 1.0);
    let (x3, y3) = corner(3, -1.0, 1.0);
    // Heckbert 1989, section 2.2.3: the unit square to a quadrilateral
    let (dx1, dx2, sx) = (x1 - x2, x3 - x2, x0 - x1 + x2 - x3);
    let (dy1, dy2, sy) = (y1 - y2, y3 - y2, y0 - y1 + y2 - y3);
    let det = dx1 * dy2 - dx2 * dy1;
    let g = (sx * dy2 - dx2 * sy) / det;
    let h = (dx1 * sy - sx * dy1) / det;
    let square = [
        x1 - x0 + g * x1,
        x3 - x0 + h * x3,
        x0,
        y1 - y0 + g * y1,
        y3 - y0 + h * y3,
        y0,
        g,
        h,
        1.0,
    ];
    // from -1..=1 to the unit square
    compose(Some(square), [0.5, 0.0, 0.5, 0.0, 0.5, 0.5, 0.0, 0.0, 1.0])
}

/// An affine map of colours: three rows of three factors and a shift.
#[derive(Clone, Copy, Debug)]
struct Color([f32; 12]);

/// How much each channel adds to the brightness (Rec. 601).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

impl Color {
    /// 0 is grey, 1 leaves colours as they are.
    fn saturation(factor: f64) -> Self {
        let s = factor as f32;
        Self(std::array::from_fn(|i| match (i / 4, i % 4) {
            (_, 3) => 0.0,
            (row, column) => (1.0 - s) * LUMA[column] + if row == column { s } else { 0.0 },
        }))
    }

    /// Turned by a share of the circle around the grey axis.
    fn hue(turn: f64) -> Self {
        let (sin, cos) = (turn * std::f64::consts::TAU).sin_cos();
        let (sin, cos) = (sin as f32, cos as f32);
        // Rodrigues' rotation around (1, 1, 1) / sqrt(3)
        let third = (1.0 - cos) / 3.0;
        let s = sin / 3f32.sqrt();
        let row = [cos + third, third - s, third + s];
        Self(std::array::from_fn(|i| match (i / 4, i % 4) {
            (_, 3) => 0.0,
            (r, c) => row[(c + 3 - r) % 3],
        }))
    }

    /// Distances from mid-grey times `factor`.
    fn contrast(factor: f64) -> Self {
        let f = factor as f32;
        Self(std::array::from_fn(|i| match (i / 4, i % 4) {
            (_, 3) => 0.5 * (1.0 - f),
            (row, column) if row == column => f,
            _ => 0.0,
        }))
    }

    /// All channels shifted.
    fn brightness(shift: f64) -> Self {
        Self(std::array::from_fn(|i| match (i / 4, i % 4) {
            (_, 3) => shift as f32,
            (row, column) if row == column => 1.0,
            _ => 0.0,
        }))
    }

    /// First `before`, then this.
    fn after(&self, before: &Self) -> Self {
        Self(std::array::from_fn(|i| {
            let (row, column) = (i / 4, i % 4);
            let sum: f32 = (0..3)
                .map(|k| self.0[4 * row + k] * before.0[4 * k + column])
                .sum();
            sum + if column == 3 {
                self.0[4 * row + 3]
            } else {
                0.0
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_turn_of_the_hue_changes_nothing() {
        for (i, value) in Color::hue(1.0).0.iter().enumerate() {
            let expected = if i % 5 == 0 { 1.0 } else { 0.0 };
            assert!((value - expected).abs() < 1e-6, "{i}: {value}");
        }
    }

    #[test]
    fn a_third_of_a_turn_takes_red_to_green() {
        let turned = Color::hue(1.0 / 3.0).0;
        let red: Vec<f32> = (0..3).map(|row| turned[4 * row]).collect();
        assert!((red[1] - 1.0).abs() < 1e-6, "{red:?}");
    }

    #[test]
    fn perspective_takes_corners_where_it_should() {
        let inward = [0.1, 0.2, 0.0, 0.3, 0.25, 0.0, 0.15, 0.05];
        let matrix = perspective(inward);
        for (i, (x, y)) in [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
            .into_iter()
            .enumerate()
        {
            let row = |r: usize| matrix[3 * r] * x + matrix[3 * r + 1] * y + matrix[3 * r + 2];
            let (u, v) = (row(0) / row(2), row(1) / row(2));
            assert!((u - x * (1.0 - inward[2 * i])).abs() < 1e-12);
            assert!((v - y * (1.0 - inward[2 * i + 1])).abs() < 1e-12);
        }
    }
}
