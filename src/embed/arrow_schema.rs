//! The Arrow schema of a table of embeddings, as Parquet files carry it under the key `ARROW:schema`: Base64 of an Arrow IPC message, whose
//! header is a FlatBuffer. Without it, readers would take the vectors for lists of any length.
//!
//! Formats: <https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format>, `Schema.fbs` and `Message.fbs` of Arrow, and
//! <https://flatbuffers.dev/internals/>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::row::{Column, Dtype};

/// `ARROW:schema` of these columns, followed by `embedding`, vectors of that length.
pub(super) fn arrow_schema(
    columns: &[Column],
    embedding: &str,
    dtype: Dtype,
    dimension: usize,
) -> String {
    let mut fields: Vec<Table> = (columns.iter())
        .map(|column| {
            // Type.Int has a width and a sign, Type.Utf8 nothing
            let (kind, parameters) = if column.is_text {
                (5, vec![])
            } else {
                (2, vec![(0, Value::I32(32)), (1, Value::U8(1))])
            };
            field(column.name, column.is_optional, kind, parameters, vec![])
        })
        .collect();
    let precision = match dtype {
        Dtype::F16 => 0,
        Dtype::F32 => 1,
    };
    let element = field(
        "element",
        false,
        3,
        vec![(0, Value::I16(precision))],
        vec![],
    );
    let length = vec![(0, Value::I32(dimension as i32))];
    fields.push(field(embedding, false, 16, length, vec![element]));
    // MetadataVersion.V5, MessageHeader.Schema
    let message = vec![
        (0, Value::I16(4)),
        (1, Value::U8(1)),
        (2, Value::Table(vec![(1, Value::Tables(fields))])),
    ];
    let mut buffer = vec![0; 4];
    let root = write_table(&mut buffer, &message) as u32;
    buffer[..4].copy_from_slice(&root.to_le_bytes());
    align(&mut buffer, 8);
    let mut bytes = u32::MAX.to_le_bytes().to_vec();
    bytes.extend((buffer.len() as u32).to_le_bytes());
    bytes.extend(buffer);
    STANDARD.encode(bytes)
}

/// `Field` of `Schema.fbs`.
fn field(
    name: &str,
    is_nullable: bool,
    kind: u8,
    parameters: Table,
    children: Vec<Table>,
) -> Table {
    vec![
        (0, Value::Text(name.to_owned())),
        (1, Value::U8(u8::from(is_nullable))),
        (2, Value::U8(kind)),
        (3, Value::Table(parameters)),
        (5, Value::Tables(children)),
    ]
}

/// A FlatBuffer's table: values by the numbers of their fields, which ascend.
type Table = Vec<(usize, Value)>;

enum Value {
    U8(u8),
    I16(i16),
    I32(i32),
    Text(String),
    Table(Table),
    Tables(Vec<Table>),
}

/// Appends a table, its `vtable` before it and what it refers to after it, and returns its position.
fn write_table(out: &mut Vec<u8>, table: &Table) -> usize {
    let slots = table.last().map_or(0, |(field, _)| field + 1);
    let head = 4 + 2 * slots;
    // the table itself is aligned, so that its fields can be
    while !(out.len() + head).is_multiple_of(4) {
        out.push(0);
    }
    let vtable = out.len();
    out.resize(vtable + head, 0);
    let start = out.len();
    out.extend((head as i32).to_le_bytes());
    let mut references = vec![];
    for (field, value) in table {
        let bytes = match value {
            Value::U8(value) => vec![*value],
            Value::I16(value) => value.to_le_bytes().to_vec(),
            Value::I32(value) => value.to_le_bytes().to_vec(),
            reference => {
                align(out, 4);
                references.push((out.len(), reference));
                vec![0; 4]
            }
        };
        align(out, bytes.len());
        let slot = vtable + 4 + 2 * field;
        let offset = (out.len() - start) as u16;
        out[slot..slot + 2].copy_from_slice(&offset.to_le_bytes());
        out.extend(bytes);
    }
    let size = (out.len() - start) as u16;
    out[vtable..vtable + 2].copy_from_slice(&(head as u16).to_le_bytes());
    out[vtable + 2..vtable + 4].copy_from_slice(&size.to_le_bytes());
    for (at, value) in references {
        let target = match value {
            Value::Text(text) => {
                align(out, 4);
                let target = out.len();
                out.extend((text.len() as u32).to_le_bytes());
                out.extend(text.as_bytes());
                out.push(0);
                target
            }
            Value::Tables(tables) => {
                align(out, 4);
                let target = out.len();
                out.extend((tables.len() as u32).to_le_bytes());
                out.resize(out.len() + 4 * tables.len(), 0);
                for (index, table) in tables.iter().enumerate() {
                    let position = write_table(out, table);
                    refer(out, target + 4 + 4 * index, position);
                }
                target
            }
            Value::Table(table) => write_table(out, table),
            _ => continue,
        };
        refer(out, at, target);
    }
    start
}

/// Writes the distance from `at` to `target`.
fn refer(out: &mut [u8], at: usize, target: usize) {
    out[at..at + 4].copy_from_slice(&((target - at) as u32).to_le_bytes());
}

fn align(out: &mut Vec<u8>, to: usize) {
    while !out.len().is_multiple_of(to) {
        out.push(0);
    }
}
