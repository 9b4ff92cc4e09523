//! What a row of embeddings is, and what a file says of all of its rows.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The column of the vectors.
pub(super) const EMBEDDING: &str = "image_embedding";
/// Widest embedding that is read.
pub(super) const WIDEST: usize = 1 << 16;

/// Keys of the file's metadata.
const CLIP: &str = "phantasia.clip";
const VERSION: &str = "phantasia.version";
const DIMENSION: &str = "phantasia.dimension";
const LENGTH: &str = "phantasia.embedding";
const PROBE: &str = "phantasia.probe";

/// How a vector's values are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dtype {
    /// Half precision: cosines change by less than 0.001.
    #[default]
    F16,
    /// Single precision, as they were computed.
    F32,
}

impl Dtype {
    /// Its name in arguments and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }

    /// Bytes of a value.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

/// A column besides the vectors.
pub(super) struct Column {
    pub name: &'static str,
    /// Else a whole number.
    pub is_text: bool,
    pub is_optional: bool,
}

impl Column {
    const fn text(name: &'static str, is_optional: bool) -> Self {
        Self {
            name,
            is_text: true,
            is_optional,
        }
    }

    const fn number(name: &'static str) -> Self {
        Self {
            name,
            is_text: false,
            is_optional: false,
        }
    }
}

/// The columns, in their order; the vectors come last.
pub(super) const COLUMNS: [Column; 8] = [
    Column::text("image_path", false),
    Column::text("image_path_encoded", true),
    Column::text("key", true),
    Column::text("caption", true),
    Column::text("metadata", true),
    Column::number("width"),
    Column::number("height"),
    Column::text("sha256", false),
];

/// A picture's row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The picture's file, or the tar archive that holds it.
    pub image_path: String,
    /// The path's bytes, percent-encoded, where it is not UTF-8.
    pub image_path_encoded: Option<String>,
    /// The key of the sample in a tar archive.
    pub key: Option<String>,
    /// The text that belongs to the picture.
    pub caption: Option<String>,
    /// What else belongs to the picture, as JSON.
    pub metadata: Option<String>,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The SHA-256 of the picture's bytes, in hexadecimal.
    pub sha256: String,
    /// Its embedding, of unit length.
    pub embedding: Vec<f32>,
}

impl Row {
    /// Bytes of its texts.
    pub(super) fn text(&self) -> usize {
        let optional = [
            &self.image_path_encoded,
            &self.key,
            &self.caption,
            &self.metadata,
        ];
        (optional.into_iter().flatten())
            .chain([&self.image_path, &self.sha256])
            .map(String::len)
            .sum()
    }

    /// The text in a column.
    pub(super) fn text_of(&self, column: &str) -> Option<&String> {
        match column {
            "image_path" => Some(&self.image_path),
            "image_path_encoded" => self.image_path_encoded.as_ref(),
            "key" => self.key.as_ref(),
            "caption" => self.caption.as_ref(),
            "metadata" => self.metadata.as_ref(),
            _ => Some(&self.sha256),
        }
    }
}

/// The metadata of an embeddings file, which holds for all of its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// The name of the CLIP, as it was given to `--clip`.
    pub clip: String,
    /// The CLIP's embedding of a fixed picture, by which it is recognised whatever it is called.
    pub probe: Vec<f32>,
    /// How the values are stored.
    pub dtype: Dtype,
}

impl Header {
    /// What the file's metadata says of it.
    pub(super) fn metadata(&self) -> [(&'static str, String); 5] {
        let probe: Vec<u8> = (self.probe.iter())
            .flat_map(|value| value.to_le_bytes())
            .collect();
        [
            (VERSION, env!("CARGO_PKG_VERSION").to_owned()),
            (CLIP, self.clip.clone()),
            (DIMENSION, self.probe.len().to_string()),
            (LENGTH, "unit length".to_owned()),
            (PROBE, STANDARD.encode(probe)),
        ]
    }

    /// What this program wrote about the rows, if it did.
    pub(super) fn read(values: &HashMap<String, String>, dtype: Dtype) -> Result<Option<Self>> {
        let Some(clip) = values.get(CLIP) else {
            return Ok(None);
        };
        let probe = (values.get(PROBE))
            .and_then(|text| STANDARD.decode(text).ok())
            .context("its metadata is damaged")?;
        let probe: Vec<f32> = (probe.as_chunks().0.iter())
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        if !(1..=WIDEST).contains(&probe.len()) || probe.iter().any(|value| !value.is_finite()) {
            bail!("its metadata is damaged");
        }
        Ok(Some(Self {
            clip: clip.clone(),
            probe,
            dtype,
        }))
    }
}
