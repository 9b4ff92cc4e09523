//! Whether a tokenizer belongs to the table of a text tower.

use phantasia_core::diagnostic::shown;

use super::Tokenizer;
use crate::error::ClipError;

/// Tokens beyond the table that a tokenizer may have, as a share of the table: mT5's has 100 of 250,000 that no text contains, and a table without
/// them is in order.
const SPARE: usize = 100;

impl Tokenizer {
    /// Refuses a tokenizer that was not made for a table with so many rows: one whose vocabulary is much larger, or whose tokens around a text
    /// are not in the table. A few tokens beyond the table are accepted until a text contains one.
    pub(crate) fn check_fits(&self, model: &str, rows: usize) -> Result<(), ClipError> {
        let frame = self.read_text(model, "")?;
        if let Some(id) = beyond(&frame.ids, rows) {
            return Err(self.misfit(model, "every text gets", id, rows));
        }
        // tokens that were added to it are not counted
        if self.inner.get_vocab_size(false) > rows + rows / SPARE {
            let last = self.inner.get_vocab(false).into_values().max();
            let id = last.unwrap_or_default();
            return Err(self.misfit(model, "its vocabulary has", id, rows));
        }
        Ok(())
    }

    /// Refuses tokens of a text that a table with so many rows does not have.
    pub(crate) fn check_ids(
        &self,
        model: &str,
        text: &str,
        ids: &[u32],
        rows: usize,
    ) -> Result<(), ClipError> {
        let Some(id) = beyond(ids, rows) else {
            return Ok(());
        };
        let whose = format!("the text \"{}\" gets", shown(text));
        Err(self.misfit(model, &whose, id, rows))
    }

    /// `whose` is a clause that ends before its object, the token.
    fn misfit(&self, model: &str, whose: &str, id: u32, rows: usize) -> ClipError {
        let token = self.inner.id_to_token(id).unwrap_or_default();
        ClipError::tokenizer(
            model,
            format!(
                "{whose} the token `{}` ({id}), but the text tower has the tokens 0 to {} alone ({rows} rows in its table): they do not belong together; put the model's own tokenizer.json next to its weights",
                shown(&token),
                rows.saturating_sub(1)
            ),
        )
    }
}

/// The first token that is not in a table of so many rows.
fn beyond(ids: &[u32], rows: usize) -> Option<u32> {
    ids.iter().copied().find(|id| *id as usize >= rows)
}
