//! Apple's FastViTs of MobileCLIP. Their weights show all that differs between them.

use super::Pool;

/// By name.
pub const MODELS: &[&str] = &[
    "fastvit_mci0",
    "fastvit_mci1",
    "fastvit_mci2",
    "fastvit_mci3",
    "fastvit_mci4",
];

/// The values of `timm_pool` that they support.
pub(super) const POOLS: &[(&str, Pool)] = &[("avg", Pool::Average)];
