//! A tree of values to YAML: what a run folder's recipe is written with.

use std::fmt::Write as _;

use serde_json::Value;

use super::yaml::{Scalar, resolve};

/// A list of scalars is written in one line up to this many characters.
const LINE: usize = 100;

/// Writes values as YAML: maps and lists of maps a line an entry, other lists in one line where they are short.
pub(super) fn write(value: &Value) -> String {
    let mut text = String::new();
    write_block(&mut text, value, 0);
    text
}

fn write_block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (index, (key, item)) in entries.iter().enumerate() {
                if index > 0 {
                    pad(out, indent);
                }
                out.push_str(&scalar(key));
                out.push(':');
                write_value(out, item, indent + 2);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    pad(out, indent);
                }
                out.push_str("- ");
                write_block(out, item, indent + 2);
            }
        }
        _ => {
            out.push_str(&inline(value));
            out.push('\n');
        }
    }
}

/// What follows a key's colon: in the same line, or indented in the lines below.
fn write_value(out: &mut String, value: &Value, indent: usize) {
    let nested = match value {
        Value::Object(entries) => !entries.is_empty(),
        Value::Array(items) => {
            items.iter().any(|item| item.is_object() || item.is_array())
                || inline(value).chars().count() > LINE
        }
        _ => false,
    };
    if nested {
        out.push('\n');
        pad(out, indent);
        write_block(out, value, indent);
    } else {
        out.push(' ');
        out.push_str(&inline(value));
        out.push('\n');
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        // Null, booleans and numbers are the same in JSON, and so is an empty map.
        _ => value.to_string(),
    }
}

/// A text as a scalar: plain where nothing in it could be read otherwise, else in double quotes.
fn scalar(text: &str) -> String {
    let safe = |c: char| c.is_alphanumeric() || " _-./%()^*+'".contains(c);
    let plain = text.starts_with(|c: char| c.is_alphabetic())
        && !text.ends_with(' ')
        && text.chars().all(safe)
        && matches!(resolve(text, true), Scalar::Text(_));
    if plain {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control()
                || matches!(
                    c,
                    '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
                ) =>
            {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::yaml::{Content, Node, read};
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let value = serde_json::json!({
            "plain": "a cat, black",
            "words": ["true", "1", "~", "", " x", "x ", "- x", "a: b", "#c", "é\u{85}\n\t\"\\\u{0}"],
            "list": [{ "a": 1, "b": [] }, { "c": { "d": null } }, "e", [1, 2]],
            "empty": {},
            "long": ["a very long text ".repeat(9)],
        });
        let back = read(&write(&value)).unwrap();
        assert_eq!(to_value(&back), value, "{}", write(&value));
    }

    fn to_value(node: &Node) -> Value {
        match &node.content {
            Content::Scalar { text, plain } => match resolve(text, *plain) {
                Scalar::Null => Value::Null,
                Scalar::Bool(value) => value.into(),
                Scalar::Unsigned(value) => value.into(),
                Scalar::Signed(value) => value.into(),
                Scalar::Float(value) => value.into(),
                Scalar::Text(text) => text.into(),
            },
            Content::Removed => Value::Null,
            Content::List(items) => items.iter().map(to_value).collect(),
            Content::Map(entries) => entries
                .iter()
                .map(|(key, node)| (key.name.clone(), to_value(node)))
                .collect(),
        }
    }
}
