//! The mean of copies: its gradient, its symmetry, and what it leaves as it is.

use candle_core::{DType, Device};

use super::*;

fn config(mirror: Option<Mirror>, rotate: Option<usize>) -> Config {
    Config { mirror, rotate }
}

const MIRRORS: [Option<Mirror>; 4] = [None, Some(Mirror::X), Some(Mirror::Y), Some(Mirror::Both)];

fn wave(h: usize, w: usize, dtype: DType) -> Tensor {
    let values: Vec<f64> = (0..3 * h * w)
        .map(|i| (1.3 * i as f64).sin() + (0.7 * (i * i) as f64).cos())
        .collect();
    let x = Tensor::from_vec(values, (1, 3, h, w), &Device::Cpu);
    x.and_then(|x| x.to_dtype(dtype)).expect("an image")
}

fn numbers(x: &Tensor) -> Vec<f64> {
    let x = x.to_dtype(DType::F64).expect("numbers");
    x.flatten_all().and_then(|x| x.to_vec1()).expect("numbers")
}

fn largest(x: &Tensor) -> f64 {
    numbers(x).iter().fold(0.0, |max: f64, x| max.max(x.abs()))
}

#[test]
fn the_gradient_matches_finite_differences() -> Result<()> {
    for mirror in MIRRORS {
        for rotate in [None, Some(2), Some(3), Some(4), Some(6), Some(8)] {
            let mean = MeanOfCopies::new(&config(mirror, rotate));
            let (x, g) = (wave(5, 5, DType::F64), wave(5, 5, DType::F64).sin()?);
            let found = numbers(&mean.vjp(&x)?.1(&g)?);
            let values = numbers(&x);
            for i in (0..values.len()).step_by(7) {
                let loss = |h: f64| -> Result<f64> {
                    let mut moved = values.clone();
                    moved[i] += h;
                    let moved = Tensor::from_vec(moved, x.shape(), &Device::Cpu)?;
                    (mean.eval(&moved)? * &g)?.sum_all()?.to_scalar()
                };
                let slope = (loss(1e-5)? - loss(-1e-5)?) / 2e-5;
                let error = (slope - found[i]).abs();
                assert!(
                    error < 1e-8,
                    "{mirror:?} {rotate:?} {i}: {slope} {}",
                    found[i]
                );
            }
        }
    }
    Ok(())
}

#[test]
fn mirror_images_half_and_quarter_turns_are_exact() -> Result<()> {
    let equal = |a: &Tensor, b: &Tensor| numbers(a) == numbers(b);
    for (h, w) in [(9, 9), (8, 8)] {
        let x = wave(h, w, DType::F32);
        for rotate in [
            None,
            Some(2),
            Some(3),
            Some(4),
            Some(5),
            Some(6),
            Some(8),
            Some(12),
        ] {
            for mirror in MIRRORS {
                let mean = MeanOfCopies::new(&config(mirror, rotate));
                let y = mean.eval(&x)?;
                let turns = rotate.unwrap_or(1);
                let what = format!("{mirror:?} {rotate:?}");
                if mirror == Some(Mirror::X) || mirror == Some(Mirror::Both) {
                    assert!(equal(&y, &y.flip(&[3])?), "{what}");
                }
                if mirror == Some(Mirror::Y) || mirror == Some(Mirror::Both) {
                    assert!(equal(&y, &y.flip(&[2])?), "{what}");
                }
                if turns % 2 == 0 {
                    assert!(equal(&y, &y.flip(&[2, 3])?), "{what}");
                }
                if turns % 4 == 0 {
                    assert!(
                        equal(&y, &y.transpose(2, 3)?.contiguous()?.flip(&[3])?),
                        "{what}"
                    );
                }
            }
        }
    }
    let wide =
        MeanOfCopies::new(&config(Some(Mirror::Both), Some(2))).eval(&wave(4, 7, DType::F32))?;
    assert!(equal(&wide, &wide.flip(&[2])?) && equal(&wide, &wide.flip(&[3])?));
    Ok(())
}

/// A smooth picture, so that interpolation changes it little.
fn smooth(side: usize) -> Tensor {
    let values = (0..3 * side * side).map(|i| {
        let (x, y) = (i % side, i / side % side);
        let [x, y] = [x, y].map(|at| (at as f32 + 0.5) / side as f32);
        0.5 + 0.2 * (9.0 * x + 2.0 * y).sin() + 0.2 * (7.0 * y - 3.0 * x * x).cos()
    });
    let x = Tensor::from_iter(values, &Device::Cpu);
    x.and_then(|x| x.reshape((1, 3, side, side)))
        .expect("an image")
}

#[test]
fn turned_copies_are_the_same_within_a_few_levels_away_from_the_rim() -> Result<()> {
    let side = 96;
    for rotate in [3, 5, 6, 7, 16] {
        for mirror in MIRRORS {
            let mean = MeanOfCopies::new(&config(mirror, Some(rotate)));
            let y = mean.eval(&smooth(side))?;
            let turned = MeanOfCopies::turn(1.0 / rotate as f64)?.eval(&y)?;
            let inside = (0..side * side).map(|i| {
                let [x, y] = [i % side, i / side].map(|at| at as f32 + 0.5 - side as f32 / 2.0);
                if x.hypot(y) < 0.45 * side as f32 {
                    1f32
                } else {
                    0.0
                }
            });
            let inside = Tensor::from_iter(inside, &Device::Cpu)?.reshape((1, 1, side, side))?;
            let off = largest(&(y - turned)?.broadcast_mul(&inside)?);
            assert!(off < 3.0 / 255.0, "{mirror:?} {rotate}: {off}");
        }
    }
    Ok(())
}

#[test]
fn an_even_picture_stays_as_it_is_and_its_mean_is_kept_by_flips() -> Result<()> {
    let even = Tensor::full(0.3f32, (1, 3, 12, 12), &Device::Cpu)?;
    for mirror in MIRRORS {
        for rotate in [None, Some(2), Some(3), Some(4), Some(5), Some(8)] {
            let y = MeanOfCopies::new(&config(mirror, rotate)).eval(&even)?;
            assert!(largest(&(y - &even)?) < 1e-6, "{mirror:?} {rotate:?}");
        }
    }
    Ok(())
}

#[test]
fn a_picture_that_is_not_square_is_not_turned() {
    for rotate in [3, 4] {
        let mean = MeanOfCopies::new(&config(None, Some(rotate)));
        let error = mean.eval(&wave(4, 6, DType::F32)).expect_err("not square");
        assert!(error.to_string().contains("not square"), "{error}");
    }
}

fn messages(config: &Config, seamless: Seamless, size: [usize; 2]) -> Vec<String> {
    let mut checker = Checker::default();
    config.check(seamless, size, &mut checker);
    let diagnostics = checker.into_diagnostics();
    diagnostics.into_iter().map(|found| found.path).collect()
}

#[test]
fn what_cannot_be_is_named() {
    let square = [64, 64];
    let none = messages(&config(None, None), Seamless::No, square);
    assert_eq!(none, [""]);
    let check = |rotate, seamless, size| messages(&config(None, Some(rotate)), seamless, size);
    assert!(check(2, Seamless::X, [64, 32]).is_empty());
    assert!(check(6, Seamless::No, square).is_empty());
    assert!(check(4, Seamless::Both, square).is_empty());
    assert_eq!(check(4, Seamless::No, [64, 32]), ["rotate"]);
    assert_eq!(check(4, Seamless::X, square), ["rotate"]);
    assert_eq!(check(3, Seamless::Both, square), ["rotate"]);
    assert_eq!(check(3, Seamless::Y, [64, 32]), ["rotate", "rotate"]);
}
