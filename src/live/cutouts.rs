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
    let mut places = vec![empty; rows * columns - n + 1];
    places[0] = views;
    let (high, wide) = (height + GAP, width + GAP);
    let grid = Tensor::cat(&places, 0)?.reshape((rows, columns, 3, high, wide))?;
    let sheet = grid.permute((2, 0, 3, 1, 4))?;
    Ok(sheet
        .reshape((1, 3, rows * high, columns * wide))?
        .narrow(2, 0, rows * high - GAP)?
        .narrow(3, 0, columns * wide - GAP)?
        .contiguous()?)
}
