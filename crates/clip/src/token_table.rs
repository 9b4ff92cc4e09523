//! The table of a text tower's token embeddings.

use candle_core::{Device, Error, Result as CandleResult, Tensor};
use frozen::Embedding;
use weights::checkpoint::{Branch, CheckpointError, Rows};

/// The embeddings of all tokens. A text needs few of them, and a table may have a million: it stays in its file where its rows can be read one
/// by one.
pub struct TokenTable {
    rows: usize,
    place: Place,
}

/// Where the rows are.
enum Place {
    File(Rows),
    Memory(Embedding, Device),
}

impl TokenTable {
    /// The table of that name and shape.
    pub fn read(
        weights: Branch<'_>,
        name: &str,
        shape: [usize; 2],
        device: &Device,
    ) -> Result<Self, CheckpointError> {
        let place = match weights.rows(name, shape)? {
            Some(rows) => Place::File(rows),
            None => {
                let table = Embedding::new(weights.get(name, &shape)?)?;
                Place::Memory(table, device.clone())
            }
        };
        let [rows, _] = shape;
        Ok(Self { rows, place })
    }

    /// How many tokens it has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The embeddings of these tokens, `[1, tokens, width]`.
    ///
    /// # Errors
    /// If one is not in the vocabulary, or the file cannot be read any more.
    pub fn lookup(&self, ids: &[u32]) -> CandleResult<Tensor> {
        let rows = match &self.place {
            Place::File(rows) => rows.read(ids).map_err(Error::wrap)?,
            Place::Memory(table, device) => table.lookup(&Tensor::new(ids, device)?)?,
        };
        rows.unsqueeze(0)
    }
}
