//! YAML: a text to a tree whose every node knows its location, and values to a text. This is the only file that uses the YAML library.

use std::collections::HashMap;
use std::fmt;

use phantasia_core::diagnostic::{Diagnostic, DiagnosticKind, Location};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_yaml::budget::BudgetBreach;
use serde_yaml::{
    DuplicateKeyPolicy, Error, FlowSeq, MergeKeyPolicy, MessageFormatter as _,
    NonFiniteFloatPolicy, Spanned, Tagged, UserMessageFormatter,
};

use super::hint;
use super::node::{Content, Key, Node, Scalar};

/// Deepest nesting of lists and maps.
const MAX_DEPTH: usize = 32;
/// Most nodes of a tree, with aliases expanded.
pub(super) const MAX_NODES: usize = 50_000;
/// Most bytes of text that aliases expand to.
const MAX_ALIASED: usize = 1 << 20;
/// A list of scalars is written in one line up to this many bytes of JSON.
const MAX_LINE: usize = 100;

/// Writes values as YAML: maps and lists of maps with a line for each entry, other lists in one line where they are short.
pub(super) fn write(value: &Value) -> Result<String, serde_yaml::ser::Error> {
    let options = serde_yaml::ser_options! {
        prefer_block_scalars: false,
        compact_list_indent: false,
    };
    serde_yaml::to_string_with_options(&Styled(value), options)
}

/// A value with short lists of scalars in one line.
struct Styled<'a>(&'a Value);

impl Serialize for Styled<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_scalar = |item: &Value| !item.is_array() && !item.is_object();
        match self.0 {
            Value::Object(entries) => {
                serializer.collect_map(entries.iter().map(|(key, item)| (key, Self(item))))
            }
            Value::Array(items)
                if items.iter().all(is_scalar) && self.0.to_string().len() <= MAX_LINE =>
            {
                FlowSeq(items).serialize(serializer)
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Self)),
            scalar => scalar.serialize(serializer),
        }
    }
}

/// Reads one document. Errors that a text without quotes causes come with advice.
pub(crate) fn read(text: &str) -> Result<Node, Diagnostic> {
    // Windows editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    document(text).map_err(|mut diagnostic| {
        if let (DiagnosticKind::Syntax(message), Location::Text { line, .. }) =
            (&mut diagnostic.kind, &diagnostic.location)
        {
            let lines: Vec<&str> = text.lines().take(*line).collect();
            // an unclosed bracket is detected on the next line
            let last = lines.len().saturating_sub(2);
            let advice = (lines.last())
                .and_then(|line| hint::syntax(line, message))
                .or_else(|| hint::in_brackets(&lines[last..]));
            if let Some(advice) = advice {
                message.push_str("; ");
                message.push_str(&advice);
            }
        }
        diagnostic
    })
}

fn document(text: &str) -> Result<Node, Diagnostic> {
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_total_scalar_bytes: text.len() + MAX_ALIASED,
            enforce_alias_anchor_ratio: false,
        },
        // refused below, where both locations are known
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        strict_booleans: true,
        underscored_numbers_as_strings: true,
        ignore_binary_tag_for_string: true,
        emit_comments: false,
        with_snippet: false,
    };
    let parsed: Parsed = serde_yaml::from_str_with_options(text, options)
        .map_err(|error| diagnostic(&error, text))?;
    let root = parsed.into_node(text)?;
    if root.is_null() {
        return Err(Diagnostic::new(Location::start(), DiagnosticKind::Empty));
    }
    Ok(root)
}

fn syntax(location: Location, message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(location, DiagnosticKind::Syntax(message.into()))
}

fn location(location: serde_yaml::Location) -> Location {
    Location::Text {
        line: location.line() as usize,
        column: location.column() as usize,
    }
}

/// The library's error in the words of a recipe's author.
fn diagnostic(error: &Error, text: &str) -> Diagnostic {
    let at = error.location().map_or(Location::start(), location);
    let mut cause = error;
    while let Error::AliasError { error, .. } = cause {
        cause = error;
    }
    let message = match cause {
        Error::MultipleDocuments { location, .. } => {
            let lines = text.lines().take(location.line() as usize);
            let marker = lines
                .enumerate()
                .filter(|(_, line)| line.starts_with("---"));
            let line = marker.last().map_or(1, |(index, _)| index + 1);
            let message = "a second document begins here; a recipe is one document";
            return syntax(Location::Text { line, column: 1 }, message);
        }
        Error::Budget { breach, .. } => match breach {
            BudgetBreach::Depth { .. } => {
                format!("lists and maps are nested more than {MAX_DEPTH} deep")
            }
            BudgetBreach::ScalarBytes { .. } => {
                format!("aliases write out more than {MAX_ALIASED} bytes of text")
            }
            _ => format!("there are more than {MAX_NODES} values, aliases written out"),
        },
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "an alias stands inside what it names".to_owned()
        }
        _ => UserMessageFormatter.format_message(cause).into_owned(),
    };
    syntax(at, message)
}

/// A value as the library reads it.
struct Parsed {
    location: serde_yaml::Location,
    tag: Option<String>,
    content: ParsedContent,
}

enum ParsedContent {
    Scalar(Scalar),
    Text(String),
    List(Vec<Parsed>),
    Map(Vec<(Parsed, Parsed)>),
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Tagged(spanned, tag) = Tagged::<Spanned<ParsedContent>>::deserialize(deserializer)?;
        Ok(Self {
            location: spanned.defined,
            tag,
            content: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for ParsedContent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;

        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = ParsedContent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<ParsedContent, E> {
                Ok(ParsedContent::Scalar(Scalar::Null))
            }

            fn visit_bool<E>(self, value: bool) -> Result<ParsedContent, E> {
                Ok(ParsedContent::Scalar(Scalar::Bool(value)))
            }

            fn visit_u64<E>(self, value: u64) -> Result<ParsedContent, E> {
                Ok(ParsedContent::Scalar(Scalar::Unsigned(value)))
            }

            fn visit_i64<E>(self, value: i64) -> Result<ParsedContent, E> {
                Ok(ParsedContent::Scalar(Scalar::Signed(value)))
            }

            fn visit_f64<E>(self, value: f64) -> Result<ParsedContent, E> {
                Ok(ParsedContent::Scalar(Scalar::Float(value)))
            }

            fn visit_str<E>(self, text: &str) -> Result<ParsedContent, E> {
                Ok(ParsedContent::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<ParsedContent, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(ParsedContent::List)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ParsedContent, A::Error> {
                let mut entries = vec![];
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(ParsedContent::Map(entries))
            }
        }

        deserializer.deserialize_any(ContentVisitor)
    }
}

impl Parsed {
    fn into_node(self, source: &str) -> Result<Node, Diagnostic> {
        self.check_tag(source)?;
        let location = location(self.location);
        let written = self.written(source);
        let content = match self.content {
            ParsedContent::Text(text) => Content::Scalar {
                text: text.into(),
                scalar: Scalar::Text,
            },
            ParsedContent::Scalar(scalar) => Content::Scalar {
                text: written.into(),
                // the library takes whole numbers with leading zeros for fractions
                scalar: match scalar {
                    Scalar::Float(_) => Scalar::whole(written).unwrap_or(scalar),
                    _ => scalar,
                },
            },
            ParsedContent::List(items) => {
                let items = items.into_iter().map(|item| item.into_node(source));
                Content::List(items.collect::<Result<_, _>>()?)
            }
            ParsedContent::Map(entries) => Content::Map(map(entries, source)?),
        };
        Ok(Node { location, content })
    }

    /// A scalar as it is written.
    fn written<'s>(&self, source: &'s str) -> &'s str {
        let span = self.location.span();
        let range = span.byte_offset().zip(span.byte_len());
        range
            .and_then(|(start, length)| source.get(start as usize..(start + length) as usize))
            .unwrap_or_default()
    }

    /// Refuses tags that are not of the core schema, because they have no meaning in a recipe.
    fn check_tag(&self, source: &str) -> Result<(), Diagnostic> {
        const CORE: [&str; 8] = ["!", "str", "null", "bool", "int", "float", "seq", "map"];
        let Some(tag) = &self.tag else { return Ok(()) };
        if CORE.contains(&tag.trim_start_matches("tag:yaml.org,2002:")) {
            return Ok(());
        }
        let advice = hint::begins_with('!');
        let message = format!("the tag `{tag}` means nothing in a recipe; {advice}");
        Err(syntax(self.tag_location(source), message))
    }

    /// The tag stands before the value.
    fn tag_location(&self, source: &str) -> Location {
        let start = self.location.span().byte_offset().unwrap_or_default() as usize;
        let before = source.get(..start).unwrap_or_default();
        let end = before.rfind('!').unwrap_or_default();
        let tag = before[..end].trim_end_matches('!');
        Location::Text {
            line: tag.matches('\n').count() + 1,
            column: tag.chars().rev().take_while(|c| *c != '\n').count() + 1,
        }
    }
}

fn map(entries: Vec<(Parsed, Parsed)>, source: &str) -> Result<Vec<(Key, Node)>, Diagnostic> {
    let mut seen: HashMap<String, Location> = HashMap::new();
    let entry = |(key, value): (Parsed, Parsed)| {
        let key = key.into_node(source)?;
        let Content::Scalar { text, .. } = &key.content else {
            return Err(syntax(key.location, "a key should be a word"));
        };
        if let Some(first) = seen.insert(text.to_string(), key.location.clone()) {
            let key_name = text.to_string();
            let kind = DiagnosticKind::DuplicateKey {
                key: key_name,
                first,
            };
            return Err(Diagnostic::new(key.location, kind));
        }
        Ok((Key::new(text, &key.location), value.into_node(source)?))
    };
    entries.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests;
