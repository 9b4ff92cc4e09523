//! Comparing tensors.

use candle_core::{DType, Tensor};

pub fn numbers(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64)
        .and_then(|x| x.flatten_all()?.to_vec1())
        .expect("numbers")
}

/// The largest difference as a share of the largest expected value is below the tolerance.
#[track_caller]
pub fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0f64, |max, x| max.max(x.abs()));
    let difference = (found.iter().zip(expected)).fold(0f64, |max, (a, b)| max.max((a - b).abs()));
    let error = difference / largest;
    println!("{what}: {error:e}");
    assert!(error < tolerance, "{what} is off by {error:e}");
}
