//! One iteration of a rule and its backward pass, fused, on the CPU.
//!
//! A cell that does not fire keeps its state, and nothing is computed for it: the cells that fire are gathered, and the products are over
//! these alone. With a fire rate of one half that is half of the work. States lie here as `[batch, height, channels, width]`, so that the
//! rows which a thread writes follow one another. The work is cut into tiles of rows of a fixed size and the tiles' gradients are
//! added in their order, so that the result does not depend on the number of threads.

use frozen::kernel::{Mat, MatMut, Real, Threads, gemm};
use rayon::prelude::*;

use super::Padding;
use super::fire::Fire;

/// About so many cells a tile: the matrices of one fit a core's second cache.
const TILE: usize = 1024;
/// The senses of a cell for each channel: itself, the slopes along x and y, and the Laplacian.
pub(super) const SENSES: usize = 4;

/// The sizes of a batch of states.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub batch: usize,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub padding: Padding,
}

impl Grid {
    fn row(&self) -> usize {
        self.channels * self.width
    }

    fn tile_rows(&self) -> usize {
        (TILE / self.width).clamp(1, self.height)
    }

    fn tiles(&self) -> usize {
        self.height.div_ceil(self.tile_rows())
    }

    /// First row and number of rows of a tile.
    fn rows_of(&self, tile: usize) -> (usize, usize) {
        let first = tile * self.tile_rows();
        (first, self.tile_rows().min(self.height - first))
    }

    /// Row `y` of a picture's state, one above and one below included; `None` where there is nothing.
    fn row_of<'a, T>(&self, x: &'a [T], picture: usize, y: isize) -> Option<&'a [T]> {
        let height = self.height as isize;
        let y = match self.padding {
            Padding::Circular => y.rem_euclid(height),
            Padding::Zero if (0..height).contains(&y) => y,
            Padding::Zero => return None,
        };
        let start = (picture * self.height + y as usize) * self.row();
        Some(&x[start..start + self.row()])
    }
}

/// The network that decides a cell's change: `w2 . relu(w1 . senses + b1)`.
#[derive(Clone, Copy)]
pub(super) struct Network<'a, T> {
    /// `[hidden, 4 * channels]`
    pub w1: &'a [T],
    /// `[hidden]`
    pub b1: &'a [T],
    /// `[channels, hidden]`
    pub w2: &'a [T],
}

/// The gradient of a [`Network`].
pub(super) struct Gradient<T> {
    pub w1: Vec<T>,
    pub b1: Vec<T>,
    pub w2: Vec<T>,
}

impl<T: Real> Gradient<T> {
    pub fn zero(network: &Network<T>) -> Self {
        Self {
            w1: vec![T::zero(); network.w1.len()],
            b1: vec![T::zero(); network.b1.len()],
            w2: vec![T::zero(); network.w2.len()],
        }
    }

    fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.w1, &other.w1),
            (&mut self.b1, &other.b1),
            (&mut self.w2, &other.w2),
        ];
        for (sum, part) in pairs {
            for (sum, &part) in sum.iter_mut().zip(part) {
                *sum += part;
            }
        }
    }
}

/// Memory of a thread that is used again for each tile.
struct Scratch<T> {
    /// The columns that fire, row after row.
    columns: Vec<usize>,
    /// How many columns fire in each row.
    counts: Vec<usize>,
    /// A row smoothed and differenced from top to bottom, with a column more at each side; and its gradients.
    lines: [Vec<T>; 3],
    senses: Vec<T>,
    hidden: Vec<T>,
    change: Vec<T>,
    hidden_grad: Vec<T>,
    senses_grad: Vec<T>,
}

impl<T> Default for Scratch<T> {
    fn default() -> Self {
        Self {
            columns: vec![],
            counts: vec![],
            lines: [vec![], vec![], vec![]],
            senses: vec![],
            hidden: vec![],
            change: vec![],
            hidden_grad: vec![],
            senses_grad: vec![],
        }
    }
}

/// The first `len` elements, whatever they hold.
fn sized<T: Real>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        buffer.resize(len, T::zero());
    }
    &mut buffer[..len]
}

impl<T: Real> Scratch<T> {
    /// Finds the tile's cells that fire, their senses and hidden values. Returns how many fire.
    fn gather(
        &mut self,
        grid: &Grid,
        network: &Network<T>,
        fire: &Fire,
        x: &[T],
        (picture, tile): (usize, usize),
    ) -> usize {
        let (first, rows) = grid.rows_of(tile);
        self.columns.clear();
        self.counts.clear();
        for y in first..first + rows {
            let before = self.columns.len();
            let row = picture * grid.height + y;
            fire.row(row, grid.width, |column| self.columns.push(column));
            self.counts.push(self.columns.len() - before);
        }
        let count = self.columns.len();
        let senses = SENSES * grid.channels;
        let out = sized(&mut self.senses, senses * count);
        let mut start = 0;
        for (y, &firing) in (first as isize..).zip(&self.counts) {
            let columns = &self.columns[start..start + firing];
            perceive(
                grid,
                x,
                picture,
                y,
                columns,
                &mut self.lines,
                |sense, cell, value| {
                    out[sense * count + start + cell] = value;
                },
            );
            start += firing;
        }
        let hidden = network.b1.len();
        let values = sized(&mut self.hidden, hidden * count);
        if count > 0 {
            let w1 = Mat::new(network.w1, hidden, senses);
            product(values, (hidden, count), w1, Mat::new(out, senses, count));
            for (row, &bias) in values.chunks_exact_mut(count).zip(network.b1) {
                for value in row {
                    let sum = *value + bias;
                    *value = if sum > T::zero() { sum } else { T::zero() };
                }
            }
        }
        count
    }
}

fn product<T: Real>(out: &mut [T], (rows, columns): (usize, usize), a: Mat<T>, b: Mat<T>) {
    let out = MatMut::new(out, rows, columns);
    gemm(out, a, b, T::one(), false, Threads::One);
}

/// The senses of the cells of a row: `write(sense, cell, value)` for each channel's four senses in turn.
///
/// Sobel's kernels and the nine-point Laplacian `[1 2 1; 2 -12 2; 1 2 1]` share their sums from top to bottom.
fn perceive<T: Real>(
    grid: &Grid,
    x: &[T],
    picture: usize,
    y: isize,
    columns: &[usize],
    [smooth, slope, _]: &mut [Vec<T>; 3],
    mut write: impl FnMut(usize, usize, T),
) {
    let width = grid.width;
    let two = T::one() + T::one();
    let sixteen = T::of(16.0);
    let [above, here, below] = [y - 1, y, y + 1].map(|y| grid.row_of(x, picture, y));
    let Some(here) = here else { return };
    let smooth = sized(smooth, width + 2);
    let slope = sized(slope, width + 2);
    for channel in 0..grid.channels {
        let range = channel * width..(channel + 1) * width;
        let middle = &here[range.clone()];
        let (inner_smooth, inner_slope) = (&mut smooth[1..=width], &mut slope[1..=width]);
        for (smooth, &m) in inner_smooth.iter_mut().zip(middle) {
            *smooth = two * m;
        }
        inner_slope.fill(T::zero());
        if let Some(above) = above {
            let lines = inner_smooth.iter_mut().zip(&mut *inner_slope);
            for ((smooth, slope), &a) in lines.zip(&above[range.clone()]) {
                *smooth += a;
                *slope -= a;
            }
        }
        if let Some(below) = below {
            let lines = inner_smooth.iter_mut().zip(inner_slope);
            for ((smooth, slope), &b) in lines.zip(&below[range]) {
                *smooth += b;
                *slope += b;
            }
        }
        for line in [&mut *smooth, &mut *slope] {
            (line[0], line[width + 1]) = match grid.padding {
                Padding::Circular => (line[width], line[1]),
                Padding::Zero => (T::zero(), T::zero()),
            };
        }
        let sense = SENSES * channel;
        for (cell, &column) in columns.iter().enumerate() {
            let (s, d) = (&smooth[column..column + 3], &slope[column..column + 3]);
            let m = middle[column];
            write(sense, cell, m);
            write(sense + 1, cell, s[2] - s[0]);
            write(sense + 2, cell, d[0] + two * d[1] + d[2]);
            write(sense + 3, cell, s[0] + two * s[1] + s[2] - sixteen * m);
        }
    }
}

/// The states after one iteration, written to `out`.
pub(super) fn forward<T: Real>(
    grid: &Grid,
    network: &Network<T>,
    fire: &Fire,
    x: &[T],
    out: &mut [T],
) {
    let picture = grid.height * grid.row();
    let tile = grid.tile_rows() * grid.row();
    (out.par_chunks_mut(picture).enumerate())
        .flat_map(|(picture, out)| {
            (out.par_chunks_mut(tile).enumerate()).map(move |(tile, out)| (picture, tile, out))
        })
        .for_each_init(Scratch::default, |scratch, (picture, tile, out)| {
            let (first, _) = grid.rows_of(tile);
            let start = (picture * grid.height + first) * grid.row();
            out.copy_from_slice(&x[start..start + out.len()]);
            let count = scratch.gather(grid, network, fire, x, (picture, tile));
            if count == 0 {
                return;
            }
            let hidden = network.b1.len();
            let change = sized(&mut scratch.change, grid.channels * count);
            let w2 = Mat::new(network.w2, grid.channels, hidden);
            let values = Mat::new(&scratch.hidden, hidden, count);
            product(change, (grid.channels, count), w2, values);
            let mut start = 0;
            for (out, &firing) in out.chunks_exact_mut(grid.row()).zip(&scratch.counts) {
                let columns = &scratch.columns[start..start + firing];
                for (channel, out) in out.chunks_exact_mut(grid.width).enumerate() {
                    let change = &change[channel * count + start..][..firing];
                    for (&column, &change) in columns.iter().zip(change) {
                        out[column] += change;
                    }
                }
                start += firing;
            }
        });
}

/// From the gradient of the states after an iteration to that of the states before it, written to `out`; that of the network is added
/// to `gradient`.
pub(super) fn backward<T: Real>(
    grid: &Grid,
    network: &Network<T>,
    fire: &Fire,
    x: &[T],
    grad: &[T],
    gradient: &mut Gradient<T>,
    out: &mut [T],
) {
    let tiles = grid.tiles();
    let parts: Vec<_> = (0..grid.batch * tiles)
        .into_par_iter()
        .map_init(Scratch::default, |scratch, i| {
            let at = (i / tiles, i % tiles);
            back(scratch, grid, network, fire, x, grad, at)
        })
        .collect();
    for (_, part) in &parts {
        if let Some(part) = part {
            gradient.add(part);
        }
    }
    let row = grid.row();
    (out.par_chunks_mut(row).enumerate()).for_each(|(i, out)| {
        let (picture, y) = (i / grid.height, i % grid.height);
        let tile = y / grid.tile_rows();
        let (first, rows) = grid.rows_of(tile);
        out.copy_from_slice(&grad[i * row..(i + 1) * row]);
        let mut add = |tile: usize, line: usize| {
            let (part, _) = &parts[picture * tiles + tile];
            if let Some(part) = part.get(line * row..(line + 1) * row) {
                for (out, &part) in out.iter_mut().zip(part) {
                    *out += part;
                }
            }
        };
        let wraps = grid.padding == Padding::Circular;
        if y == first && (tile > 0 || wraps) {
            let above = (tile + tiles - 1) % tiles;
            add(above, grid.rows_of(above).1 + 1);
        }
        add(tile, y - first + 1);
        if y + 1 == first + rows && (tile + 1 < tiles || wraps) {
            add((tile + 1) % tiles, 0);
        }
    });
}

/// A tile's part of the gradient of the states before, for its rows and the ones above and below (none where no cell fires),
/// and of that of the network.
fn back<T: Real>(
    scratch: &mut Scratch<T>,
    grid: &Grid,
    network: &Network<T>,
    fire: &Fire,
    x: &[T],
    grad: &[T],
    (picture, tile): (usize, usize),
) -> (Vec<T>, Option<Gradient<T>>) {
    let count = scratch.gather(grid, network, fire, x, (picture, tile));
    if count == 0 {
        return (vec![], None);
    }
    let (first, rows) = grid.rows_of(tile);
    let (channels, hidden) = (grid.channels, network.b1.len());
    let senses = SENSES * channels;
    // the gradient of the changes, of the cells that fire
    let change = sized(&mut scratch.change, channels * count);
    let mut start = 0;
    for (y, &firing) in (first..).zip(&scratch.counts) {
        let columns = &scratch.columns[start..start + firing];
        let row = &grad[(picture * grid.height + y) * grid.row()..][..grid.row()];
        for (channel, row) in row.chunks_exact(grid.width).enumerate() {
            let change = &mut change[channel * count + start..][..firing];
            for (change, &column) in change.iter_mut().zip(columns) {
                *change = row[column];
            }
        }
        start += firing;
    }
    let mut gradient = Gradient::zero(network);
    let change = Mat::new(change, channels, count);
    let values = &scratch.hidden[..hidden * count];
    let w2 = Mat::new(network.w2, channels, hidden);
    let columns = Mat::new(values, hidden, count).t();
    product(&mut gradient.w2, (channels, hidden), change, columns);
    let hidden_grad = sized(&mut scratch.hidden_grad, hidden * count);
    product(hidden_grad, (hidden, count), w2.t(), change);
    let lines = (hidden_grad.chunks_exact_mut(count)).zip(values.chunks_exact(count));
    for ((grads, values), sum) in lines.zip(&mut gradient.b1) {
        for (grad, &value) in grads.iter_mut().zip(values) {
            *grad = if value > T::zero() { *grad } else { T::zero() };
        }
        *sum = grads.iter().copied().sum();
    }
    let hidden_grad = Mat::new(hidden_grad, hidden, count);
    let seen = Mat::new(&scratch.senses, senses, count);
    product(&mut gradient.w1, (hidden, senses), hidden_grad, seen.t());
    let senses_grad = sized(&mut scratch.senses_grad, senses * count);
    let w1 = Mat::new(network.w1, hidden, senses);
    product(senses_grad, (senses, count), w1.t(), hidden_grad);
    // through the transpose of the senses
    let mut out = vec![T::zero(); (rows + 2) * grid.row()];
    let mut start = 0;
    for (line, &firing) in scratch.counts.iter().enumerate() {
        let columns = &scratch.columns[start..start + firing];
        let out = &mut out[line * grid.row()..(line + 3) * grid.row()];
        let read = |sense: usize, cell: usize| senses_grad[sense * count + start + cell];
        unperceive(grid, columns, &mut scratch.lines, read, out);
        start += firing;
    }
    (out, Some(gradient))
}

/// The transpose of [`perceive`]: adds to three rows.
fn unperceive<T: Real>(
    grid: &Grid,
    columns: &[usize],
    lines: &mut [Vec<T>; 3],
    read: impl Fn(usize, usize) -> T,
    out: &mut [T],
) {
    let width = grid.width;
    let two = T::one() + T::one();
    let sixteen = T::of(16.0);
    let [smooth, slope, middle] = lines.each_mut().map(|line| sized(line, width + 2));
    let (above, rest) = out.split_at_mut(grid.row());
    let (here, below) = rest.split_at_mut(grid.row());
    for channel in 0..grid.channels {
        for line in [&mut *smooth, &mut *slope, &mut *middle] {
            line.fill(T::zero());
        }
        let sense = SENSES * channel;
        for (cell, &column) in columns.iter().enumerate() {
            let [m, dx, dy, laplacian] = std::array::from_fn(|i| read(sense + i, cell));
            let s = &mut smooth[column..column + 3];
            s[0] += laplacian - dx;
            s[1] += two * laplacian;
            s[2] += laplacian + dx;
            let d = &mut slope[column..column + 3];
            d[0] += dy;
            d[1] += two * dy;
            d[2] += dy;
            middle[column + 1] = m - sixteen * laplacian;
        }
        if grid.padding == Padding::Circular {
            for line in [&mut *smooth, &mut *slope] {
                let (left, right) = (line[0], line[width + 1]);
                line[width] += left;
                line[1] += right;
            }
        }
        let range = channel * width..(channel + 1) * width;
        let lines = (smooth[1..=width].iter().zip(&slope[1..=width])).zip(&middle[1..=width]);
        let rows = (above[range.clone()].iter_mut())
            .zip(&mut here[range.clone()])
            .zip(&mut below[range]);
        for (((&s, &d), &m), ((above, here), below)) in lines.zip(rows) {
            *above += s - d;
            *here += two * s + m;
            *below += s + d;
        }
    }
}
