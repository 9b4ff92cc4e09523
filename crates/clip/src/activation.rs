//! The nonlinearity of a CLIP's transformers, for models whose files do not state it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use frozen::Activation;
use schemars::JsonSchema;
use serde::de::IntoDeserializer;
use serde::de::value::Error as ValueError;
use serde::{Deserialize, Serialize};

/// The nonlinearity of a CLIP's transformers. ResNet image towers always use ReLU, and those from timm what timm
/// gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClipActivation {
    /// `x sigmoid(1.702 x)`: models by OpenAI and MetaCLIP, most of DFN's, and models that were fine-tuned from them.
    QuickGelu,
    /// GELU: models trained on LAION and DataComp, and open_clip's own.
    Gelu,
}

impl ClipActivation {
    /// The nonlinearity that the name of a weights file implies, and whether the name states it explicitly.
    pub(super) fn of_file(path: &Path) -> Option<(Self, bool)> {
        const METACLIP: [&str; 8] = [
            "b32_400m",
            "b16_400m",
            "l14_400m",
            "b32_fullcc2.5b",
            "b16_fullcc2.5b",
            "l14_fullcc2.5b",
            "h14_fullcc2.5b",
            "g14_fullcc2.5b",
        ];
        let name = path.file_stem()?.to_string_lossy().to_lowercase();
        if name.contains("quickgelu") {
            return Some((Self::QuickGelu, true));
        }
        (METACLIP.contains(&name.as_str())).then_some((Self::QuickGelu, false))
    }
}

impl From<ClipActivation> for Activation {
    fn from(activation: ClipActivation) -> Self {
        match activation {
            ClipActivation::QuickGelu => Self::QuickGelu,
            ClipActivation::Gelu => Self::Gelu,
        }
    }
}

/// The spelling in recipes and on the command line.
impl fmt::Display for ClipActivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl FromStr for ClipActivation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = Self::deserialize(text.into_deserializer());
        read.map_err(|_: ValueError| "expected quick_gelu or gelu".to_owned())
    }
}
