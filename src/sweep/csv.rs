//! Comma-separated values (RFC 4180): lines of fields, which may stand in double quotes.

/// A line of these fields, with its line break. Fields with a comma, a quote or a line break stand in quotes.
pub fn line<'f>(fields: impl IntoIterator<Item = &'f str>) -> String {
    let quoted = |field: &str| {
        if field.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.to_owned()
        }
    };
    let fields: Vec<String> = fields.into_iter().map(quoted).collect();
    fields.join(",") + "\n"
}

/// A record's line, counted from 1, and its fields.
pub type Record = (usize, Vec<String>);

/// The records of a text, each with the number of its line; empty lines are left out.
///
/// # Errors
/// When a quote is not closed, or stands inside of a field without quotes; the message names the line.
pub fn read(text: &str) -> Result<Vec<Record>, String> {
    let mut records = vec![];
    let (mut fields, mut field) = (vec![], String::new());
    let (mut line, mut first) = (1, 1);
    // whether the present field began with a quote, and whether that is still open
    let (mut is_quoted, mut is_open) = (false, false);
    let mut chars = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .chars()
        .peekable();
    while let Some(c) = chars.next() {
        line += usize::from(c == '\n');
        match c {
            '"' if is_open && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if is_open => is_open = false,
            c if is_open => field.push(c),
            '"' if field.trim().is_empty() && !is_quoted => {
                field.clear();
                (is_quoted, is_open) = (true, true);
            }
            '"' => {
                return Err(format!(
                    "line {line}: a quote stands inside of a field: put the whole field in quotes, and the quote twice"
                ));
            }
            ',' => {
                fields.push(ended(&mut field, &mut is_quoted));
            }
            '\n' => {
                fields.push(ended(&mut field, &mut is_quoted));
                records.push((first, std::mem::take(&mut fields)));
                first = line;
            }
            '\r' if matches!(chars.peek(), None | Some('\n')) => {}
            ' ' if is_quoted => {}
            _ if is_quoted => {
                return Err(format!("line {line}: text follows a closing quote"));
            }
            c => field.push(c),
        }
    }
    if is_open {
        return Err(format!("line {first}: a quote is not closed"));
    }
    fields.push(ended(&mut field, &mut is_quoted));
    records.push((first, fields));
    records.retain(|(_, fields)| fields.iter().any(|field| !field.is_empty()));
    Ok(records)
}

/// The field that ends here: without the space around it, unless that stood in quotes.
fn ended(field: &mut String, is_quoted: &mut bool) -> String {
    let field = std::mem::take(field);
    if std::mem::take(is_quoted) {
        field
    } else {
        field.trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let rows = [["a", "b, \"c\"", ""], ["1.5", "two\nlines", " x "]];
        let mut text: String = rows.iter().map(|row| line(row.iter().copied())).collect();
        text = text.replace(" x ", "\" x \"");
        let read = read(&text).expect("records");
        assert_eq!(
            read,
            [
                (1, rows[0].map(str::to_owned).to_vec()),
                (2, rows[1].map(str::to_owned).to_vec())
            ]
        );
    }

    #[test]
    fn files_of_spreadsheets_are_read() {
        let read = |text: &str| {
            read(text).map(|rows| {
                rows.into_iter()
                    .map(|(line, row)| (line, row.join("|")))
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(
            read("\u{feff}a,b\r\n\r\n 1 , \"x\" \r\n"),
            Ok(vec![(1, "a|b".to_owned()), (3, "1|x".to_owned())])
        );
        assert_eq!(read(""), Ok(vec![]));
        for (text, at) in [
            ("a\n\"b", "line 2"),
            ("a\"b", "line 1"),
            ("a\n\"b\"c", "line 2"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.starts_with(at), "{error}");
        }
    }
}
