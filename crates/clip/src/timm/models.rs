//! The image towers that are known by their names in timm.
//!
//! A configuration of open_clip's names the tower alone. What cannot be seen in the weights stands here, under that name: the kind of network,
//! its nonlinearity, its heads. Widths, depths and hidden sizes are those of the tensors.

pub mod convnext;
pub mod fastvit;
pub mod vit;
pub mod vitamin;

use convnext::ConvNextTraits;
use vit::VitTraits;
use vitamin::VitaminTraits;

/// A kind of network, with what its weights do not show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Family {
    /// A vision transformer.
    Vit(VitTraits),
    /// A ConvNeXt.
    ConvNext(ConvNextTraits),
    /// A FastViT of MobileCLIP.
    FastVit,
    /// A ViTamin.
    Vitamin(VitaminTraits),
}

/// The pooling of a tower's features: open_clip's `timm_pool`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// The class token.
    Token,
    /// The mean of all pixels.
    Average,
    /// Attention pooling.
    Map,
}

impl Family {
    /// The values of `timm_pool` that a tower of this family supports.
    pub fn pools(&self) -> &'static [(&'static str, Pool)] {
        match self {
            Self::Vit(vit) => vit.pools(),
            Self::ConvNext(convnext) => convnext.pools(),
            Self::FastVit => fastvit::POOLS,
            Self::Vitamin(vitamin) => vitamin.pools(),
        }
    }
}

/// The tower of that name in timm.
pub fn find(name: &str) -> Option<Family> {
    (all().find(|(known, _)| *known == name)).map(|(_, family)| family)
}

/// The names of all known towers.
pub fn names() -> impl Iterator<Item = &'static str> {
    all().map(|(name, _)| name)
}

fn all() -> impl Iterator<Item = (&'static str, Family)> {
    let vit = vit::MODELS.iter();
    let vit = vit.map(|(name, traits)| (*name, Family::Vit(*traits)));
    let convnext = convnext::MODELS.iter();
    let convnext = convnext.map(|(name, traits)| (*name, Family::ConvNext(*traits)));
    let fastvit = fastvit::MODELS.iter();
    let fastvit = fastvit.map(|name| (*name, Family::FastVit));
    let vitamin = vitamin::MODELS.iter();
    let vitamin = vitamin.map(|(name, traits)| (*name, Family::Vitamin(*traits)));
    vit.chain(convnext).chain(fastvit).chain(vitamin)
}
