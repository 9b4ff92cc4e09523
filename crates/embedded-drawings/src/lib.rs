//! The drawings that Phantasia's retrieval prior starts from, as data.
//!
//! Single drawings of everyday things, several by different hands of each, and pictures of whole places, with the names that
//! people call them. It is a crate of its own because a packed crate has at most 10 MB. How it was made, and of what:
//! `tools/embedded-drawings` and NOTICE in the repository.

/// What there is: `{"size": 64, "things": [entry, ...], "places": [entry, ...], "alike": {"sweater": "shirt", ...}}`, an entry being
/// `{"names": ["cat", "kitty", ...], "drawings": [712, 654, ...]}`.
///
/// The first name is the main one (singular, lower case), the others are exact synonyms and irregular plurals; no name stands for two
/// entries. `drawings` are the lengths in bytes of the entry's images in [`DRAWINGS`]. `alike` has words that name things without a
/// drawing, each with the main name of the entry that looks most like it.
pub const INDEX: &str = include_str!("index.json");

/// WebP images one after another, in the order of the index: those of all things, then those of all places.
///
/// A thing is RGBA, cut to its outline and a pixel, its longest side `size` pixels; a place is an opaque picture of `size` by `size`
/// pixels, to be stretched to the shape of the picture that it is laid under.
pub const DRAWINGS: &[u8] = include_bytes!("drawings.bin");
