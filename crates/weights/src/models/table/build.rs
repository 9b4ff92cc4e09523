//! Constructors of the table's entries.

use super::MAIN;
use super::files::{HUGGING_FACE, OPEN_CLIP};
use crate::models::{Files, Kind, Model};

pub const STANDARD: &str = "openai/clip-vit-base-patch32";
pub const NOT_STATED: &str = "not stated";
pub const META: &str = "CC-BY-NC-4.0";
pub const APPLE: &str = "Apple Sample Code";

pub const BASE: Model = Model {
    name: "",
    aliases: &[],
    kind: Kind::Clip,
    repository: "",
    revisions: MAIN,
    layouts: OPEN_CLIP,
    tokenizer: Some(STANDARD),
    quick_gelu: false,
    pads: false,
    megabytes: 0,
    licence: "MIT",
    about: "",
};

/// A CLIP in transformers' layout, called by its repository.
pub const fn openai(
    name: &'static str,
    aliases: &'static [&'static str],
    megabytes: u32,
    about: &'static str,
) -> Model {
    Model {
        name,
        repository: name,
        aliases,
        layouts: HUGGING_FACE,
        tokenizer: None,
        quick_gelu: true,
        megabytes,
        about,
        ..BASE
    }
}

/// A CLIP in open_clip's layout.
pub const fn open(
    name: &'static str,
    repository: &'static str,
    megabytes: u32,
    about: &'static str,
) -> Model {
    Model {
        name,
        repository,
        megabytes,
        about,
        ..BASE
    }
}

pub const fn quick(model: Model) -> Model {
    Model {
        quick_gelu: true,
        ..model
    }
}

pub const fn also(model: Model, aliases: &'static [&'static str]) -> Model {
    Model { aliases, ..model }
}

pub const fn under(model: Model, licence: &'static str) -> Model {
    Model { licence, ..model }
}

/// What is not a CLIP.
pub const fn other(
    kind: Kind,
    name: &'static str,
    repository: &'static str,
    layouts: &'static [Files],
    megabytes: u32,
) -> Model {
    Model {
        name,
        repository,
        kind,
        layouts,
        tokenizer: None,
        megabytes,
        ..BASE
    }
}

pub const fn about(model: Model, about: &'static str) -> Model {
    Model { about, ..model }
}
