//! Advice about texts that YAML reads as something else.

use super::node::{Content, Node, Scalar};
use phantasia_core::diagnostic::Location;

/// Characters with a meaning in YAML, which cannot begin a text without quotes.
const INDICATORS: &str = "@`%*&|>?[{";

/// Advice about a syntax error in `line`, if it is one that a text without proper quotes causes.
pub(super) fn syntax(line: &str, message: &str) -> Option<String> {
    // the message is advice already
    if message.contains("quotes") {
        return None;
    }
    let starts = values(line);
    let begins = |with: char| starts.iter().any(|value| value.starts_with(with));
    if let Some(value) = starts.iter().find(|value| value.starts_with('\'')) {
        let quotes = value.matches('\'').count();
        // the third may be the apostrophe that ended the text too early
        if quotes > 2 || (quotes == 1 && message.contains("quote")) {
            return Some(
                "in single quotes an apostrophe is written twice, 'a fox''s tail'; double quotes need no second one"
                    .to_owned(),
            );
        }
    }
    if message.contains("trailing content") {
        return Some("put the whole text in the other kind of quotes, '\"wow\" a fox'".to_owned());
    }
    if begins('"') && line.contains('\\') {
        return Some(
            "in double quotes `\\` begins an escape sequence: use single quotes, or write `\\\\`"
                .to_owned(),
        );
    }
    if let Some(first) = INDICATORS.chars().find(|first| begins(*first)) {
        return Some(begins_with(first));
    }
    // a prompt that is read as a key and its value
    let nested = message.contains("mapping") && line.matches(": ").count() > 1;
    nested.then(|| "put quotes around a text with `: ` in it".to_owned())
}

/// Advice where a comment hides the closing bracket of a list in one of these lines.
pub(super) fn in_brackets(lines: &[&str]) -> Option<String> {
    let hides = |line: &&str| {
        line.split_once(" #")
            .is_some_and(|(before, _)| before.contains(['[', '{']) && !before.contains([']', '}']))
    };
    lines.iter().any(hides).then(|| {
        "what follows ` #` is a comment: put quotes around a text that contains it".to_owned()
    })
}

/// Advice about a text that begins with a character that has a meaning in YAML.
pub(super) fn begins_with(first: impl std::fmt::Display) -> String {
    format!("put quotes around a text that begins with `{first}`")
}

/// The parts of a line from each position where a value may begin to its end: after the dashes, after the key, and in a list in brackets.
fn values(line: &str) -> Vec<&str> {
    let mut rest = line.trim_start();
    while let Some(item) = rest.strip_prefix("- ") {
        rest = item.trim_start();
    }
    let mut values = vec![rest];
    for (at, mark) in rest.char_indices() {
        let behind = &rest[at + mark.len_utf8()..];
        let separated = mark == ':' && behind.starts_with(' ');
        if separated || matches!(mark, '[' | '{' | ',') {
            values.push(behind.trim_start());
        }
        // the rest is one text in quotes
        if matches!(mark, '"' | '\'') {
            break;
        }
    }
    values
}

/// Warnings about prompts that YAML reads as something else, each with the prompt's location.
pub(super) fn about_prompts(root: &Node, source: &str) -> Vec<(Location, String)> {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let mut texts = vec![];
    prompts(root, false, &mut texts);
    let mut warnings = vec![];
    for node in texts {
        let (Content::Scalar { text, scalar }, Location::Text { line, column }) =
            (&node.content, &node.location)
        else {
            continue;
        };
        let Some(whole) = source.lines().nth(line.saturating_sub(1)) else {
            continue;
        };
        let mut warn = |warning| warnings.push((node.location.clone(), warning));
        if *scalar == Scalar::Null {
            if text.is_empty() && whole.contains('#') {
                warn(begins_with('#'));
            }
            continue;
        }
        let at = whole.char_indices().nth(column.saturating_sub(1));
        let (before, value) = whole.split_at(at.map_or(whole.len(), |(at, _)| at));
        if let Some(comment) = comment(value, text) {
            warn(format!(
                "the prompt is \"{text}\", and `{comment}` after it is a comment: put quotes around the text if that is a part of it"
            ));
        }
        let anchor = (before.split_whitespace().next_back()).filter(|word| word.starts_with('&'));
        if let Some(anchor) = anchor
            && !source.contains(&anchor.replacen('&', "*", 1))
        {
            warn(format!(
                "the prompt is \"{text}\", and `{anchor}` before it is a YAML anchor that nothing uses: {}",
                begins_with('&')
            ));
        }
    }
    warnings
}

/// Collects the nodes that are texts of prompts; `inside` says whether `node` is in the value of a key `prompts`.
fn prompts<'a>(node: &'a Node, inside: bool, texts: &mut Vec<&'a Node>) {
    match &node.content {
        Content::Scalar { .. } if inside => texts.push(node),
        Content::Scalar { .. } | Content::Removed => {}
        Content::List(items) => items.iter().for_each(|item| prompts(item, inside, texts)),
        Content::Map(entries) => {
            for (key, value) in entries {
                match key.name.as_str() {
                    "prompts" => prompts(value, true, texts),
                    "text" | "source" if inside => texts.push(value),
                    "keyframes" if inside => prompts(value, true, texts),
                    _ => prompts(value, false, texts),
                }
            }
        }
    }
}

/// The comment after a text without quotes, if it may have been meant as part of the text; `value` is the line from the text's first character
/// on. A comment set apart by two spaces or more before its `#`, and one after it, is taken as intended.
pub(super) fn comment<'a>(value: &'a str, text: &str) -> Option<&'a str> {
    let behind = value.strip_prefix(text)?;
    let comment = behind.trim_start();
    let spaces = behind.len() - comment.len();
    let set_apart = spaces > 1 && comment.starts_with("# ");
    (spaces > 0 && comment.starts_with('#') && !set_apart).then(|| comment.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_character_of_yaml_has_its_advice() {
        for (line, words) in [
            ("  - @artist style", "begins with `@`"),
            ("  - %50 grey", "begins with `%`"),
            ("prompts: *wow a fox", "begins with `*`"),
            ("prompts: [a, `b`]", "begins with ``"),
            ("  - 'a fox's tail'", "apostrophe is written twice"),
            ("  - `a", "begins with"),
            ("init: \"C:\\Users\\me.png\"", "single quotes"),
            ("  - [red] fox", "begins with `[`"),
            ("prompts: a fox: red", "`: ` in it"),
        ] {
            let message = "mapping values are not allowed in this context";
            let advice = syntax(line, message).unwrap_or_default();
            assert!(advice.contains(words), "{line}: {advice}");
        }
        assert_eq!(syntax("  - a fox", "some error"), None);
        assert_eq!(syntax("  - !wow", "put quotes around it"), None);
    }

    #[test]
    fn a_comment_begins_behind_a_space() {
        assert_eq!(comment("a fox #1 of many", "a fox"), Some("#1 of many"));
        assert_eq!(comment("a fox # of many", "a fox"), Some("# of many"));
        assert_eq!(comment("a fox   #1", "a fox"), Some("#1"));
        assert_eq!(comment("a fox   # mine", "a fox"), None);
        assert_eq!(comment("a fox", "a fox"), None);
        assert_eq!(comment("a fox, b]", "a fox"), None);
        assert_eq!(comment("'a fox' # x", "a fox"), None);
    }
}
