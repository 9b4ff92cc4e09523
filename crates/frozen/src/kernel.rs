//! Building blocks for fused kernels of other crates: matrix products on slices.

pub use crate::gemm::{Mat, MatMut, Threads, gemm};
pub use crate::host::composed;
pub use crate::real::Real;

/// Whether a tensor is one that fused kernels take: f32 or f64, on the CPU.
pub fn is_fused(x: &candle_core::Tensor) -> bool {
    crate::host::Kernel::of(x) != crate::host::Kernel::Composed
}
