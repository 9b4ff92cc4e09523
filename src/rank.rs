//! CLIP as a judge: scores, rankings, classes and searches over many pictures.
//!
//! A [`Panel`] of one or several CLIPs looks at files ([`gallery`]); what it sees is compared with texts and pictures ([`query`],
//! [`score`]), with labels ([`classify`]), or kept to be searched ([`index`]); results are shown on contact sheets ([`sheet`]). In a [`tournament`]
//! renders of several seeds are its candidates. Pictures go through CLIP's own preprocessing
//! ([`crate::clip::preprocess`]), so that scores agree with those of other programs.

mod bracket;
pub mod classify;
pub mod eye;
pub mod gallery;
pub mod index;
pub mod query;
pub mod score;
pub mod sheet;
pub mod templates;
pub mod tournament;

pub use eye::{Eye, Panel};
