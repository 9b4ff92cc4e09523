//! The bank of drawings that is part of the program.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use image::{ImageFormat, load_from_memory_with_format};
use serde::Deserialize;

/// The index of the bank, as it is stored.
#[derive(Deserialize)]
struct Index {
    things: Vec<IndexEntry>,
    places: Vec<IndexEntry>,
    /// Words that name things without a drawing, each with the first name of the entry that looks most like it.
    alike: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct IndexEntry {
    names: Vec<String>,
    /// Lengths in bytes.
    drawings: Vec<usize>,
}

/// What drawings show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One thing, on a transparent ground.
    Thing,
    /// A scene, opaque to its edges.
    Place,
}

/// The drawings of one thing or place.
#[derive(Debug)]
pub struct Entry {
    /// What it is called first.
    pub name: String,
    pub kind: Kind,
    /// Where its drawings lie in the data.
    drawings: Vec<Range<usize>>,
}

impl Entry {
    /// How many drawings there are.
    pub fn len(&self) -> usize {
        self.drawings.len()
    }
}

/// A drawing: sRGB in 0..=1 and opacity, row by row.
#[derive(Clone, Debug)]
pub struct Drawing {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<[f32; 4]>,
}

/// Drawings by name.
pub struct Bank {
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
    /// For each word that names a thing without a drawing, the entry that looks most like that thing.
    alike: HashMap<String, usize>,
    data: &'static [u8],
}

impl Bank {
    /// The bank that is part of the program.
    ///
    /// # Errors
    /// Only if the program is damaged.
    pub fn embedded() -> Result<Self> {
        let index = embedded_drawings::INDEX;
        Self::new(index, embedded_drawings::DRAWINGS).context("the embedded drawings are damaged")
    }

    fn new(index: &str, data: &'static [u8]) -> Result<Self> {
        let index: Index = serde_json::from_str(index)?;
        let (mut entries, mut by_name, mut end) = (vec![], HashMap::new(), 0);
        let things = index.things.into_iter().map(|entry| (Kind::Thing, entry));
        let places = index.places.into_iter().map(|entry| (Kind::Place, entry));
        for (kind, entry) in things.chain(places) {
            let drawings = (entry.drawings.into_iter()).map(|length| {
                let start = end;
                end += length;
                start..end
            });
            let drawings = drawings.collect();
            let name = entry.names.first().cloned().unwrap_or_default();
            for name in entry.names {
                by_name.entry(name).or_insert(entries.len());
            }
            entries.push(Entry {
                name,
                kind,
                drawings,
            });
        }
        ensure!(end == data.len(), "{end} bytes instead of {}", data.len());
        let alike = index.alike.into_iter().map(|(word, name)| {
            let entry = by_name.get(&name).copied();
            let entry = entry.with_context(|| format!("{word}: {name} has no drawing"))?;
            Ok((word, entry))
        });
        let alike = alike.collect::<Result<_>>()?;
        Ok(Self {
            entries,
            by_name,
            alike,
            data,
        })
    }

    /// All that has drawings.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of exactly that name, in lower case with single spaces. A plural finds its singular.
    pub fn named(&self, name: &str) -> Option<usize> {
        find(&self.by_name, name)
    }

    /// For a word that names a thing without a drawing, the entry that looks most like that thing: `sweater` finds a shirt. A plural finds its singular.
    pub fn alike(&self, word: &str) -> Option<usize> {
        find(&self.alike, word)
    }

    /// Decodes a drawing.
    ///
    /// # Errors
    /// Only if the program is damaged.
    pub fn drawing(&self, entry: usize, drawing: usize) -> Result<Drawing> {
        let entry = &self.entries[entry];
        let bytes = &self.data[entry.drawings[drawing].clone()];
        let image = load_from_memory_with_format(bytes, ImageFormat::WebP)
            .with_context(|| format!("the embedded drawing of `{}` is damaged", entry.name))?
            .into_rgba8();
        let [width, height] = [image.width(), image.height()].map(|side| side as usize);
        let pixels = (image.pixels())
            .map(|pixel| pixel.0.map(|value| f32::from(value) / 255.0))
            .collect();
        Ok(Drawing {
            width,
            height,
            pixels,
        })
    }
}

fn find(entries: &HashMap<String, usize>, name: &str) -> Option<usize> {
    let known = |name: &str| entries.get(name).copied();
    known(name).or_else(|| singulars(name).iter().find_map(|name| known(name)))
}

/// What a name may be in the singular, if it is a regular plural.
fn singulars(name: &str) -> Vec<String> {
    let Some(stem) = name.strip_suffix('s').filter(|stem| stem.len() > 2) else {
        return vec![];
    };
    let mut found = vec![stem.to_owned()];
    if let Some(shorter) = stem.strip_suffix("ie") {
        found.push(format!("{shorter}y"));
    }
    if let Some(shorter) = stem.strip_suffix('e') {
        found.push(shorter.to_owned());
    }
    if let Some(shorter) = stem.strip_suffix("ve") {
        found.extend([format!("{shorter}f"), format!("{shorter}fe")]);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drawing_of_the_bank_can_be_decoded() -> Result<()> {
        let bank = Bank::embedded()?;
        assert!(bank.entries().len() > 500);
        for (index, entry) in bank.entries().iter().enumerate() {
            assert!(entry.len() > 0, "{}", entry.name);
            // all of them take seconds
            if index % 16 != 0 {
                continue;
            }
            for drawing in 0..entry.len() {
                let drawing = bank.drawing(index, drawing)?;
                assert_eq!(drawing.pixels.len(), drawing.width * drawing.height);
                let opaque = drawing.pixels.iter().filter(|pixel| pixel[3] > 0.5).count();
                assert!(opaque * 50 > drawing.pixels.len(), "{}", entry.name);
            }
        }
        Ok(())
    }

    #[test]
    fn plurals_find_their_singular() -> Result<()> {
        let bank = Bank::embedded()?;
        let named = |name: &str| {
            bank.named(name)
                .map(|index| bank.entries()[index].name.clone())
        };
        assert_eq!(named("cats"), named("cat"));
        assert_eq!(named("butterflies"), named("butterfly"));
        assert_eq!(singulars("wolves"), ["wolve", "wolv", "wolf", "wolfe"]);
        assert!(named("cats").is_some() && named("categorical imperative").is_none());
        assert!(singulars("gas").is_empty() && singulars("cat").is_empty());
        Ok(())
    }
}
