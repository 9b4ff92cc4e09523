//! The models that are part of the program: a CLIP, and a VQGAN, a GAN and a diffusion model to paint with. All are called `embedded`, each where its kind is asked for.

use super::table::ModelKind;

/// The name of the CLIP that is part of the program, and of the models in `kind: vqgan`, `latent`, `gan` and `diffusion`.
pub const EMBEDDED: &str = "embedded";
/// What the names of its parts begin with.
const PREFIX: &str = "embedded/";

/// The CLIP that is part of the program, or one of its image towers with the text tower that they share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EmbeddedModel {
    /// All of it: both networks.
    #[default]
    Whole,
    /// The vision transformer.
    Transformer,
    /// The residual network.
    ResNet,
}

impl EmbeddedModel {
    /// All that can be named.
    pub const ALL: [Self; 3] = [Self::Whole, Self::Transformer, Self::ResNet];

    /// The model of that name.
    pub fn parse(name: &str) -> Option<Self> {
        (Self::ALL.into_iter()).find(|model| model.name() == name)
    }

    /// Its name in recipes and commands.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => EMBEDDED,
            Self::Transformer => "embedded/transformer",
            Self::ResNet => "embedded/resnet",
        }
    }

    /// What it is, in a few words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Whole => "part of the program",
            Self::Transformer => "its vision transformer alone, which leaves the other to judge",
            Self::ResNet => "its residual network alone",
        }
    }

    /// Whether an image tower is part of both.
    pub fn overlaps(self, other: Self) -> bool {
        self == other || self == Self::Whole || other == Self::Whole
    }
}

/// The name of each model that is part of the program, its kind, and what it is in a few words.
pub fn embedded_models() -> impl Iterator<Item = (&'static str, ModelKind, &'static str)> {
    let clips = EmbeddedModel::ALL
        .into_iter()
        .map(|model| (model.name(), ModelKind::Clip, model.about()));
    let others = [
        (
            ModelKind::Vqgan,
            "part of the program, for the kinds vqgan and latent",
        ),
        (
            ModelKind::Gan,
            "part of the program: places, 64 pixels a side",
        ),
        (
            ModelKind::Diffusion,
            "part of the program: drawings and places, by a text",
        ),
    ];
    clips.chain(others.map(|(kind, about)| (EMBEDDED, kind, about)))
}

/// Whether a name is that of a model that is part of the program, or of a part of the CLIP.
pub fn is_embedded(name: &str) -> bool {
    EmbeddedModel::parse(name).is_some()
}

/// Whether a name is a misspelling of an embedded CLIP's: in another case, with a revision, or with an unknown part.
pub(super) fn is_misnamed(name: &str) -> bool {
    let plain = plain(name);
    (plain == EMBEDDED || plain.starts_with(PREFIX)) && !is_embedded(name)
}

/// The correct spelling of a misspelled name, if it can be told.
pub(super) fn meant(name: &str) -> Option<&'static str> {
    EmbeddedModel::parse(plain(name).trim_end_matches('/')).map(EmbeddedModel::name)
}

/// A name in small letters, without a revision.
fn plain(name: &str) -> String {
    let (name, _) = name.split_once('@').unwrap_or((name, ""));
    name.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_their_models() {
        for model in EmbeddedModel::ALL {
            assert_eq!(EmbeddedModel::parse(model.name()), Some(model));
        }
        for name in ["", "embedded/", "embedded/things", "Embedded", "embedded "] {
            assert!(!is_embedded(name), "{name:?}");
        }
    }

    #[test]
    fn the_two_networks_have_nothing_in_common() {
        use EmbeddedModel::{ResNet, Transformer, Whole};
        assert!(Whole.overlaps(ResNet) && Transformer.overlaps(Whole) && ResNet.overlaps(ResNet));
        assert!(!Transformer.overlaps(ResNet) && !ResNet.overlaps(Transformer));
    }
}
