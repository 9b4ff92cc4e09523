//! From a file or a folder to the network that it holds.

use std::path::{Path, PathBuf};

use candle_core::Device;
use weights::checkpoint::Checkpoint;
use weights::models::{EMBEDDED, ModelKind, file_in, only_weights};

use super::{
    GanError, Network, NetworkOptions, biggan, fastgan, lightweight, stylegan2, stylegan3,
};

/// Reads a network.
pub type Reader = fn(&Checkpoint, &NetworkOptions, &Device) -> Result<Box<dyn Network>, GanError>;

/// An architecture, and how it is recognised and read.
pub struct Architecture {
    /// Its name, for messages.
    pub name: &'static str,
    /// Names of tensors, one of which every checkpoint of its generator has, whatever the prefix. They are tried in this order, so that the
    /// average of weights can come before the weights.
    pub marks: &'static [&'static str],
    /// Reads the network. The names of the checkpoint are relative to the prefix of the mark that was found.
    pub read: Reader,
}

/// All architectures, in the order in which they are tried.
pub const ARCHITECTURES: &[Architecture] = &[
    fastgan::ARCHITECTURE,
    lightweight::ARCHITECTURE,
    stylegan2::ARCHITECTURE,
    stylegan3::ARCHITECTURE,
    biggan::ARCHITECTURE,
];

/// Reads the network that a file or a folder holds.
///
/// # Errors
/// Where there is none, it is of no known architecture, a tensor is missing or of another shape than expected, or an option is not the architecture's.
pub fn open(
    path: &Path,
    options: &NetworkOptions,
    device: &Device,
) -> Result<(Box<dyn Network>, Vec<String>), GanError> {
    let file = if path.is_dir() {
        &in_folder(path)?
    } else {
        path
    };
    read(&mut Checkpoint::open(file)?, options, device)
}

/// The network that is part of the program: a FastGAN of places, 64 x 64 pixels. `tools/embedded-gan` trains it.
///
/// # Errors
/// Where an option is not FastGAN's, or candle cannot make the network.
pub fn embedded(
    options: &NetworkOptions,
    device: &Device,
) -> Result<(Box<dyn Network>, Vec<String>), GanError> {
    let mut checkpoint = Checkpoint::from_static(EMBEDDED, embedded_gan::WEIGHTS)?;
    read(&mut checkpoint, options, device)
}

/// The settings that are given and that the embedded network does not have, each with the error that says so.
pub(super) fn refused_by_embedded(
    options: &NetworkOptions,
) -> impl Iterator<Item = (&'static str, GanError)> {
    options.refused(fastgan::ARCHITECTURE.name, &[])
}

/// Reads the network that a checkpoint holds. Returns notes for the user as well, such as about tensors that are not used.
///
/// # Errors
/// As [`open`].
pub fn read(
    checkpoint: &mut Checkpoint,
    options: &NetworkOptions,
    device: &Device,
) -> Result<(Box<dyn Network>, Vec<String>), GanError> {
    for architecture in ARCHITECTURES {
        for mark in architecture.marks {
            if !checkpoint.locate(&[mark])? {
                continue;
            }
            let in_words = |error| match error {
                GanError::Checkpoint(error) => GanError::Weights {
                    architecture: architecture.name,
                    error,
                },
                error => error,
            };
            let network = (architecture.read)(checkpoint, options, device).map_err(in_words)?;
            return Ok((network, vec![]));
        }
    }
    let found = match checkpoint.keys().next() {
        Some(name) => format!("its first one is `{name}`"),
        None => "it has none".to_owned(),
    };
    let wanted = ARCHITECTURES
        .iter()
        .map(|architecture| format!("{} (`{}`)", architecture.name, architecture.marks[0]));
    Err(GanError::Unknown {
        origin: checkpoint.origin().to_owned(),
        wanted: Vec::from_iter(wanted).join(", "),
        found,
    })
}

/// The weights in a folder.
fn in_folder(folder: &Path) -> Result<PathBuf, GanError> {
    let names = &ModelKind::Gan.weights().names;
    (file_in(folder, names).or_else(|| only_weights(folder))).ok_or_else(|| GanError::Empty {
        folder: folder.display().to_string(),
        wanted: names.join(" or "),
    })
}
