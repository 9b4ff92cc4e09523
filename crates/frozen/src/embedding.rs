//! Rows of a table by number.

use candle_core::{DType, Result, Tensor, bail};

/// A table of vectors, looked up by row number. Row numbers are discrete: there is no gradient.
#[derive(Clone, Debug)]
pub struct Embedding {
    table: Tensor,
}

impl Embedding {
    /// `table` is [n, d].
    ///
    /// # Errors
    /// Where the table has another rank.
    pub fn new(table: Tensor) -> Result<Self> {
        if table.rank() != 2 {
            bail!(
                "Embedding: the table must be [n, d], found {:?}",
                table.shape()
            );
        }
        Ok(Self {
            table: table.detach().contiguous()?,
        })
    }

    /// The table, [n, d].
    pub fn table(&self) -> &Tensor {
        &self.table
    }

    /// The rows of these numbers: integers of any shape [...] give [..., d].
    ///
    /// # Errors
    /// Where `ids` are not integers, or one of them is not a row of the table (which a GPU would not notice).
    pub fn lookup(&self, ids: &Tensor) -> Result<Tensor> {
        let (n, d) = self.table.dims2()?;
        if !matches!(ids.dtype(), DType::U8 | DType::U32 | DType::I64) {
            bail!("Embedding: ids must be integers, found {:?}", ids.dtype());
        }
        let mut dims = ids.dims().to_vec();
        dims.push(d);
        let ids = ids.flatten_all()?;
        let numbers = ids.to_dtype(DType::I64)?.to_vec1::<i64>()?;
        if let Some(id) = numbers.iter().find(|&&id| id < 0 || id as u64 >= n as u64) {
            bail!("Embedding: id {id} is not in 0..{n}");
        }
        self.table
            .index_select(&ids.contiguous()?, 0)?
            .reshape(dims)
    }
}
