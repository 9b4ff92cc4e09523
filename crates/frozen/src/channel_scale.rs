//! Channels times one number each.

use candle_core::{Result, Tensor, bail};

use crate::gemm::build;
use crate::host::{self, Slice, dims4, fused};
use crate::real::{Real, simd, sum2};

/// Each channel of `x`, [n, c, h, w], times its number in `scale`, [n, c, 1, 1].
///
/// # Errors
/// Where the shapes, types or devices do not fit.
pub fn scale_channels(x: &Tensor, scale: &Tensor) -> Result<Tensor> {
    fn scaled<T: Real>(x: &Tensor, scale: &Tensor) -> Result<Tensor> {
        let (_, _, h, w) = x.dims4()?;
        let (x, scale) = (x.contiguous()?, scale.contiguous()?);
        let (slice, scale) = (Slice::<T>::new(&x)?, Slice::<T>::new(&scale)?);
        let pixels = h * w;
        let y = build(slice.len(), pixels, |plane, out| {
            let (x, factor) = (&slice[plane * pixels..][..pixels], scale[plane]);
            simd!(<'a, T> (out: &'a mut [T], x: &'a [T], factor: T) {
                for (out, &x) in out.iter_mut().zip(x) {
                    *out = x * factor;
                }
            });
        });
        host::tensor(y, x.shape())
    }
    let (n, c, _, _) = dims4("scale_channels", x)?;
    if scale.dims() != [n, c, 1, 1] {
        bail!(
            "scale_channels: {:?} has no number for each channel of {:?}",
            scale.shape(),
            x.shape()
        );
    }
    host::check_kind("scale_channels", x, scale)?;
    fused!(x, scaled(x, scale), x.broadcast_mul(scale))
}

/// The sum over the pixels of each channel of `x y`: two of [n, c, h, w] to [n, c, 1, 1]. With a gradient as one of them it is the gradient of
/// [`scale_channels`] with respect to its scale.
///
/// # Errors
/// Where the shapes, types or devices differ.
pub fn channel_products(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    fn products<T: Real>(x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let (n, c, h, w) = x.dims4()?;
        let (x, y) = (x.contiguous()?, y.contiguous()?);
        let (x, y) = (Slice::<T>::new(&x)?, Slice::<T>::new(&y)?);
        let pixels = h * w;
        let sums = build(n * c, 1, |plane, out| {
            let (x, y) = (
                &x[plane * pixels..][..pixels],
                &y[plane * pixels..][..pixels],
            );
            simd!(<'a, T> (x: &'a [T], y: &'a [T], out: &'a mut [T]) {
                out[0] = sum2(x, y, |x, y| x * y);
            });
        });
        host::tensor(sums, (n, c, 1, 1))
    }
    dims4("channel_products", x)?;
    if x.shape() != y.shape() {
        bail!("channel_products: {x:?} and {y:?} differ");
    }
    host::check_kind("channel_products", x, y)?;
    fused!(x, products(x, y), (x * y)?.sum_keepdim((2, 3)))
}
