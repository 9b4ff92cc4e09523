//! Accuracy against speed as a chart: a circle for each CLIP, as large as its number of parameters.

use std::path::Path;

use anyhow::{Context, Result};
use image::RgbImage;

use super::ClipEvaluation;
use crate::draw::{Canvas, Color, Fonts, Rect, Style, Weight};
use crate::files::write_whole;
use crate::metadata;

const WIDTH: i32 = 1200;
const HEIGHT: i32 = 800;
const GROUND: Color = Color::rgb(255, 255, 255);
const INK: Color = Color::rgb(30, 30, 36);
const FAINT: Color = Color::rgb(110, 110, 120);
const GRID: Color = Color::rgb(226, 226, 232);
const CIRCLES: [Color; 8] = [
    Color::rgb(31, 119, 180),
    Color::rgb(214, 90, 49),
    Color::rgb(44, 140, 80),
    Color::rgb(148, 85, 186),
    Color::rgb(200, 150, 20),
    Color::rgb(23, 150, 170),
    Color::rgb(200, 60, 110),
    Color::rgb(110, 110, 110),
];
/// How much of the ground a circle covers, of 255.
const OPACITY: u8 = 150;
/// The radii of the largest and of the smallest circle that is drawn.
const LARGEST: f32 = 34.0;
const SMALLEST: f32 = 4.0;
const TEXT: Style = Style {
    size: 17.0,
    weight: Weight::Regular,
};
const SMALL: Style = Style {
    size: 15.0,
    weight: Weight::Regular,
};
const HEADING: Style = Style {
    size: 21.0,
    weight: Weight::Semibold,
};
/// A name stands no more lines away from its circle.
const LINES: usize = 12;
/// A letter's height in sizes of its style.
const CAP: f32 = 0.72;

/// Writes the chart as a PNG.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, heading: &str, clips: &[ClipEvaluation]) -> Result<()> {
    let chart = draw(heading, clips)?;
    write_whole(path, true, |file| metadata::write(file, &chart, &[]))
        .with_context(|| format!("the chart {} is not written", path.display()))
}

/// Where values are on the canvas.
struct Axes {
    plot: Rect,
    /// Logarithms of images a second.
    speed: (f32, f32),
    /// Percent.
    accuracy: (f32, f32),
}

impl Axes {
    fn new(plot: Rect, clips: &[ClipEvaluation]) -> Self {
        let speeds = clips
            .iter()
            .map(|clip| clip.images_per_second.max(1e-3).log10() as f32);
        let tops = clips.iter().map(|clip| 100.0 * clip.accuracy.top1 as f32);
        let (low, high) = range(speeds);
        let (worst, best) = range(tops);
        // room for the circles at the edges
        let margin = ((best - worst) * 0.2).max(2.0);
        Self {
            plot,
            speed: (low - 0.25, high + 0.25),
            accuracy: ((worst - margin).max(0.0), (best + margin).clamp(1.0, 100.0)),
        }
    }

    fn x(&self, images_per_second: f64) -> f32 {
        let (low, high) = self.speed;
        let share = (images_per_second.max(1e-3).log10() as f32 - low) / (high - low);
        self.plot.x as f32 + share * self.plot.width as f32
    }

    fn y(&self, percent: f32) -> f32 {
        let (low, high) = self.accuracy;
        self.plot.bottom() as f32 - (percent - low) / (high - low) * self.plot.height as f32
    }
}

/// The least and the greatest.
fn range(values: impl Iterator<Item = f32>) -> (f32, f32) {
    values.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    })
}

fn draw(heading: &str, clips: &[ClipEvaluation]) -> Result<RgbImage> {
    let mut canvas = Canvas::new(WIDTH as usize, HEIGHT as usize, GROUND);
    let mut fonts = Fonts::embedded()?;
    let all = canvas.bounds();
    let mut write =
        |canvas: &mut Canvas, x: f32, y: f32, text: &str, style: Style, color: Color| {
            fonts.draw(canvas, (x, y), text, style, color, all);
        };
    let measure = Fonts::embedded()?;
    let room = (WIDTH - 60) as f32;
    let title = measure.truncated(heading, HEADING, room);
    write(&mut canvas, 30.0, 38.0, &title, HEADING, INK);
    let plot = Rect::new(90, 74, WIDTH - 130, HEIGHT - 190);
    if clips.is_empty() {
        return Ok(canvas.to_picture());
    }
    let axes = Axes::new(plot, clips);

    for percent in ticks(axes.accuracy) {
        let y = axes.y(percent).round();
        canvas.fill(Rect::new(plot.x, y as i32, plot.width, 1), GRID);
        let text = format!("{percent} %");
        let x = plot.x as f32 - 10.0 - measure.width(&text, SMALL);
        write(
            &mut canvas,
            x,
            y + SMALL.size * CAP / 2.0,
            &text,
            SMALL,
            FAINT,
        );
    }
    for speed in decades(axes.speed) {
        let x = axes.x(speed).round();
        canvas.fill(Rect::new(x as i32, plot.y, 1, plot.height), GRID);
        let text = format!("{speed}");
        let left = x - measure.width(&text, SMALL) / 2.0;
        write(
            &mut canvas,
            left,
            plot.bottom() as f32 + 24.0,
            &text,
            SMALL,
            FAINT,
        );
    }
    canvas.border_round(plot, 0.0, 1.0, FAINT);
    let axis = "images a second";
    let left = plot.right() as f32 - measure.width(axis, SMALL);
    let below = plot.bottom() as f32 + 66.0 + SMALL.size * CAP / 2.0;
    write(&mut canvas, left, below, axis, SMALL, FAINT);
    let left = plot.x as f32;
    write(&mut canvas, left, 64.0, "accuracy, top 1", SMALL, FAINT);

    let most = clips.iter().map(|clip| clip.parameters).max().unwrap_or(1);
    let radius = |parameters: u64| {
        let share = parameters as f32 / most.max(1) as f32;
        (LARGEST * share.sqrt()).max(SMALLEST)
    };
    // the largest first, so that none is hidden
    let mut order: Vec<usize> = (0..clips.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(clips[*index].parameters));
    let places: Vec<(f32, f32, f32)> = (clips.iter())
        .map(|clip| {
            let y = axes.y(100.0 * clip.accuracy.top1 as f32);
            (axes.x(clip.images_per_second), y, radius(clip.parameters))
        })
        .collect();
    for index in &order {
        let (x, y, radius) = places[*index];
        disc(&mut canvas, (x, y), radius, CIRCLES[index % CIRCLES.len()]);
    }
    // what names should not cover, and what they must not
    let circles = places
        .iter()
        .map(|(x, y, radius)| square((*x, *y), *radius));
    let mut spared: Vec<Rect> = circles.collect();
    let mut taken: Vec<Rect> = (places.iter())
        .map(|(x, y, _)| square((*x, *y), SMALLEST))
        .collect();
    for index in order {
        let text = measure.truncated(
            &short_name(&clips[index].clip),
            TEXT,
            plot.width as f32 / 2.0,
        );
        let size = (measure.width(&text, TEXT), TEXT.size * CAP);
        let circle = places[index];
        let label = (place(circle, size, plot, &spared))
            .or_else(|| place(circle, size, plot, &taken))
            .or_else(|| place(circle, size, plot, &[]))
            .unwrap_or_default();
        spared.push(label);
        taken.push(label);
        if let Some(line) = leader(circle, label) {
            canvas.line(&line, 1.5, CIRCLES[index % CIRCLES.len()]);
        }
        let at = (label.x as f32, label.bottom() as f32);
        write(&mut canvas, at.0, at.1, &text, TEXT, INK);
    }

    // what the circles mean, in their own scale
    let middle = plot.bottom() as f32 + 66.0;
    let baseline = middle + SMALL.size * CAP / 2.0;
    let mut x = plot.x as f32;
    write(&mut canvas, x, baseline, "parameters", SMALL, FAINT);
    x += measure.width("parameters", SMALL) + 16.0;
    for size in [most, most / 4, most / 16] {
        let radius = radius(size);
        disc(&mut canvas, (x + radius, middle), radius, FAINT);
        let text = count(size);
        let after = x + 2.0 * radius + 8.0;
        write(&mut canvas, after, baseline, &text, SMALL, FAINT);
        x = after + measure.width(&text, SMALL) + 24.0;
    }
    Ok(canvas.to_picture())
}

/// A circle that lets what is under it be seen, with a rim.
fn disc(canvas: &mut Canvas, (x, y): (f32, f32), radius: f32, color: Color) {
    let reach = radius + 1.0;
    let (left, top) = ((x - reach).floor() as i32, (y - reach).floor() as i32);
    let side = (2.0 * reach).ceil() as usize + 1;
    let mut coverage = Vec::with_capacity(side * side);
    for row in 0..side {
        for column in 0..side {
            let (dx, dy) = (
                (left + column as i32) as f32 + 0.5 - x,
                (top + row as i32) as f32 + 0.5 - y,
            );
            let outside = dx.hypot(dy) - radius;
            let inner = (0.5 - outside).clamp(0.0, 1.0) * f32::from(OPACITY);
            let rim = (1.0 - (outside + 0.75).abs()).clamp(0.0, 1.0) * 255.0;
            coverage.push(inner.max(rim) as u8);
        }
    }
    let all = canvas.bounds();
    canvas.blend((left, top), side, &coverage, color, all);
}

/// A CLIP's name; of a folder or a file, the last part of its path.
fn short_name(name: &str) -> String {
    let path = Path::new(name);
    match path.file_name().filter(|_| path.exists()) {
        Some(last) => last.to_string_lossy().into_owned(),
        None => name.to_owned(),
    }
}

/// Where a circle's name stands: beside it, over or under it, or farther away, wherever there is room within the plot; none if there is none.
fn place(
    (x, y, radius): (f32, f32, f32),
    (width, height): (f32, f32),
    plot: Rect,
    taken: &[Rect],
) -> Option<Rect> {
    let gap = 6.0;
    let (right, left) = (x + radius + gap, x - radius - gap - width);
    let (centre, beside) = (x - width / 2.0, y - height / 2.0);
    let (over, under) = (y - radius - gap - height, y + radius + gap);
    let near = [
        (right, beside),
        (left, beside),
        (centre, over),
        (centre, under),
    ];
    let far = (1..=LINES).flat_map(|line| {
        let away = line as f32 * (height + gap);
        [
            (right, beside - away),
            (right, beside + away),
            (left, beside - away),
            (left, beside + away),
            (centre, over - away),
            (centre, under + away),
        ]
    });
    let is_free = |rect: &Rect| {
        // a little air between the lines
        let air = Rect::new(rect.x - 4, rect.y - 4, rect.width + 8, rect.height + 8);
        let mut others = taken.iter();
        rect.intersection(plot) == *rect && others.all(|other| air.intersection(*other).is_empty())
    };
    (near.into_iter().chain(far))
        .map(|(x, y)| Rect::new(x as i32, y as i32, width as i32 + 1, height as i32))
        .find(is_free)
}

/// A line from a circle to its name, where that does not stand right beside it.
fn leader((x, y, radius): (f32, f32, f32), label: Rect) -> Option<[(f32, f32); 2]> {
    let nearest = (
        x.clamp(label.x as f32 - 3.0, label.right() as f32 + 3.0),
        y.clamp(label.y as f32 - 3.0, label.bottom() as f32 + 3.0),
    );
    let (dx, dy) = (nearest.0 - x, nearest.1 - y);
    let length = dx.hypot(dy);
    let far = length > radius + 12.0;
    far.then(|| {
        [
            (x + dx / length * radius, y + dy / length * radius),
            nearest,
        ]
    })
}

/// The square around a point.
fn square((x, y): (f32, f32), half: f32) -> Rect {
    let side = (2.0 * half).ceil() as i32;
    Rect::new((x - half) as i32, (y - half) as i32, side, side)
}

/// Round percentages within a range, about six.
fn ticks((low, high): (f32, f32)) -> Vec<f32> {
    let steps = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0];
    let step = (steps.into_iter())
        .find(|step| (high - low) / step <= 8.0)
        .unwrap_or(20.0);
    let first = (low / step).ceil() as i32;
    let last = (high / step).floor() as i32;
    let round = |number: i32| (number as f32 * step * 10.0).round() / 10.0;
    (first..=last).map(round).collect()
}

/// Round numbers within a range of logarithms: 1, 2 and 5 of each power of ten, or the powers alone where these are many.
fn decades((low, high): (f32, f32)) -> Vec<f64> {
    let digits: &[f64] = if high - low > 3.0 {
        &[1.0]
    } else {
        &[1.0, 2.0, 5.0]
    };
    let powers = low.floor() as i32..=high.ceil() as i32;
    let round = |power: i32, digit: f64| match power {
        0.. => digit * 10f64.powi(power),
        // exact, so that it is printed short
        _ => digit / 10f64.powi(-power),
    };
    (powers.flat_map(|power| digits.iter().map(move |digit| round(power, *digit))))
        .filter(|value| (low..=high).contains(&(value.log10() as f32)))
        .collect()
}

/// A number of parameters, for the user.
pub fn count(parameters: u64) -> String {
    match parameters {
        0..1_000_000 => format!("{:.1} M", parameters as f64 / 1e6),
        1_000_000..1_000_000_000 => format!("{:.0} M", parameters as f64 / 1e6),
        _ => format!("{:.1} G", parameters as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Accuracy;

    fn clip(name: &str, top1: f64, images_per_second: f64, parameters: u64) -> ClipEvaluation {
        ClipEvaluation {
            clip: name.to_owned(),
            accuracy: Accuracy {
                pictures: 10,
                top1,
                top5: 1.0,
                mean_per_class: top1,
                confusion: vec![],
            },
            images_per_second,
            parameters,
            bytes: 1,
            load_seconds: 1.0,
            peak_memory: None,
            embedded: 0,
            unknown: 0,
            warnings: vec![],
        }
    }

    #[test]
    fn every_clip_has_a_circle_whatever_its_values() {
        let ground = Color::rgb(255, 255, 255).value();
        for clips in [
            vec![],
            vec![clip("one", 0.5, 10.0, 1000)],
            vec![clip("same", 1.0, 3.0, 5), clip("same too", 1.0, 3.0, 5)],
            vec![clip("none", 0.0, 0.0, 0), clip("all", 1.0, 1e9, u64::MAX)],
        ] {
            let chart = draw("a heading", &clips).expect("a chart");
            let axes = Axes::new(Rect::new(90, 74, WIDTH - 130, HEIGHT - 190), &clips);
            for clip in &clips {
                let (x, y) = (
                    axes.x(clip.images_per_second),
                    axes.y(100.0 * clip.accuracy.top1 as f32),
                );
                let pixel = chart.get_pixel(x as u32, y as u32).0;
                let [red, green, blue] = pixel;
                assert_ne!(
                    Color::rgb(red, green, blue).value(),
                    ground,
                    "{}",
                    clip.clip
                );
            }
        }
    }

    #[test]
    fn names_do_not_cover_each_other() {
        let plot = Rect::new(0, 0, 600, 400);
        let mut taken = vec![];
        for _ in 0..6 {
            let label = place((300.0, 200.0, 10.0), (80.0, 12.0), plot, &taken).expect("room");
            assert!(
                taken
                    .iter()
                    .all(|other| label.intersection(*other).is_empty())
            );
            taken.push(label);
        }
        // at the right edge it stands on the left
        let label = place((595.0, 300.0, 10.0), (80.0, 12.0), plot, &[]).expect("room");
        assert!(label.right() < 590, "{label:?}");
    }

    #[test]
    fn ticks_are_round_numbers_within_their_range() {
        assert_eq!(ticks((61.0, 92.5)), [65.0, 70.0, 75.0, 80.0, 85.0, 90.0]);
        assert_eq!(ticks((99.1, 99.5)), [99.1, 99.2, 99.3, 99.4, 99.5]);
        assert_eq!(decades((-0.4, 1.1)), [0.5, 1.0, 2.0, 5.0, 10.0]);
        assert_eq!(decades((-2.2, 2.0)), [0.01, 0.1, 1.0, 10.0, 100.0]);
    }

    #[test]
    fn parameters_are_counted_in_millions() {
        for (parameters, text) in [
            (4321, "0.0 M"),
            (151_277_313, "151 M"),
            (2_539_567_362, "2.5 G"),
        ] {
            assert_eq!(count(parameters), text);
        }
    }
}
