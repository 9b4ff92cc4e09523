//! The plain ground behind drawings: which colour makes them stand out, and which of its pixels are close to an outline.

use phantasia_core::random::uniform;
use rand::Rng;

use super::bank::Drawing;
use super::colors::Color;

/// A colour for the ground on which all drawings stand out. Of random candidates those are good on which the drawing with the least contrast has
/// about as much as it can have; one of them is returned.
pub fn setting_off(drawings: &[Drawing], rng: &mut impl Rng) -> Color {
    const CANDIDATES: usize = 16;
    const DARK: [f64; 2] = [0.3, 0.5];
    const LIGHT: [f64; 2] = [0.82, 0.93];
    /// How much less contrast than the best is as good.
    const ABOUT: f32 = 0.08;
    let seen: Vec<Vec<(Color, f32)>> = drawings.iter().map(Drawing::seen_parts).collect();
    let candidates: Vec<(f32, Color)> = (0..CANDIDATES)
        .map(|index| {
            let [darkest, lightest] = if index % 2 == 0 { LIGHT } else { DARK };
            let ground = Color::from_hue(
                uniform(rng, darkest, lightest) as f32,
                uniform(rng, 0.03, 0.09) as f32,
                uniform(rng, 0.0, std::f64::consts::TAU) as f32,
            );
            let contrasts = seen.iter().map(|parts| contrast(parts, ground));
            (contrasts.fold(f32::INFINITY, f32::min), ground)
        })
        .collect();
    let best = (candidates.iter()).fold(0.0, |best, (contrast, _)| f32::max(best, *contrast));
    let good: Vec<Color> = (candidates.iter())
        .filter(|(contrast, _)| *contrast >= best - ABOUT)
        .map(|(_, ground)| *ground)
        .collect();
    good[rng.random_range(0..good.len())]
}

/// How much the given colours, each with a weight, contrast with a ground: 0 if all are equal to it, 1 if all differ from it plainly.
fn contrast(parts: &[(Color, f32)], ground: Color) -> f32 {
    /// In Oklab; what differs more does not stand out better.
    const PLAIN: f32 = 0.35;
    let (mut sum, mut weights) = (0.0, 0.0);
    for (color, weight) in parts {
        sum += weight * (color.distance(ground) / PLAIN).min(1.0);
        weights += weight;
    }
    sum / f32::max(weights, 1e-6)
}

impl Drawing {
    /// The colours of its opaque pixels, each with a weight: those of its outline weigh together as much as all others.
    fn seen_parts(&self) -> Vec<(Color, f32)> {
        let opacity = |x: Option<usize>, y: Option<usize>| match (x, y) {
            (Some(x), Some(y)) if x < self.width && y < self.height => {
                self.pixels[y * self.width + x][3]
            }
            _ => 0.0,
        };
        let is_rim = |x: usize, y: usize| {
            let beside = [
                (x.checked_sub(1), Some(y)),
                (Some(x + 1), Some(y)),
                (Some(x), y.checked_sub(1)),
                (Some(x), Some(y + 1)),
            ];
            beside.into_iter().any(|(x, y)| opacity(x, y) < 0.5)
        };
        let mut parts: Vec<(Color, f32, bool)> = vec![];
        for (index, [r, g, b, own]) in self.pixels.iter().enumerate() {
            if *own >= 0.5 {
                let rim = is_rim(index % self.width, index / self.width);
                parts.push((Color::from_srgb([*r, *g, *b]), *own, rim));
            }
        }
        let total = |of_rim: bool| -> f32 {
            let own = parts.iter().filter(|(_, _, rim)| *rim == of_rim);
            own.map(|(_, opacity, _)| opacity).sum()
        };
        let totals = [total(false), total(true)].map(|total| total.max(1e-6));
        let weigh =
            |(color, own, rim): &(Color, f32, bool)| (*color, own / totals[usize::from(*rim)]);
        parts.iter().map(weigh).collect()
    }
}

/// How near each pixel of a map is to a covered one: 1 where it is covered itself, falling to 0 at 6 % of the shorter side.
///
/// `covered` is the opacity of each pixel, 0..=1, row by row; an opacity below 1 counts as much less.
pub fn near(covered: &[f32], [width, height]: [usize; 2]) -> Vec<f32> {
    /// As a share of the shorter side.
    const NEAR: f64 = 0.06;
    let reach = NEAR * width.min(height) as f64;
    let steps = reach.ceil() as i64;
    let around: Vec<(i64, i64, f32)> = (-steps..=steps)
        .flat_map(|dy| (-steps..=steps).map(move |dx| (dx, dy)))
        .map(|(dx, dy)| (dx, dy, 1.0 - ((dx * dx + dy * dy) as f64).sqrt() / reach))
        .filter(|(_, _, share)| *share > 0.0)
        .map(|(dx, dy, share)| (dx, dy, share as f32))
        .collect();
    let (width, height) = (width as i64, height as i64);
    let at = |index: i64| {
        let (x, y) = (index % width, index / width);
        let shares = around.iter().map(|(dx, dy, share)| {
            let (x, y) = (x + dx, y + dy);
            let is_inside = (0..width).contains(&x) && (0..height).contains(&y);
            let covered = |index: i64| covered[index as usize];
            if is_inside {
                share * covered(y * width + x)
            } else {
                0.0
            }
        });
        shares.fold(0.0, f32::max)
    };
    (0..width * height).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use phantasia_core::random::{Purpose, rng};

    fn drawing(color: [f32; 3]) -> Drawing {
        let [r, g, b] = color;
        Drawing {
            width: 8,
            height: 8,
            pixels: vec![[r, g, b, 1.0]; 64],
        }
    }

    #[test]
    fn every_drawing_stands_out_on_the_ground() {
        let (white, black, grey) = ([0.97; 3], [0.05; 3], [0.55; 3]);
        for (colors, least) in [
            (&[white][..], 0.9),
            (&[black], 0.9),
            (&[white, [0.9, 0.85, 0.2]], 0.8),
            (&[white, black], 0.6),
            (&[white, black, grey], 0.3),
        ] {
            let drawings: Vec<Drawing> = colors.iter().map(|color| drawing(*color)).collect();
            for seed in 0..20 {
                let ground = setting_off(&drawings, &mut rng(seed, Purpose::Drawings, 0, 0));
                for drawing in &drawings {
                    let contrast = contrast(&drawing.seen_parts(), ground);
                    assert!(contrast > least, "{colors:?} on {ground:?}: {contrast}");
                }
            }
        }
    }

    #[test]
    fn nearness_falls_with_the_distance_from_what_is_covered() {
        let mut covered = vec![0.0; 64 * 48];
        covered[24 * 64 + 32] = 1.0;
        let near = near(&covered, [64, 48]);
        let row: Vec<f32> = (32..38).map(|x| near[24 * 64 + x]).collect();
        assert_eq!(row[0], 1.0);
        assert!(
            row.windows(2).all(|pair| pair[0] >= pair[1]) && row[1] > 0.5,
            "{row:?}"
        );
        assert_eq!(row[5], 0.0);
        assert!(super::near(&[], [0, 0]).is_empty());
    }
}
