use super::*;
use std::fmt::Write as _;

fn error(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

fn scalar(text: &str) -> Scalar {
    let root = read(&format!("a: {text}\n")).unwrap();
    match &root.child("a").unwrap().content {
        Content::Scalar { scalar, .. } => *scalar,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn scalars_follow_the_core_schema() {
    for (text, expected) in [
        ("", Scalar::Null),
        ("~", Scalar::Null),
        ("true", Scalar::Bool(true)),
        ("yes", Scalar::Text),
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
        ("017", Scalar::Unsigned(17)),
        ("1_000", Scalar::Text),
        ("1-2", Scalar::Text),
        ("inf", Scalar::Text),
        ("+", Scalar::Text),
        (".", Scalar::Text),
        ("0x", Scalar::Text),
        ("é", Scalar::Text),
    ] {
        assert_eq!(scalar(text), expected, "{text:?}");
    }
    for quoted in ["'12'", "\"~\"", "!!str 12", "! 12"] {
        assert_eq!(scalar(quoted), Scalar::Text, "{quoted}");
    }
}

#[test]
fn nodes_know_their_location() {
    let root = read("a: 1\nb:\n  - x\n  - { c: 2 }\n").unwrap();
    let at = |path: &[&str]| {
        let node = path
            .iter()
            .fold(&root, |node, segment| node.child(segment).unwrap());
        node.location.to_string()
    };
    assert_eq!(at(&["a"]), "1:4");
    assert_eq!(at(&["b", "0"]), "3:5");
    assert_eq!(at(&["b", "1", "c"]), "4:10");
}

#[test]
fn duplicates_are_refused_and_the_first_is_named() {
    assert_eq!(
        error("a: 1\nb: 2\na: 3\n"),
        "3:1: the key `a` is given twice, first at 1:1"
    );
}

#[test]
fn aliases_are_written_out_within_bounds() {
    let root = read("a: &x { b: 1 }\nc: *x\n").unwrap();
    assert!(root.child("c").unwrap().child("b").is_some());
    assert!(error("a: *y\n").starts_with("1:4: "));
    assert!(error("a: &x [*x]\n").starts_with("1:"));
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        let _ = writeln!(bomb, "a{level}: &a{level} [{}]", vec![alias; 10].join(", "));
    }
    assert!(
        error(&bomb).contains("more than 50000 values"),
        "{}",
        error(&bomb)
    );
}

#[test]
fn aliases_of_long_texts_are_written_out_within_bounds() {
    let long = "a".repeat(100_000);
    let repeated = |times| format!("a: &x {long}\nb: [{}]\n", vec!["*x"; times].join(", "));
    assert!(read(&repeated(10)).is_ok());
    let told = error(&repeated(11));
    assert!(told.contains("bytes of text"), "{told}");
}

#[test]
fn a_tag_that_means_nothing_is_refused() {
    assert!(read("a: !!str 5\nb: !!int 5\nc: !!seq []\n").is_ok());
    for tag in ["!wow", "!!wow", "!!binary", "!!python/object:os.system"] {
        let told = error(&format!("a: {tag} a cat\n"));
        assert!(told.contains("means nothing in a recipe"), "{told}");
    }
}

#[test]
fn nesting_is_bounded() {
    for open in ["[", "- ", "{a: "] {
        assert!(read(&open.repeat(40)).is_err());
        assert!(read(&open.repeat(100_000)).is_err());
    }
    assert!(error(&"- ".repeat(40)).contains("more than 32 deep"));
}

#[test]
fn there_is_one_document() {
    assert!(error("").contains("empty"));
    assert!(error("# nothing\n").contains("empty"));
    assert!(error("---\n...\n").contains("empty"));
    assert!(error("a: 1\n---\nb: 2\n").contains("second document"));
    assert!(read("\u{feff}a: 1\n").unwrap().child("a").is_some());
}

#[test]
fn scalars_keep_their_text() {
    for (written, expected) in [
        ("1984", "1984"),
        ("007", "007"),
        ("1.10", "1.10"),
        ("~", "~"),
        ("'a''b'", "a'b"),
        ("a b\n c", "a b c"),
    ] {
        let root = read(&format!("é: {written}\n")).unwrap();
        match &root.child("é").unwrap().content {
            Content::Scalar { text, .. } => assert_eq!(&**text, expected),
            other => panic!("{written}: {other:?}"),
        }
    }
}

#[test]
fn what_is_written_reads_back() {
    let value = serde_json::json!({
        "plain": "a cat, black",
        "words": ["true", "1", "~", "", " x", "x ", "- x", "a: b", "#c", "é\u{85}\n\t\"\\\u{0}", "yes", "1:30"],
        "list": [{ "a": 1, "b": [] }, { "c": { "d": null } }, "e", [1, 2]],
        "empty": {},
        "numbers": [0.1, 1e-7, 1e21, 1e16, -5, u64::MAX],
        "C:\\a": ["\u{feff}", "\u{2028}", "=", "<<", "null", "a # b"],
        "long": ["a very long text ".repeat(9)],
    });
    let text = write(&value).unwrap();
    assert_eq!(to_value(&read(&text).unwrap()), value, "{text}");
}

fn to_value(node: &Node) -> Value {
    match &node.content {
        Content::Scalar { text, scalar } => match *scalar {
            Scalar::Null => Value::Null,
            Scalar::Bool(value) => value.into(),
            Scalar::Unsigned(value) => value.into(),
            Scalar::Signed(value) => value.into(),
            Scalar::Float(value) => value.into(),
            Scalar::Text => (&**text).into(),
        },
        Content::Removed => Value::Null,
        Content::List(items) => items.iter().map(to_value).collect(),
        Content::Map(entries) => (entries.iter())
            .map(|(key, node)| (key.name.clone(), to_value(node)))
            .collect(),
    }
}
