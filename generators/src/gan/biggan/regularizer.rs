//! big-sleep's regularisers of noise and classes (lucidrains/big-sleep, `big_sleep.py`): gradients by hand, on the processor, since there are a dozen
//! rows of a few hundred numbers.

use candle_core::{Result, Tensor};

use super::{host, tensor};

/// Weight of the mean square of noise above 1.
const SQUARES: f64 = 4.0;
/// Factor of the weights of classes that are not the largest, before they are squared.
const FEW_CLASSES: f64 = 50.0;

/// The sign, 0 of 0, as PyTorch has it for the slope of an absolute value.
fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

/// The gradient of `mean |1 - std| + mean |mean| + 4 max(mean z^2, 1) + mean (|kurtosis - 3| + |skewness|)` of noise [rows, n], means being over rows
/// but for the third.
pub(super) fn of_noise(noise: &Tensor) -> Result<Tensor> {
    let rows = host(noise)?;
    let count = rows.len() as f64;
    let elements = noise.elem_count() as f64;
    let squares = rows.iter().flatten().map(|z| z * z).sum::<f64>() / elements;
    let of_squares = if squares > 1.0 {
        2.0 * SQUARES / elements
    } else {
        0.0
    };
    let gradients = rows.iter().map(|row| {
        let n = row.len() as f64;
        let mean = row.iter().sum::<f64>() / n;
        let moment = |k: i32| row.iter().map(|z| (z - mean).powi(k)).sum::<f64>() / n;
        let [variance, third, fourth] = [2, 3, 4].map(moment);
        // a row of equal numbers has no slope
        let deviation = variance.sqrt().max(1e-12);
        // unbiased, as PyTorch's default
        let unbiased = deviation * (n / (n - 1.0).max(1.0)).sqrt();
        let [skewness, kurtosis] = [third / deviation.powi(3), fourth / deviation.powi(4)];
        let [to_skewness, to_kurtosis] = [sign(skewness), sign(kurtosis - 3.0)];
        let slope = |z: &f64| {
            let x = (z - mean) / deviation;
            let of_deviation = (z - mean) / ((n - 1.0).max(1.0) * unbiased);
            let of_skewness = 3.0 * (x * x - 1.0 - skewness * x) / (n * deviation);
            let of_kurtosis = 4.0 * (x.powi(3) - skewness - kurtosis * x) / (n * deviation);
            let own = to_skewness * of_skewness + to_kurtosis * of_kurtosis + sign(mean) / n
                - sign(1.0 - unbiased) * of_deviation;
            own / count + of_squares * z
        };
        row.iter().map(slope).collect()
    });
    tensor(gradients.collect(), noise)
}

/// The gradient of the mean square of 50 times the weights of each row's classes but the largest.
pub(super) fn of_classes(weights: &Tensor) -> Result<Tensor> {
    let rows = host(weights)?;
    let others: usize = rows.iter().map(|row| row.len().saturating_sub(1)).sum();
    let factor = 2.0 * FEW_CLASSES * FEW_CLASSES / (others.max(1)) as f64;
    let gradients = rows.iter().map(|row| {
        let largest = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
        let slope = |(class, weight): (usize, &f64)| {
            if Some(class) == largest {
                0.0
            } else {
                factor * weight
            }
        };
        row.iter().enumerate().map(slope).collect()
    });
    tensor(gradients.collect(), weights)
}
