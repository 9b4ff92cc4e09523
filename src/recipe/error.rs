//! Why a recipe is refused.

use std::fmt;

use phantasia_core::{Diagnostic, DiagnosticKind, Location};

/// All that is wrong with a recipe.
#[derive(Debug)]
pub struct RecipeError {
    /// The file, or what else the recipe came from.
    pub origin: String,
    /// At least one.
    pub diagnostics: Vec<Diagnostic>,
}

impl RecipeError {
    /// An error with these diagnostics, in what `origin` names.
    pub fn new(origin: &str, diagnostics: Vec<Diagnostic>) -> Self {
        let origin = origin.to_owned();
        Self {
            origin,
            diagnostics,
        }
    }

    /// An error about the recipe as a whole, or about what stands at one location.
    pub(super) fn at(origin: &str, location: Location, kind: DiagnosticKind) -> Self {
        Self::new(origin, vec![Diagnostic::new(location, kind)])
    }
}

/// A line for each diagnostic, with the file, the line and the column.
impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match diagnostic.location {
                Location::Text { .. } => write!(f, "{}:", self.origin)?,
                Location::File => write!(f, "{}: ", self.origin)?,
                Location::Flag(_) => {}
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for RecipeError {}
