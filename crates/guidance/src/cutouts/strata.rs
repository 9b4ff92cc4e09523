//! How the cutouts of a step share the picture and the range of sizes among themselves.

use rand::Rng;
use rand::seq::SliceRandom;

use super::config::Sampler;

/// The range of places and sizes that one cutout is drawn from, in shares: `[0, 1]` is the full range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stratum {
    pub left: [f64; 2],
    pub top: [f64; 2],
    /// From the smallest to the largest; none for a square as large as the frame's shorter side.
    pub size: Option<[f64; 2]>,
}

const ALL: [f64; 2] = [0.0, 1.0];

/// The strata of `count` squares in a frame of that width and height.
pub(super) fn strata(
    sampler: Sampler,
    count: usize,
    frame: [f64; 2],
    rng: &mut impl Rng,
) -> Vec<Stratum> {
    match sampler {
        Sampler::Random => {
            let anywhere = Stratum {
                left: ALL,
                top: ALL,
                size: Some(ALL),
            };
            vec![anywhere; count]
        }
        Sampler::Full => lanes(count, frame).collect(),
        Sampler::Stratified => {
            let largest = ((count as f64 / 4.0).round() as usize).max(2).min(count);
            let cells = grid(count - largest, frame, rng);
            lanes(largest, frame).chain(cells).collect()
        }
    }
}

/// The `index`th of `count` equal parts of 0..1.
fn part(index: usize, count: usize) -> [f64; 2] {
    [index, index + 1].map(|edge| edge as f64 / count as f64)
}

/// The largest squares, one in each of `count` equal parts of the way along the frame's longer side.
fn lanes(count: usize, [width, height]: [f64; 2]) -> impl Iterator<Item = Stratum> {
    (0..count).map(move |index| {
        let lane = part(index, count);
        let (left, top) = if width >= height {
            (lane, ALL)
        } else {
            (ALL, lane)
        };
        let size = None;
        Stratum { left, top, size }
    })
}

/// A cell for each of `count` squares, in rows that fill the frame, with cells that are nearly square; the first rows take what is left over.
/// Each has a part of its own of the range of sizes, in random order.
fn grid(count: usize, [width, height]: [f64; 2], rng: &mut impl Rng) -> Vec<Stratum> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(rng);
    let rows = ((count as f64 * height / width).sqrt().round() as usize).clamp(1, count.max(1));
    let row = |row: usize| {
        let columns = count / rows + usize::from(row < count % rows);
        (0..columns).map(move |column| (part(column, columns), part(row, rows)))
    };
    let cells = (0..rows).flat_map(row).zip(order);
    cells
        .map(|((left, top), size)| Stratum {
            left,
            top,
            size: Some(part(size, count)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use phantasia_core::random::{self, Purpose};

    use super::*;

    fn drawn(sampler: Sampler, count: usize, frame: [f64; 2]) -> Vec<Stratum> {
        let rng = &mut random::rng(1, Purpose::CutoutSizes, 0, 0);
        strata(sampler, count, frame, rng)
    }

    fn area(stratum: &Stratum) -> f64 {
        (stratum.left[1] - stratum.left[0]) * (stratum.top[1] - stratum.top[0])
    }

    #[test]
    fn every_number_of_cutouts_fills_frames_of_any_aspect() {
        for frame in [[256.0, 256.0], [640.0, 16.0], [1.0, 300.0], [384.0, 192.0]] {
            for count in 0..70 {
                for sampler in [Sampler::Stratified, Sampler::Random, Sampler::Full] {
                    assert_eq!(drawn(sampler, count, frame).len(), count, "{sampler:?}");
                }
                let strata = drawn(Sampler::Stratified, count, frame);
                let (cells, lanes): (Vec<_>, Vec<_>) =
                    strata.iter().partition(|stratum| stratum.size.is_some());
                for part in [&cells, &lanes] {
                    let covered: f64 = part.iter().map(area).sum();
                    assert!(part.is_empty() || (covered - 1.0).abs() < 1e-9, "{covered}");
                }
                // each part of the sizes once
                let mut sizes: Vec<f64> = (cells.iter())
                    .filter_map(|stratum| Some(stratum.size?[0]))
                    .collect();
                sizes.sort_by(f64::total_cmp);
                for (index, size) in sizes.iter().enumerate() {
                    assert_eq!(*size, part(index, cells.len())[0]);
                }
            }
        }
    }

    #[test]
    fn a_quarter_and_at_least_two_are_as_large_as_possible() {
        for (count, expected) in [(1, 1), (2, 2), (3, 2), (8, 2), (16, 4), (40, 10)] {
            let strata = drawn(Sampler::Stratified, count, [2.0, 1.0]);
            let largest = strata.iter().filter(|stratum| stratum.size.is_none());
            assert_eq!(largest.count(), expected, "{count}");
        }
    }

    #[test]
    fn lanes_lie_along_the_longer_side() {
        for (frame, along_width) in [([2.0, 1.0], true), ([1.0, 2.0], false)] {
            let strata = drawn(Sampler::Full, 4, frame);
            let along = |stratum: &Stratum| {
                if along_width {
                    (stratum.left, stratum.top)
                } else {
                    (stratum.top, stratum.left)
                }
            };
            for (index, stratum) in strata.iter().enumerate() {
                assert_eq!(along(stratum), (part(index, 4), ALL));
            }
        }
    }

    #[test]
    fn cells_are_nearly_square() {
        // twelve in a square: three rows of four; in a frame twice as wide two rows of six
        let rows = |frame| {
            let mut tops: Vec<_> = (drawn(Sampler::Stratified, 16, frame).iter())
                .filter(|stratum| stratum.size.is_some())
                .map(|stratum| stratum.top[0])
                .collect();
            tops.dedup();
            tops.len()
        };
        assert_eq!((rows([1.0, 1.0]), rows([2.0, 1.0])), (3, 2));
    }
}
