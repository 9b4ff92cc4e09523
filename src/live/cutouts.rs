//! A sheet of cutouts.

use anyhow::Result;
use candle_core::Tensor;

/// Views `[n, 3, side, side]` in a grid that is nearly square, with empty places in grey: `[1, 3, h, w]`.
pub(super) fn sheet(views: &Tensor) -> Result<Tensor> {
    const GAP: usize = 2;
    const GREY: f64 = 0.1;
    let (n, _, height, width) = views.dims4()?;
    let columns = (1..=n).find(|c| c * c >= n).unwrap_or(1);
    let rows = n.div_ceil(columns);
    // noise may lead outside the range
    let views = views
        .clamp(0.0, 1.0)?
        .pad_with_zeros(2, 0, GAP)?
        .pad_with_zeros(3, 0, GAP)?;
    let empty = ((views.narrow(0, 0, 1)?.zeros_like())? + GREY)?;
    let mut lines = vec![];
    for row in 0..rows {
        let line = (0..columns)
            .map(|column| match row * columns + column {
                index if index < n => views.narrow(0, index, 1),
                _ => Ok(empty.clone()),
            })
            .collect::<candle_core::Result<Vec<_>>>()?;
        lines.push(Tensor::cat(&line, 3)?);
    }
    let sheet = Tensor::cat(&lines, 2)?;
    Ok(sheet
        .narrow(2, 0, rows * (height + GAP) - GAP)?
        .narrow(3, 0, columns * (width + GAP) - GAP)?
        .contiguous()?)
}
