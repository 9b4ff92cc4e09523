//! YAML text to a tree whose every node knows where it stands.
//!
//! This is the only file that knows the YAML crate. It is saphyr-parser, a maintained YAML 1.2 parser without unsafe
//! code: its events carry positions, so that an error found long after parsing (a weight that does not fit another)
//! can still name its line, which the serde front ends lose in enums and defaults.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::Value;

use super::hint;
use phantasia_core::diagnostic::{Diagnostic, DiagnosticKind, Location};

/// Deepest nesting of lists and maps.
const DEEPEST: usize = 32;
/// Most nodes of a tree, aliases written out.
pub(super) const MOST_NODES: usize = 50_000;

/// Most bytes of text that aliases write out.
const MOST_REPEATED: usize = 1 << 20;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub place: Location,
    pub content: Content,
}

/// What a [`Node`] holds.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// A scalar; plain ones (not quoted) may be numbers, booleans or null.
    Scalar {
        text: Arc<str>,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// Taken out because it is at fault: lists and maps read as if it were not there.
    Removed,
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub place: Location,
    pub name: String,
}

/// What a scalar is by the core schema of YAML 1.2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
}

impl Node {
    pub fn text(text: &str, place: Location) -> Self {
        let content = Content::Scalar {
            text: text.into(),
            plain: false,
        };
        Self { place, content }
    }

    pub fn null(place: Location) -> Self {
        let content = Content::Scalar {
            text: "null".into(),
            plain: true,
        };
        Self { place, content }
    }

    pub fn map(place: Location) -> Self {
        Self {
            place,
            content: Content::Map(vec![]),
        }
    }

    pub fn is_null(&self) -> bool {
        match &self.content {
            Content::Scalar { text, plain } => resolve(text, *plain) == Scalar::Null,
            _ => false,
        }
    }

    pub fn is_removed(&self) -> bool {
        matches!(self.content, Content::Removed)
    }

    pub fn entry(&self, name: &str) -> Option<&(Key, Node)> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|(key, _)| key.name == name),
            _ => None,
        }
    }

    /// The child of a map or list by key or index.
    pub fn child(&self, segment: &str) -> Option<&Node> {
        match &self.content {
            Content::Map(_) => self.entry(segment).map(|(_, node)| node),
            Content::List(items) => items.get(segment.parse::<usize>().ok()?),
            Content::Scalar { .. } | Content::Removed => None,
        }
    }

    /// The same, to change it.
    pub fn child_mut(&mut self, segment: &str) -> Option<&mut Node> {
        match &mut self.content {
            Content::Map(entries) => {
                let mut entries = entries.iter_mut();
                let found = entries.find(|(key, _)| key.name == segment);
                found.map(|(_, node)| node)
            }
            Content::List(items) => items.get_mut(segment.parse::<usize>().ok()?),
            Content::Scalar { .. } | Content::Removed => None,
        }
    }

    fn at_mut(&mut self, path: &[String]) -> Option<&mut Node> {
        path.iter()
            .try_fold(self, |node, segment| node.child_mut(segment))
    }

    /// Takes out what stands at `path`; whether anything stood there.
    pub fn remove(&mut self, path: &[String]) -> bool {
        let node = self.at_mut(path).filter(|node| !node.is_removed());
        let found = node.is_some();
        if let Some(node) = node {
            node.content = Content::Removed;
        }
        found
    }

    /// Replaces what is at `path` by a number; returns whether there was anything.
    pub fn write(&mut self, path: &[String], number: &str) -> bool {
        let node = self.at_mut(path);
        let found = node.is_some();
        if let Some(node) = node {
            node.content = Content::Scalar {
                text: number.into(),
                plain: true,
            };
        }
        found
    }

    /// Moves the whole tree to `place`.
    pub fn relocate(&mut self, place: &Location) {
        self.place = place.clone();
        match &mut self.content {
            Content::Scalar { .. } | Content::Removed => {}
            Content::List(items) => items.iter_mut().for_each(|item| item.relocate(place)),
            Content::Map(entries) => {
                for (key, node) in entries {
                    key.place = place.clone();
                    node.relocate(place);
                }
            }
        }
    }

    /// A tree of values that all stand at `place`.
    pub fn from_value(value: &Value, place: &Location) -> Self {
        let content = match value {
            Value::String(text) => return Self::text(text, place.clone()),
            Value::Null => return Self::null(place.clone()),
            Value::Bool(_) | Value::Number(_) => Content::Scalar {
                text: value.to_string().into(),
                plain: true,
            },
            Value::Array(items) => Content::List(
                items
                    .iter()
                    .map(|item| Self::from_value(item, place))
                    .collect(),
            ),
            Value::Object(entries) => Content::Map(
                entries
                    .iter()
                    .map(|(name, item)| {
                        let key = Key {
                            place: place.clone(),
                            name: name.clone(),
                        };
                        (key, Self::from_value(item, place))
                    })
                    .collect(),
            ),
        };
        Self {
            place: place.clone(),
            content,
        }
    }
}

/// What `text` is by the core schema of YAML 1.2.
pub(super) fn resolve(text: &str, plain: bool) -> Scalar<'_> {
    if !plain {
        return Scalar::Text(text);
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" => return Scalar::Bool(true),
        "false" | "False" | "FALSE" => return Scalar::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        _ => {}
    }
    let (sign, digits) = match text.as_bytes()[0] {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if matches!(digits, ".inf" | ".Inf" | ".INF") {
        return Scalar::Float(sign * f64::INFINITY);
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(value) = text
            .strip_prefix(prefix)
            .filter(|rest| !rest.starts_with('+'))
            .and_then(|rest| u64::from_str_radix(rest, radix).ok())
        {
            return Scalar::Unsigned(value);
        }
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !text
            .bytes()
            .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b))
    {
        return Scalar::Text(text);
    }
    if let Ok(value) = text.parse() {
        return Scalar::Unsigned(value);
    }
    if let Ok(value) = text.parse() {
        return Scalar::Signed(value);
    }
    text.parse().map_or(Scalar::Text(text), Scalar::Float)
}

/// Reads one document. Errors that a text without quotes causes come with advice.
pub(super) fn read(text: &str) -> Result<Node, Diagnostic> {
    // Windows editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    document(text).map_err(|mut problem| {
        if let (DiagnosticKind::Syntax(message), Location::Text { line, .. }) =
            (&mut problem.fault, &problem.place)
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
        problem
    })
}

fn document(text: &str) -> Result<Node, Diagnostic> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
        repeated: 0,
        depth: 0,
    };
    let root = reader.document()?;
    match reader.next()? {
        (Event::StreamEnd, _) => Ok(root),
        (_, span) => Err(Diagnostic::new(
            place(span),
            DiagnosticKind::Syntax(
                "a second document begins here; a recipe is one document".to_owned(),
            ),
        )),
    }
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    /// Bytes of the texts that aliases wrote out.
    repeated: usize,
    depth: usize,
}

fn place(span: Span) -> Location {
    Location::Text {
        line: span.start.line(),
        column: span.start.col() + 1,
    }
}

fn syntax(span: Span, message: &str) -> Diagnostic {
    Diagnostic::new(place(span), DiagnosticKind::Syntax(message.to_owned()))
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Diagnostic> {
        loop {
            match self.parser.next_event() {
                Some(Ok((Event::Nothing, _))) => {}
                Some(Ok(event)) => return Ok(event),
                Some(Err(error)) => {
                    let mark = error.marker();
                    let place = Location::Text {
                        line: mark.line(),
                        column: mark.col() + 1,
                    };
                    return Err(Diagnostic::new(
                        place,
                        DiagnosticKind::Syntax(error.info().to_owned()),
                    ));
                }
                None => return Ok((Event::StreamEnd, Span::default())),
            }
        }
    }

    fn document(&mut self) -> Result<Node, Diagnostic> {
        let empty = || Diagnostic::new(Location::start(), DiagnosticKind::Empty);
        loop {
            match self.next()? {
                (Event::StreamStart, _) => {}
                (Event::DocumentStart(_), _) => break,
                _ => return Err(empty()),
            }
        }
        let first = self.next()?;
        let root = self.node(first)?;
        if root.is_null() {
            return Err(empty());
        }
        match self.next()? {
            (Event::DocumentEnd, _) => Ok(root),
            (_, span) => Err(syntax(span, "the document should end here")),
        }
    }

    fn node(&mut self, (event, span): (Event<'a>, Span)) -> Result<Node, Diagnostic> {
        self.count(1, span)?;
        let (anchor, content) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = match core_tag(tag, span)? {
                    Some(tag) => tag != "str",
                    None => style == ScalarStyle::Plain,
                };
                let text = text.as_ref().into();
                (anchor, Content::Scalar { text, plain })
            }
            Event::SequenceStart(anchor, tag) => {
                core_tag(tag, span)?;
                self.enter(span)?;
                (anchor, Content::List(self.list()?))
            }
            Event::MappingStart(anchor, tag) => {
                core_tag(tag, span)?;
                self.enter(span)?;
                (anchor, Content::Map(self.map()?))
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(syntax(span, "an alias stands inside what it names"));
                };
                self.count(size(&node), span)?;
                self.repeated += length(&node);
                if self.repeated > MOST_REPEATED {
                    let told = format!("aliases write out more than {MOST_REPEATED} bytes of text");
                    return Err(syntax(span, &told));
                }
                return Ok(node);
            }
            _ => return Err(syntax(span, "a value should stand here")),
        };
        let node = Node {
            place: place(span),
            content,
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self) -> Result<Vec<Node>, Diagnostic> {
        let mut items = vec![];
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => {
                    self.depth -= 1;
                    return Ok(items);
                }
                event => items.push(self.node(event)?),
            }
        }
    }

    fn map(&mut self) -> Result<Vec<(Key, Node)>, Diagnostic> {
        let mut entries: Vec<(Key, Node)> = vec![];
        let mut seen: HashMap<String, Location> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => {
                    self.depth -= 1;
                    return Ok(entries);
                }
                Event::Scalar(text, ..) => Key {
                    place: place(span),
                    name: text.into_owned(),
                },
                _ => return Err(syntax(span, "a key should be a word")),
            };
            if let Some(first) = seen.insert(key.name.clone(), key.place.clone()) {
                let fault = DiagnosticKind::DuplicateKey {
                    key: key.name,
                    first,
                };
                return Err(Diagnostic::new(key.place, fault));
            }
            let value = self.next()?;
            let node = self.node(value)?;
            entries.push((key, node));
        }
    }

    fn enter(&mut self, span: Span) -> Result<(), Diagnostic> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(syntax(
                span,
                &format!("lists and maps are nested more than {DEEPEST} deep"),
            ));
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Diagnostic> {
        self.nodes += nodes;
        if self.nodes > MOST_NODES {
            return Err(syntax(
                span,
                &format!("there are more than {MOST_NODES} values, aliases written out"),
            ));
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.content {
        Content::Scalar { .. } | Content::Removed => 0,
        Content::List(items) => items.iter().map(size).sum(),
        Content::Map(entries) => entries.iter().map(|(_, node)| size(node)).sum(),
    }
}

/// The bytes of all texts in it.
fn length(node: &Node) -> usize {
    match &node.content {
        Content::Scalar { text, .. } => text.len(),
        Content::Removed => 0,
        Content::List(items) => items.iter().map(length).sum(),
        Content::Map(entries) => (entries.iter())
            .map(|(key, node)| key.name.len() + length(node))
            .sum(),
    }
}

/// The tags of the core schema.
const CORE_TAGS: [&str; 7] = ["str", "null", "bool", "int", "float", "seq", "map"];

/// The name of a tag of the core schema; others have no meaning in a recipe.
fn core_tag(tag: Option<Cow<'_, Tag>>, span: Span) -> Result<Option<String>, Diagnostic> {
    match tag {
        None => Ok(None),
        Some(tag) if tag.is_yaml_core_schema() && CORE_TAGS.contains(&tag.suffix.as_str()) => {
            Ok(Some(tag.suffix.clone()))
        }
        Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => Ok(Some("str".to_owned())),
        Some(tag) => Err(syntax(
            span,
            &format!(
                "the tag `{}{}` means nothing in a recipe; {}",
                tag.handle,
                tag.suffix,
                hint::begins_with('!')
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    fn fault(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        for (text, expected) in [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("true", Scalar::Bool(true)),
            ("yes", Scalar::Text("yes")),
            ("12", Scalar::Unsigned(12)),
            ("-12", Scalar::Signed(-12)),
            ("+12", Scalar::Unsigned(12)),
            ("0x1f", Scalar::Unsigned(31)),
            ("0o17", Scalar::Unsigned(15)),
            ("1e3", Scalar::Float(1000.0)),
            (".5", Scalar::Float(0.5)),
            ("5.", Scalar::Float(5.0)),
            ("-.inf", Scalar::Float(f64::NEG_INFINITY)),
            (
                "18446744073709551616",
                Scalar::Float(18_446_744_073_709_551_616.0),
            ),
            ("1-2", Scalar::Text("1-2")),
            ("inf", Scalar::Text("inf")),
            ("+", Scalar::Text("+")),
            (".", Scalar::Text(".")),
            ("0x", Scalar::Text("0x")),
            ("é", Scalar::Text("é")),
        ] {
            assert_eq!(resolve(text, true), expected, "{text:?}");
        }
        assert_eq!(resolve("12", false), Scalar::Text("12"));
    }

    #[test]
    fn nodes_know_their_place() {
        let root = read("a: 1\nb:\n  - x\n  - { c: 2 }\n").unwrap();
        let at = |path: &[&str]| {
            let node = path
                .iter()
                .fold(&root, |node, segment| node.child(segment).unwrap());
            node.place.to_string()
        };
        assert_eq!(at(&["a"]), "1:4");
        assert_eq!(at(&["b", "0"]), "3:5");
        assert_eq!(at(&["b", "1", "c"]), "4:10");
    }

    #[test]
    fn duplicates_are_refused_and_the_first_is_named() {
        assert_eq!(
            fault("a: 1\nb: 2\na: 3\n"),
            "3:1: the key `a` is given twice, first at 1:1"
        );
    }

    #[test]
    fn aliases_are_written_out_within_bounds() {
        let root = read("a: &x { b: 1 }\nc: *x\n").unwrap();
        assert!(root.child("c").unwrap().child("b").is_some());
        assert!(fault("a: *y\n").starts_with("1:4: "));
        assert!(fault("a: &x [*x]\n").starts_with("1:"));
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let alias = format!("*a{}", level - 1);
            let _ = writeln!(bomb, "a{level}: &a{level} [{}]", vec![alias; 10].join(", "));
        }
        assert!(
            fault(&bomb).contains("more than 50000 values"),
            "{}",
            fault(&bomb)
        );
    }

    #[test]
    fn aliases_of_long_texts_are_written_out_within_bounds() {
        let long = "a".repeat(100_000);
        let repeated = |times| format!("a: &x {long}\nb: [{}]\n", vec!["*x"; times].join(", "));
        assert!(read(&repeated(10)).is_ok());
        let told = fault(&repeated(11));
        assert!(told.contains("bytes of text"), "{told}");
    }

    #[test]
    fn a_tag_that_means_nothing_is_refused() {
        assert!(read("a: !!str 5\nb: !!int 5\nc: !!seq []\n").is_ok());
        for tag in ["!wow", "!!wow", "!!binary", "!!python/object:os.system"] {
            let told = fault(&format!("a: {tag} a cat\n"));
            assert!(told.contains("means nothing in a recipe"), "{told}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        for open in ["[", "- ", "{a: "] {
            assert!(read(&open.repeat(40)).is_err());
            assert!(read(&open.repeat(100_000)).is_err());
        }
        assert!(fault(&"- ".repeat(40)).contains("more than 32 deep"));
    }

    #[test]
    fn there_is_one_document() {
        assert!(fault("").contains("empty"));
        assert!(fault("# nothing\n").contains("empty"));
        assert!(fault("---\n...\n").contains("empty"));
        assert!(fault("a: 1\n---\nb: 2\n").contains("second document"));
        assert!(read("\u{feff}a: 1\n").unwrap().child("a").is_some());
    }
}
