//! Reading a Parquet file of embeddings.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use half::f16;
use half::slice::HalfFloatSliceExt;
use parquet::basic::{Compression, Encoding, LogicalType, Type as Physical};
use parquet::column::reader::ColumnReader;
use parquet::data_type::FixedLenByteArray;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::RowGroupReader;
use parquet::file::serialized_reader::SerializedRowGroupReader;

use super::row::{COLUMNS, Dtype, EMBEDDING, Header, Row, WIDEST};

/// Rows that are decoded together.
const BATCH: usize = 256;
/// Bytes that are read at once where vectors are read in place: they fit into a core's cache.
const BLOCK: usize = 1 << 17;
/// Vectors may be so far from unit length: half precision and rounding move it by less.
const UNIT: f64 = 0.01;

/// A Parquet file with a column of embeddings, of this program or another.
#[derive(Debug)]
pub struct EmbeddingFile {
    /// Where it is.
    pub path: PathBuf,
    /// What the program that wrote it said of it; `None` in files of other programs.
    pub header: Option<Header>,
    /// Values of a vector.
    pub dimension: usize,
    metadata: Arc<ParquetMetaData>,
    /// The column of the vectors among the leaves of the schema.
    column: usize,
    /// How the values are stored.
    dtype: Dtype,
    /// Whether this program wrote its pages, which can be read in place.
    is_own: bool,
}

impl EmbeddingFile {
    /// Opens a file: reads its metadata, and no rows.
    ///
    /// # Errors
    /// When it cannot be read, is no Parquet file, or has no column of embeddings that is understood; the error says which, and names the file.
    pub fn open(path: &Path) -> Result<Self> {
        Self::read_metadata(path).with_context(|| format!("cannot use `{}`", path.display()))
    }

    fn read_metadata(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            bail!("it is a folder");
        }
        let length = file.metadata()?.len();
        let metadata = guarded(|| Ok(ParquetMetaDataReader::new().parse_and_finish(&file)?))
            .context("it is no whole Parquet file")?;
        let info = metadata.file_metadata();
        let schema = info.schema_descr();
        let column = (0..schema.num_columns())
            .find(|index| schema.column(*index).path().parts()[0] == EMBEDDING)
            .with_context(|| format!("it has no column `{EMBEDDING}`"))?;
        let descriptor = schema.column(column);
        let is_half = matches!(descriptor.logical_type_ref(), Some(LogicalType::Float16));
        let dtype = match descriptor.physical_type() {
            Physical::FLOAT => Dtype::F32,
            Physical::FIXED_LEN_BYTE_ARRAY if is_half && descriptor.type_length() == 2 => {
                Dtype::F16
            }
            other => bail!(
                "its column `{EMBEDDING}` holds {other} values, not lists of Float16 or Float32"
            ),
        };
        if descriptor.max_rep_level() != 1 {
            bail!("its column `{EMBEDDING}` holds no lists of numbers");
        }
        let values: HashMap<String, String> = (info.key_value_metadata().into_iter().flatten())
            .filter_map(|pair| Some((pair.key.clone(), pair.value.clone()?)))
            .collect();
        let header = Header::read(&values, dtype)?;
        let mut dimension = header.as_ref().map(|header| header.probe.len());
        for group in metadata.row_groups() {
            let chunk = group.column(column);
            let (rows, values) = (group.num_rows(), chunk.num_values());
            let whole = usize::try_from(values.checked_div(rows).unwrap_or_default())
                .ok()
                .filter(|width| (1..=WIDEST).contains(width))
                .filter(|width| rows.checked_mul(*width as i64) == Some(values))
                .context("its lists are not all of the same length")?;
            if *dimension.get_or_insert(whole) != whole {
                bail!("its lists are not all of the same length");
            }
            match chunk.compression() {
                Compression::UNCOMPRESSED | Compression::SNAPPY => {}
                other => bail!(
                    "its column `{EMBEDDING}` is compressed with {other}, which is not read: write it without compression, or with Snappy"
                ),
            }
            let (start, size) = (
                chunk
                    .dictionary_page_offset()
                    .unwrap_or(chunk.data_page_offset()),
                chunk.compressed_size(),
            );
            let end = start
                .checked_add(size)
                .and_then(|end| u64::try_from(end).ok());
            if start < 0 || size < 0 || end.is_none_or(|end| end > length) {
                bail!("it is damaged: a column lies outside of the file");
            }
        }
        Ok(Self {
            path: path.to_owned(),
            dimension: dimension.unwrap_or_default(),
            is_own: info
                .created_by()
                .is_some_and(|by| by.starts_with("phantasia ")),
            header,
            column,
            dtype,
            metadata: Arc::new(metadata),
        })
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        (self.metadata.row_groups().iter())
            .map(|group| usize::try_from(group.num_rows()).unwrap_or_default())
            .sum()
    }

    /// How many row groups it has.
    pub fn groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    /// Calls `each` with the number of every row of a row group, from 0, and its vector.
    pub(super) fn vectors(
        &self,
        group: usize,
        mut each: impl FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let context = || format!("cannot read the embeddings of `{}`", self.path.display());
        if self.can_read_in_place(group) {
            self.read_in_place(group, &mut each).with_context(context)
        } else {
            guarded(|| self.decode(group, &mut each)).with_context(context)
        }
    }

    /// Whether a row group's vectors lie one after the other at the end of a single page.
    fn can_read_in_place(&self, group: usize) -> bool {
        let chunk = self.metadata.row_group(group).column(self.column);
        self.is_own
            && chunk.compression() == Compression::UNCOMPRESSED
            && chunk.dictionary_page_offset().is_none()
            && chunk
                .encodings()
                .all(|encoding| matches!(encoding, Encoding::PLAIN | Encoding::RLE))
    }

    fn read_in_place(
        &self,
        group: usize,
        each: &mut impl FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let group = self.metadata.row_group(group);
        let rows = group.num_rows() as usize;
        let (start, length) = group.column(self.column).byte_range();
        let width = self.dimension * self.dtype.size();
        let offset = (length.checked_sub((rows * width) as u64))
            .context("it is damaged: a page is too short")?;
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(start + offset))?;
        let block = (BLOCK / width).max(1);
        let mut bytes = vec![0; block * width];
        let mut halves = vec![f16::ZERO; self.dimension];
        let mut vector = vec![0f32; self.dimension];
        for first in (0..rows).step_by(block) {
            let bytes = &mut bytes[..block.min(rows - first) * width];
            file.read_exact(bytes)?;
            for (row, bytes) in bytes.chunks_exact(width).enumerate() {
                match self.dtype {
                    Dtype::F16 => {
                        for (half, bytes) in halves.iter_mut().zip(bytes.as_chunks().0) {
                            *half = f16::from_le_bytes(*bytes);
                        }
                        halves.convert_to_f32_slice(&mut vector);
                    }
                    Dtype::F32 => {
                        for (value, bytes) in vector.iter_mut().zip(bytes.as_chunks().0) {
                            *value = f32::from_le_bytes(*bytes);
                        }
                    }
                }
                if first + row == 0 {
                    self.check_unit(&vector)?;
                }
                each(first + row, &vector)?;
            }
        }
        Ok(())
    }

    /// Refuses vectors of another length, in a file that says that they are of unit length: the bytes are not where they should be.
    fn check_unit(&self, vector: &[f32]) -> Result<()> {
        let length: f64 = vector.iter().map(|value| f64::from(*value).powi(2)).sum();
        if (length.sqrt() - 1.0).abs() < UNIT {
            return Ok(());
        }
        bail!("it is damaged: a vector is not of unit length")
    }

    /// Reads a row group page by page, as any program may have written it.
    fn decode(
        &self,
        group: usize,
        each: &mut impl FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let mut column = self.column_reader(group, self.column)?;
        let rows = self.metadata.row_group(group).num_rows() as usize;
        let full = self
            .metadata
            .file_metadata()
            .schema_descr()
            .column(self.column)
            .max_def_level();
        let mut floats = vec![];
        let (mut defined, mut starts) = (vec![], vec![]);
        let mut row = 0;
        while row < rows {
            floats.clear();
            defined.clear();
            starts.clear();
            let levels = (Some(&mut defined), Some(&mut starts));
            let (records, ..) = match &mut column {
                ColumnReader::FloatColumnReader(reader) => {
                    reader.read_records(BATCH, levels.0, levels.1, &mut floats)?
                }
                ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                    let mut halves = vec![];
                    let read = reader.read_records(BATCH, levels.0, levels.1, &mut halves)?;
                    let value = |half: &FixedLenByteArray| {
                        let bytes = <[u8; 2]>::try_from(half.data()).ok()?;
                        Some(f16::from_le_bytes(bytes).to_f32())
                    };
                    floats = halves.iter().filter_map(value).collect();
                    read
                }
                _ => bail!("its values are of another type than it says"),
            };
            if records == 0 {
                bail!("it is damaged: it has fewer rows than it says");
            }
            let is_whole = |(index, start): (usize, &i16)| {
                (*start == 0) == index.is_multiple_of(self.dimension)
            };
            if defined.iter().any(|level| *level != full)
                || floats.len() != records * self.dimension
                || !starts.iter().enumerate().all(is_whole)
            {
                bail!("a vector is missing or incomplete");
            }
            for vector in floats.chunks_exact(self.dimension) {
                each(row, vector)?;
                row += 1;
            }
        }
        Ok(())
    }

    /// The texts of a column in a row group; all are missing where there is no such column.
    pub(super) fn texts(&self, group: usize, name: &str) -> Result<Vec<Option<String>>> {
        let rows = self.metadata.row_group(group).num_rows() as usize;
        let Some(index) = self.leaf(name) else {
            return Ok(vec![None; rows]);
        };
        guarded(|| {
            let ColumnReader::ByteArrayColumnReader(mut reader) =
                self.column_reader(group, index)?
            else {
                bail!("it is not of texts");
            };
            let (mut values, mut levels) = (vec![], vec![]);
            let is_optional = self
                .metadata
                .file_metadata()
                .schema_descr()
                .column(index)
                .max_def_level()
                > 0;
            while levels.len().max(values.len()) < rows {
                let defined = is_optional.then_some(&mut levels);
                let (records, ..) = reader.read_records(rows, defined, None, &mut values)?;
                if records == 0 {
                    bail!("it has fewer rows than it says");
                }
            }
            let mut values = values.into_iter();
            let mut text = || {
                let bytes = values.next()?;
                Some(String::from_utf8_lossy(bytes.data()).into_owned())
            };
            Ok((0..rows)
                .map(|row| {
                    if is_optional && levels[row] == 0 {
                        None
                    } else {
                        text()
                    }
                })
                .collect())
        })
        .with_context(|| {
            format!(
                "cannot read the column `{name}` of `{}`",
                self.path.display()
            )
        })
    }

    fn numbers(&self, group: usize, name: &str) -> Result<Vec<u32>> {
        let rows = self.metadata.row_group(group).num_rows() as usize;
        let index = self
            .leaf(name)
            .with_context(|| format!("it has no column `{name}`"))?;
        let ColumnReader::Int32ColumnReader(mut reader) = self.column_reader(group, index)? else {
            bail!("its column `{name}` is not of whole numbers");
        };
        let mut values = vec![];
        reader.read_records(rows, None, None, &mut values)?;
        if values.len() != rows {
            bail!("its column `{name}` has fewer rows than it says");
        }
        Ok(values.into_iter().map(i32::cast_unsigned).collect())
    }

    /// The rows of a row group of a file that this program wrote.
    ///
    /// # Errors
    /// When the file was written by another program, cannot be read, or is damaged.
    pub fn read_rows(&self, group: usize) -> Result<Vec<Row>> {
        let count = self.metadata.row_group(group).num_rows() as usize;
        let mut embeddings = Vec::with_capacity(count);
        self.vectors(group, |_, vector| {
            embeddings.push(vector.to_vec());
            Ok(())
        })?;
        let mut texts = COLUMNS
            .map(|column| {
                if column.is_text {
                    self.texts(group, column.name)
                } else {
                    Ok(vec![])
                }
            })
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        let sizes = guarded(|| {
            Ok((
                self.numbers(group, "width")?,
                self.numbers(group, "height")?,
            ))
        })
        .with_context(|| format!("cannot read `{}`", self.path.display()))?;
        if embeddings.len() != count {
            bail!(
                "`{}` is damaged: it has fewer vectors than rows",
                self.path.display()
            );
        }
        Ok((embeddings.into_iter().enumerate())
            .map(|(row, embedding)| {
                let mut text = |column: usize| texts[column][row].take();
                Row {
                    image_path: text(0).unwrap_or_default(),
                    image_path_encoded: text(1),
                    key: text(2),
                    caption: text(3),
                    metadata: text(4),
                    width: sizes.0[row],
                    height: sizes.1[row],
                    sha256: text(7).unwrap_or_default(),
                    embedding,
                }
            })
            .collect())
    }

    /// The leaf of the schema of a top-level column.
    fn leaf(&self, name: &str) -> Option<usize> {
        let schema = self.metadata.file_metadata().schema_descr();
        (0..schema.num_columns()).find(|index| schema.column(*index).path().parts() == [name])
    }

    fn column_reader(&self, group: usize, column: usize) -> Result<ColumnReader> {
        let file = Arc::new(File::open(&self.path)?);
        let properties = Arc::new(ReaderProperties::builder().build());
        let pages = self.metadata.page_index_for_row_group(group);
        let group = self.metadata.row_group(group);
        let reader = SerializedRowGroupReader::new(file, group, pages, properties)?;
        Ok(reader.get_column_reader(column)?)
    }
}

/// Runs a reader on bytes that may be damaged. The library promises errors; where it panics all the same, that is an error too.
fn guarded<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(anyhow!("it is damaged")))
}
