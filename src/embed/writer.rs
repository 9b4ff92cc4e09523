//! Writing a Parquet file of embeddings.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use half::f16;
use parquet::basic::Encoding;
use parquet::data_type::{
    ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, FloatType, Int32Type,
};
use parquet::errors::Result;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::arrow_schema::arrow_schema;
use super::row::{COLUMNS, Dtype, EMBEDDING, Header, Row};
use crate::table::{created_by, write_optional};

/// Rows of a row group, at most.
pub(super) const GROUP: usize = 8192;
/// Bytes of texts in a row group, about, at most.
pub(super) const GROUP_TEXT: usize = 32 << 20;
/// Rows that are turned into values together.
const BATCH: usize = 256;

/// Writes rows, a row group at a time.
pub(super) struct Writer<W: Write + Send> {
    file: SerializedFileWriter<W>,
    header: Header,
    rows: Vec<Row>,
    text: usize,
}

impl<W: Write + Send> Writer<W> {
    pub fn new(to: W, header: &Header) -> Result<Self> {
        let fields: String = (COLUMNS.iter())
            .map(|column| {
                let repetition = if column.is_optional {
                    "OPTIONAL"
                } else {
                    "REQUIRED"
                };
                let name = column.name;
                if column.is_text {
                    format!("{repetition} BYTE_ARRAY {name} (STRING);\n")
                } else {
                    format!("{repetition} INT32 {name};\n")
                }
            })
            .collect();
        let element = match header.dtype {
            Dtype::F16 => "FIXED_LEN_BYTE_ARRAY (2) element (FLOAT16)",
            Dtype::F32 => "FLOAT element",
        };
        let schema = parse_message_type(&format!(
            "message schema {{\n{fields}REQUIRED GROUP {EMBEDDING} (LIST) {{ REPEATED GROUP list {{ REQUIRED {element}; }} }} }}"
        ))?;
        let dimension = header.probe.len();
        let arrow = arrow_schema(&COLUMNS, EMBEDDING, header.dtype, dimension);
        let metadata = (header.metadata().into_iter())
            .chain([("ARROW:schema", arrow)])
            .map(|(key, value)| KeyValue::new(key.to_owned(), value));
        let embedding =
            || ColumnPath::from(vec![EMBEDDING.into(), "list".into(), "element".into()]);
        let properties = WriterProperties::builder()
            .set_created_by(created_by())
            .set_key_value_metadata(Some(metadata.collect()))
            .set_dictionary_enabled(false)
            .set_encoding(Encoding::PLAIN)
            // the vectors of a row group are one page, so that they can be read in place
            .set_column_data_page_size_limit(embedding(), i32::MAX as usize)
            .set_column_data_page_row_count_limit(embedding(), GROUP)
            .set_column_statistics_enabled(embedding(), EnabledStatistics::None)
            .build();
        Ok(Self {
            file: SerializedFileWriter::new(to, Arc::new(schema), Arc::new(properties))?,
            header: header.clone(),
            rows: vec![],
            text: 0,
        })
    }

    pub fn push(&mut self, row: Row) -> Result<()> {
        self.text += row.text();
        self.rows.push(row);
        if self.rows.len() == GROUP || self.text >= GROUP_TEXT {
            self.flush()?;
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.file.close()?;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        self.text = 0;
        if rows.is_empty() {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        for column in &COLUMNS {
            let Some(mut writer) = group.next_column()? else {
                break;
            };
            let text = |row: &Row| Some(ByteArray::from(row.text_of(column.name)?.as_str()));
            if column.is_optional {
                write_optional(writer.typed::<ByteArrayType>(), &rows, text)?;
            } else if column.is_text {
                let values: Vec<ByteArray> = rows.iter().filter_map(text).collect();
                writer
                    .typed::<ByteArrayType>()
                    .write_batch(&values, None, None)?;
            } else {
                let number = |row: &Row| {
                    if column.name == "width" {
                        row.width
                    } else {
                        row.height
                    }
                    .cast_signed()
                };
                let values: Vec<i32> = rows.iter().map(number).collect();
                writer
                    .typed::<Int32Type>()
                    .write_batch(&values, None, None)?;
            }
            writer.close()?;
        }
        if let Some(mut writer) = group.next_column()? {
            let dimension = self.header.probe.len();
            for rows in rows.chunks(BATCH) {
                let count = rows.len() * dimension;
                let filled = vec![1; count];
                let starts: Vec<i16> = (0..count)
                    .map(|value| i16::from(!value.is_multiple_of(dimension)))
                    .collect();
                let (filled, starts) = (Some(filled.as_slice()), Some(starts.as_slice()));
                let values = rows.iter().flat_map(|row| row.embedding.iter().copied());
                match self.header.dtype {
                    Dtype::F32 => {
                        let values: Vec<f32> = values.collect();
                        writer
                            .typed::<FloatType>()
                            .write_batch(&values, filled, starts)?;
                    }
                    Dtype::F16 => {
                        let bytes = values.flat_map(|value| f16::from_f32(value).to_le_bytes());
                        let bytes = Bytes::from_iter(bytes);
                        let values: Vec<FixedLenByteArray> = (0..count)
                            .map(|value| {
                                ByteArray::from(bytes.slice(2 * value..2 * value + 2)).into()
                            })
                            .collect();
                        (writer.typed::<FixedLenByteArrayType>())
                            .write_batch(&values, filled, starts)?;
                    }
                }
            }
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }
}
