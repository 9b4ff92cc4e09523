//! Where drawings lie in a picture: the target of a prompt, drawn by the seed.

use anyhow::Result;
use phantasia_core::Seamless;
use phantasia_core::random::{chance, uniform};
use rand::Rng;

use super::bank::{Bank, Drawing};
use super::colors::{Color, tint, tint_scene};
use super::ground::setting_off;
use super::reading::{Request, Stack, Upper, Wanted};

/// The largest turn of a drawing in degrees.
const TURN: f64 = 10.0;
/// The longer side of a single drawing, as shares of the picture's shorter side.
const ALONE: [f64; 2] = [0.66, 0.92];
/// The longer side of one of several, as shares of the side of its cell.
const AMONG: [f64; 2] = [0.88, 1.0];

/// How much of a cell is left free at either side where the picture repeats: no outline lies along the seam.
const SEAM_MARGIN: f64 = 0.06;
/// How much lighter a plain ground is at one side than at the other.
const SLOPE: f64 = 0.12;

/// What a picture is pulled to, row by row.
#[derive(Clone, Debug)]
pub struct Layout {
    pub width: usize,
    pub height: usize,
    /// sRGB in 0..=1.
    pub colors: Vec<[f32; 3]>,
    /// How much of each pixel drawings cover, 0..=1.
    pub drawn: Vec<f32>,
    /// Whether the ground is asked for by the prompt, instead of chosen to set off the drawings.
    pub has_ground: bool,
}

/// A drawing's place in the picture, in pixels.
struct Place {
    center: [f64; 2],
    /// Pixels of the picture for each of the drawing's.
    scale: f64,
    /// In radians.
    turn: f64,
    is_mirrored: bool,
}

impl Layout {
    /// Draws what a request asks for, as the target of a picture of this width and height.
    ///
    /// # Errors
    /// Only if the bank is damaged.
    pub fn draw(
        request: &Request,
        bank: &Bank,
        [width, height]: [usize; 2],
        seamless: Seamless,
        rng: &mut impl Rng,
    ) -> Result<Self> {
        let drawings = (request.things.iter())
            .enumerate()
            .map(|(index, wanted)| pick(&request.things[..index], *wanted, bank, rng));
        let drawings = drawings.collect::<Result<Vec<_>>>()?;
        let mut layout = Self {
            width,
            height,
            colors: vec![[0.5; 3]; width * height],
            drawn: vec![0.0; width * height],
            has_ground: request.place.is_some() || request.ground.is_some(),
        };
        match (request.place, request.ground) {
            (Some(place), _) => {
                let mut scene =
                    bank.drawing(place, rng.random_range(0..bank.entries()[place].len()))?;
                if let Some(color) = request.place_color.filter(|color| !has_hue(&scene, *color)) {
                    tint_scene(&mut scene.pixels, color);
                }
                layout.fill(&scene, seamless, rng);
            }
            (None, Some(color)) => layout.shade(color, seamless, rng),
            (None, None) => layout.shade(setting_off(&drawings, rng), seamless, rng),
        }
        let cells = cells(drawings.len(), [width, height], request.stack, rng);
        let margins = seamless
            .axes()
            .map(|wraps| if wraps { SEAM_MARGIN } else { 0.0 });
        let inner = |[left, top, wide, high]: [f64; 4]| {
            let [y, x] = margins;
            [
                left + x * wide,
                top + y * high,
                (1.0 - 2.0 * x) * wide,
                (1.0 - 2.0 * y) * high,
            ]
        };
        for (drawing, cell) in drawings.iter().zip(cells.into_iter().map(inner)) {
            layout.put(
                drawing,
                &Place::within(cell, drawing, drawings.len() == 1, rng),
            );
        }
        Ok(layout)
    }

    /// A flat ground, a little lighter at one side unless that would be a seam.
    fn shade(&mut self, color: Color, seamless: Seamless, rng: &mut impl Rng) {
        let angle = uniform(rng, 0.0, std::f64::consts::TAU);
        let [wraps_y, wraps_x] = seamless.axes();
        let slope = |value: f64, wraps: bool| if wraps { 0.0 } else { SLOPE * value };
        let (x, y) = (slope(angle.cos(), wraps_x), slope(angle.sin(), wraps_y));
        let (width, height) = (self.width as f64, self.height as f64);
        for (index, pixel) in self.colors.iter_mut().enumerate() {
            let column = (index % self.width) as f64 / width - 0.5;
            let row = (index / self.width) as f64 / height - 0.5;
            *pixel = color.lighter_by((x * column + y * row) as f32).to_srgb();
        }
    }

    /// A part of a scene over all of the picture.
    fn fill(&mut self, scene: &Drawing, seamless: Seamless, rng: &mut impl Rng) {
        let zoom = uniform(rng, 0.7, 1.0);
        let left = uniform(rng, 0.0, 1.0 - zoom);
        // the horizon stays about where it is
        let top = uniform(rng, 0.25, 0.75) * (1.0 - zoom);
        let is_mirrored = chance(rng, 0.5);
        let [wraps_y, wraps_x] = seamless.axes();
        for y in 0..self.height {
            for x in 0..self.width {
                let column = (x as f64 + 0.5) / self.width as f64;
                let column = if is_mirrored { 1.0 - column } else { column };
                let row = (y as f64 + 0.5) / self.height as f64;
                let mut color = [0f32; 3];
                for (row, row_share) in blended(row, wraps_y) {
                    for (column, column_share) in blended(column, wraps_x) {
                        let at = [
                            (left + zoom * column) * scene.width as f64,
                            (top + zoom * row) * scene.height as f64,
                        ];
                        let found = scene.sample(at, Edge::Repeated);
                        for (value, own) in color.iter_mut().zip(found) {
                            *value += (row_share * column_share) as f32 * own;
                        }
                    }
                }
                self.colors[y * self.width + x] = color;
            }
        }
    }

    /// A drawing over what is there.
    fn put(&mut self, drawing: &Drawing, place: &Place) {
        /// Samples along each side of a pixel.
        const SAMPLES: usize = 3;
        let (sin, cos) = place.turn.sin_cos();
        for y in 0..self.height {
            for x in 0..self.width {
                let mut sum = [0f32; 4];
                for sample in 0..SAMPLES * SAMPLES {
                    let part = |index: usize| (index as f64 + 0.5) / SAMPLES as f64;
                    let dx = x as f64 + part(sample % SAMPLES) - place.center[0];
                    let dy = y as f64 + part(sample / SAMPLES) - place.center[1];
                    let along = (dx * cos + dy * sin) / place.scale;
                    let down = (dy * cos - dx * sin) / place.scale;
                    let along = if place.is_mirrored { -along } else { along };
                    let at = [
                        along + drawing.width as f64 / 2.0,
                        down + drawing.height as f64 / 2.0,
                    ];
                    let [r, g, b, opacity] = drawing.sample(at, Edge::Transparent);
                    for (sum, value) in
                        sum.iter_mut()
                            .zip([r * opacity, g * opacity, b * opacity, opacity])
                    {
                        *sum += value / (SAMPLES * SAMPLES) as f32;
                    }
                }
                let index = y * self.width + x;
                let rest = 1.0 - sum[3];
                for (value, own) in self.colors[index].iter_mut().zip(sum) {
                    *value = *value * rest + own;
                }
                self.drawn[index] = self.drawn[index] * rest + sum[3];
            }
        }
    }
}

impl Place {
    /// A random place within a cell of left, top, width and height.
    fn within(cell: [f64; 4], drawing: &Drawing, is_alone: bool, rng: &mut impl Rng) -> Self {
        let [left, top, width, height] = cell;
        let share = if is_alone { ALONE } else { AMONG };
        let turn = uniform(rng, -TURN, TURN).to_radians();
        let side = uniform(rng, share[0], share[1]) * width.min(height);
        let (wide, high) = (drawing.width as f64, drawing.height as f64);
        let mut scale = side / wide.max(high);
        // as it stands once it is turned
        let (sin, cos) = (turn.sin().abs(), turn.cos());
        let [wide, high] = [wide * cos + high * sin, wide * sin + high * cos];
        scale = scale.min(0.98 * width / wide).min(0.98 * height / high);
        let mut axis = |start: f64, length: f64, own: f64| {
            let room = (length - own * scale).max(0.0) / 2.0;
            start + length / 2.0 + uniform(rng, -room, room)
        };
        let center = [axis(left, width, wide), axis(top, height, high)];
        Self {
            center,
            scale,
            turn,
            is_mirrored: chance(rng, 0.5),
        }
    }
}

/// A drawing that is wanted; one of several of the same thing is none of `before`, where there are others.
fn pick(before: &[Wanted], wanted: Wanted, bank: &Bank, rng: &mut impl Rng) -> Result<Drawing> {
    let count = bank.entries()[wanted.entry].len();
    // each of them takes the next
    let same = before
        .iter()
        .filter(|other| other.entry == wanted.entry)
        .count();
    let drawn = (rng.random_range(0..count) + same) % count;
    let mut drawing = bank.drawing(wanted.entry, drawn)?;
    if let Some(color) = wanted.color {
        tint(&mut drawing.pixels, color);
    }
    Ok(drawing)
}

/// Left, top, width and height of a cell for each of `count` drawings. `stack` says which of them lie above the others, where it matters.
fn cells(
    count: usize,
    [width, height]: [usize; 2],
    stack: Option<Stack>,
    rng: &mut impl Rng,
) -> Vec<[f64; 4]> {
    let (wide, high) = (width as f64, height as f64);
    if let Some(Stack { first, upper }) = stack.filter(|_| count > 2) {
        let row = |own: usize, is_upper: bool| {
            let top = if is_upper { 0.0 } else { high / 2.0 };
            let side = wide / own as f64;
            (0..own).map(move |index| [index as f64 * side, top, side, high / 2.0])
        };
        let is_upper = upper == Upper::First;
        return (row(first, is_upper).chain(row(count - first, !is_upper))).collect();
    }
    // the number of columns with the largest cells
    let side = |columns: usize| {
        let rows = count.div_ceil(columns);
        (wide / columns as f64).min(high / rows as f64)
    };
    let columns = (1..=count.max(1)).max_by(|a, b| side(*a).total_cmp(&side(*b)));
    let columns = columns.unwrap_or(1);
    let rows = count.max(1).div_ceil(columns);
    let is_square = (wide / high - 1.0).abs() < 0.2;
    let mut cells: Vec<[f64; 4]> = (0..count)
        .map(|index| {
            let (row, column) = (index / columns, index % columns);
            let in_row = if row + 1 == rows {
                count - row * columns
            } else {
                columns
            };
            let own = wide / in_row as f64;
            let down = high / rows as f64;
            [column as f64 * own, row as f64 * down, own, down]
        })
        .collect();
    if count == 2 && (is_square || (stack.is_some() && columns == 2)) {
        // two in a square are larger on a diagonal than side by side; in a wide picture it lets one be above the other
        const SIDE: f64 = 0.64;
        let (own, down, rest) = (SIDE * wide, SIDE * high, (1.0 - SIDE) * high);
        let (first, second) = if chance(rng, 0.5) {
            (0.0, rest)
        } else {
            (rest, 0.0)
        };
        cells = vec![[0.0, first, own, down], [wide - own, second, own, down]];
    }
    if let (Some(stack), [first, second]) = (stack, cells.as_slice()) {
        let is_right = match stack.upper {
            Upper::First => first[1] <= second[1],
            Upper::Second => first[1] >= second[1],
        };
        if !is_right {
            cells.swap(0, 1);
        }
    }
    cells
}

/// The positions, 0..=1, whose values are added up at one, each with its share: near an edge at which the picture repeats also the mirror image's,
/// so that both edges are equal there.
fn blended(position: f64, wraps: bool) -> [(f64, f64); 2] {
    /// How far from the edge, as a share of the side.
    const OVER: f64 = 1.0 / 8.0;
    let distance = position.min(1.0 - position);
    let share = if wraps {
        0.5 * (1.0 - distance / OVER).max(0.0)
    } else {
        0.0
    };
    [(position, 1.0 - share), (1.0 - position, share)]
}

/// Whether at least a fifth of a drawing's pixels have about the hue and chroma of a colour, whatever their lightness. Such a drawing needs no tint.
fn has_hue(drawing: &Drawing, color: Color) -> bool {
    let near = drawing.pixels.iter().filter(|[r, g, b, _]| {
        let own = Color::from_srgb([*r, *g, *b]);
        own.distance(color.lighter_by(own.lightness() - color.lightness())) < 0.1
    });
    near.count() * 5 >= drawing.pixels.len()
}

/// What lies beyond a drawing's edge.
#[derive(Clone, Copy, PartialEq)]
enum Edge {
    Transparent,
    Repeated,
}

impl Drawing {
    /// The pixel at a point, interpolated linearly, with colours that do not mix with transparent ones.
    fn sample(&self, [x, y]: [f64; 2], edge: Edge) -> [f32; 4] {
        let (x, y) = (x - 0.5, y - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let (over, down) = ((x - left) as f32, (y - top) as f32);
        let mut sum = [0f32; 4];
        for (dx, dy, weight) in [
            (0, 0, (1.0 - over) * (1.0 - down)),
            (1, 0, over * (1.0 - down)),
            (0, 1, (1.0 - over) * down),
            (1, 1, over * down),
        ] {
            let (column, row) = (left as i64 + dx, top as i64 + dy);
            let (last_column, last_row) = (self.width as i64 - 1, self.height as i64 - 1);
            let is_inside = (0..=last_column).contains(&column) && (0..=last_row).contains(&row);
            if !is_inside && edge == Edge::Transparent {
                continue;
            }
            let column = column.clamp(0, last_column) as usize;
            let row = row.clamp(0, last_row) as usize;
            let [r, g, b, opacity] = self.pixels[row * self.width + column];
            let share = weight * opacity;
            for (sum, value) in sum.iter_mut().zip([r * share, g * share, b * share, share]) {
                *sum += value;
            }
        }
        let opacity = sum[3].max(1e-6);
        [sum[0] / opacity, sum[1] / opacity, sum[2] / opacity, sum[3]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_takes_the_colour_that_is_asked_for_unless_it_has_it() -> Result<()> {
        let bank = Bank::embedded()?;
        let draw = |text: &str, seed| {
            let rng = &mut phantasia_core::random::rng(
                seed,
                phantasia_core::random::Purpose::Drawings,
                0,
                0,
            );
            let request = Request::read(text, &bank);
            Layout::draw(&request, &bank, [32, 32], Seamless::No, rng)
        };
        for seed in 0..4 {
            let mean = |text: &str, channel: usize| -> Result<f32> {
                let layout = draw(text, seed)?;
                Ok(layout.colors.iter().map(|rgb| rgb[channel]).sum::<f32>() / 1024.0)
            };
            let (red, blue) = (mean("a red forest", 0)?, mean("a red forest", 2)?);
            assert!(red > blue + 0.2, "{red} {blue}");
            let green = draw("a green forest", seed)?;
            assert_eq!(green.colors, draw("a forest", seed)?.colors);
        }
        Ok(())
    }

    #[test]
    fn of_two_things_the_one_named_above_lies_above_in_any_number() {
        let rng =
            &mut phantasia_core::random::rng(0, phantasia_core::random::Purpose::Drawings, 0, 0);
        for (count, first, upper) in [
            (2, 1, Upper::First),
            (3, 2, Upper::Second),
            (4, 1, Upper::First),
            (4, 3, Upper::Second),
        ] {
            let cells = cells(count, [96, 64], Some(Stack { first, upper }), rng);
            assert_eq!(cells.len(), count);
            let center = |cell: &[f64; 4]| cell[1] + cell[3] / 2.0;
            for one in &cells[..first] {
                for other in &cells[first..] {
                    assert_eq!(
                        center(one) < center(other),
                        upper == Upper::First,
                        "{cells:?}"
                    );
                }
            }
            for [left, top, wide, high] in cells {
                assert!(left >= 0.0 && top >= 0.0 && left + wide <= 96.0 && top + high <= 64.0);
            }
        }
    }
}
