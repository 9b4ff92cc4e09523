//! Tables of results as Parquet, which pandas, DuckDB and spreadsheets read.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::column::writer::ColumnWriterImpl;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use crate::files::{OutputError, write_whole};

/// Rows that are written together.
const GROUP: usize = 1 << 16;

/// One value of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    U64(u64),
    /// A number.
    F64(f64),
    /// A text.
    Text(String),
}

/// What all cells of a column can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    U64,
    F64,
    Text,
}

impl Kind {
    /// The kind of a column: whole numbers among numbers are numbers, and anything else that is mixed is text.
    fn of<'a>(cells: impl Iterator<Item = &'a Cell>) -> Self {
        let kinds = cells.filter_map(|cell| match cell {
            Cell::Null => None,
            Cell::Bool(_) => Some(Self::Bool),
            Cell::U64(_) => Some(Self::U64),
            Cell::F64(_) => Some(Self::F64),
            Cell::Text(_) => Some(Self::Text),
        });
        kinds
            .reduce(|a, b| match (a, b) {
                (a, b) if a == b => a,
                (Self::U64 | Self::F64, Self::U64 | Self::F64) => Self::F64,
                _ => Self::Text,
            })
            .unwrap_or(Self::Text)
    }

    fn schema(self, name: &str) -> ParquetResult<Type> {
        let (physical, logical) = match self {
            Self::Bool => (Physical::BOOLEAN, None),
            Self::U64 => {
                let unsigned = LogicalType::integer(64, false);
                (Physical::INT64, Some(unsigned))
            }
            Self::F64 => (Physical::DOUBLE, None),
            Self::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .with_converted_type(ConvertedType::NONE)
            .build()
    }
}

impl Cell {
    /// What a text means: nothing where it is empty, else a truth value, a number or a text.
    pub fn parse(text: &str) -> Self {
        let number = |text: &str| text.parse().ok().filter(|value: &f64| value.is_finite());
        match text {
            "" => Self::Null,
            "true" => Self::Bool(true),
            "false" => Self::Bool(false),
            _ => (text.parse().ok().map(Self::U64))
                .or_else(|| number(text).map(Self::F64))
                .unwrap_or_else(|| Self::Text(text.to_owned())),
        }
    }

    /// The cell as text: what a column of several kinds holds.
    fn text(&self) -> Option<ByteArray> {
        let text = match self {
            Self::Null => return None,
            Self::Bool(value) => value.to_string(),
            Self::U64(value) => value.to_string(),
            Self::F64(value) => value.to_string(),
            Self::Text(value) => value.clone(),
        };
        Some(text.into_bytes().into())
    }
}

/// The cells of rows of texts: those of a column are truth values or numbers if all of them mean such, else they stay the texts that they are.
pub fn parse_cells(rows: &[Vec<String>]) -> Vec<Vec<Cell>> {
    let mut cells: Vec<Vec<Cell>> = (rows.iter())
        .map(|row| row.iter().map(|text| Cell::parse(text)).collect())
        .collect();
    for column in 0..rows.iter().map(Vec::len).max().unwrap_or_default() {
        if Kind::of(cells.iter().filter_map(|row| row.get(column))) == Kind::Text {
            for (row, texts) in cells.iter_mut().zip(rows) {
                if let Some((cell, text)) = row.get_mut(column).zip(texts.get(column))
                    && *cell != Cell::Null
                {
                    *cell = Cell::Text(text.clone());
                }
            }
        }
    }
    cells
}

/// Writes a table as Parquet, whole or not at all. Every row has a cell for each column; a column that holds only whole numbers is one of
/// `UINT64`, numbers are `DOUBLE`, truth values `BOOLEAN`, texts and mixtures UTF-8. Every column may hold nulls, and a shorter row ends in them.
///
/// # Errors
/// When the file cannot be written.
pub fn write_parquet<C: AsRef<str>>(
    path: &Path,
    columns: &[C],
    rows: &[Vec<Cell>],
) -> Result<(), OutputError> {
    write_whole(path, true, |file| {
        write(file, columns, rows).map_err(io_error)
    })
}

/// As [`write_parquet`], the bytes of the file.
///
/// # Errors
/// When the writer fails.
pub fn parquet_bytes<C: AsRef<str>>(columns: &[C], rows: &[Vec<Cell>]) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    write(&mut bytes, columns, rows).map_err(io_error)?;
    Ok(bytes)
}

fn write<C: AsRef<str>>(
    to: impl io::Write + Send,
    columns: &[C],
    rows: &[Vec<Cell>],
) -> ParquetResult<()> {
    let cells = |column: usize, rows: &'_ [Vec<Cell>]| -> Vec<Cell> {
        (rows.iter())
            .map(|row| row.get(column).cloned().unwrap_or(Cell::Null))
            .collect()
    };
    let kinds: Vec<Kind> = (0..columns.len())
        .map(|column| Kind::of(rows.iter().filter_map(|row| row.get(column))))
        .collect();
    let fields = (columns.iter().zip(&kinds))
        .map(|(name, kind)| Ok(Arc::new(kind.schema(name.as_ref())?)))
        .collect::<ParquetResult<_>>()?;
    let schema = Type::group_type_builder("schema")
        .with_fields(fields)
        .build()?;
    let mut writer = SerializedFileWriter::new(to, Arc::new(schema), Arc::new(properties()))?;
    for rows in rows.chunks(GROUP) {
        let mut group = writer.next_row_group()?;
        let mut index = 0;
        while let Some(mut column) = group.next_column()? {
            let cells = cells(index, rows);
            match kinds[index] {
                Kind::Bool => {
                    write_optional(column.typed::<BoolType>(), &cells, |cell| match cell {
                        Cell::Bool(value) => Some(*value),
                        _ => None,
                    })
                }
                Kind::U64 => {
                    write_optional(column.typed::<Int64Type>(), &cells, |cell| match cell {
                        // the bits of an unsigned number, as the format has it
                        Cell::U64(value) => Some(value.cast_signed()),
                        _ => None,
                    })
                }
                Kind::F64 => {
                    write_optional(column.typed::<DoubleType>(), &cells, |cell| match cell {
                        Cell::F64(value) => Some(*value),
                        Cell::U64(value) => Some(*value as f64),
                        _ => None,
                    })
                }
                Kind::Text => write_optional(column.typed::<ByteArrayType>(), &cells, Cell::text),
            }?;
            column.close()?;
            index += 1;
        }
        group.close()?;
    }
    writer.close()?;
    Ok(())
}

/// Writes a column of values that may be missing.
pub(crate) fn write_optional<T: DataType, C>(
    column: &mut ColumnWriterImpl<'_, T>,
    cells: &[C],
    value: impl Fn(&C) -> Option<T::T>,
) -> ParquetResult<()> {
    let cells: Vec<Option<T::T>> = cells.iter().map(value).collect();
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.into_iter().flatten().collect();
    column.write_batch(&values, Some(&levels), None)?;
    Ok(())
}

/// How tables are written: not compressed, and with the program's name.
fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_created_by(created_by())
        .build()
}

/// The program and its version, as Parquet's `created_by`.
pub(crate) fn created_by() -> String {
    format!("phantasia version {}", env!("CARGO_PKG_VERSION"))
}

/// The cause of an error while writing, so that a full disk is known as one.
pub(crate) fn io_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(cause) => *cause,
            Err(cause) => io::Error::other(cause),
        },
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    #[test]
    fn a_table_is_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("table.parquet");
        let text = |text: &str| Cell::Text(text.to_owned());
        let rows = [
            vec![
                Cell::U64(u64::MAX),
                Cell::F64(0.5),
                text("é, \"x\""),
                Cell::Bool(true),
                Cell::U64(1),
                Cell::Null,
            ],
            vec![
                Cell::Null,
                Cell::U64(2),
                Cell::Null,
                Cell::Bool(false),
                text("random"),
            ],
        ];
        let columns = ["seed", "loss", "prompt", "whole", "mixed", "empty"];
        write_parquet(&path, &columns, &rows).expect("a table");
        let file = std::fs::File::open(&path).expect("the table");
        let reader = SerializedFileReader::new(file).expect("Parquet");
        let read: Vec<Vec<(String, Field)>> = (reader.get_row_iter(None).expect("rows"))
            .map(|row| {
                let row = row.expect("a row");
                row.get_column_iter()
                    .map(|(name, field)| (name.clone(), field.clone()))
                    .collect()
            })
            .collect();
        let fields = |index: usize| -> Vec<Field> {
            read[index].iter().map(|(_, field)| field.clone()).collect()
        };
        let names: Vec<&str> = read[0].iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, columns);
        let text = |text: &str| Field::Str(text.to_owned());
        assert_eq!(
            fields(0),
            [
                Field::ULong(u64::MAX),
                Field::Double(0.5),
                text("é, \"x\""),
                Field::Bool(true),
                text("1"),
                Field::Null
            ]
        );
        assert_eq!(
            fields(1),
            [
                Field::Null,
                Field::Double(2.0),
                Field::Null,
                Field::Bool(false),
                text("random"),
                Field::Null
            ]
        );
    }

    #[test]
    fn texts_that_all_mean_numbers_are_numbers() {
        let rows = [["1", "1.50", "true", "1.50"], ["", "2", "false", "red"]]
            .map(|row| row.map(str::to_owned).to_vec());
        let text = |text: &str| Cell::Text(text.to_owned());
        assert_eq!(
            parse_cells(&rows),
            [
                vec![Cell::U64(1), Cell::F64(1.5), Cell::Bool(true), text("1.50")],
                vec![Cell::Null, Cell::U64(2), Cell::Bool(false), text("red")],
            ]
        );
    }

    #[test]
    fn a_table_without_rows_has_its_columns() {
        let mut bytes = vec![];
        write(&mut bytes, &["a"], &[] as &[Vec<Cell>]).expect("a table");
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).expect("Parquet");
        assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
        assert_eq!(
            reader
                .metadata()
                .file_metadata()
                .schema_descr()
                .num_columns(),
            1
        );
    }
}
