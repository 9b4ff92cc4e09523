//! Commands from another program: a JSON object on each line.

use std::io::{BufRead, Read};
use std::sync::mpsc::SyncSender;

use anyhow::{Context, Result, anyhow, bail};
use phantasia_core::shorthand::some_entries;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Command, View};
use crate::recipe::{Edit, Prompt, Restart, Terms, from_json};

/// The longest line, in bytes.
const LONGEST: usize = 1 << 18;

/// A line. Its commands are carried out in the order of these fields.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Line {
    fade: Option<usize>,
    #[serde(deserialize_with = "some_entries")]
    set_prompts: Option<Vec<Prompt>>,
    set_terms: Option<Terms>,
    lr: Option<f64>,
    steps: Option<usize>,
    restart: Option<Restart>,
    undo: bool,
    snapshot: bool,
    show: Option<View>,
    pause: Option<bool>,
    stop: bool,
}

impl Line {
    fn commands(self) -> Vec<Command> {
        // an edit for each key, so that they can be undone one by one
        let edits = [
            Edit::with(|edit| edit.prompts = self.set_prompts),
            Edit::with(|edit| edit.terms = self.set_terms),
            Edit::with(|edit| edit.lr = self.lr),
            Edit::with(|edit| edit.steps = self.steps),
            Edit::with(|edit| edit.restart = self.restart),
        ];
        let edits = edits.into_iter().filter(|edit| !edit.is_empty());
        let mut commands = Vec::from_iter(self.fade.map(Command::Fade));
        commands.extend(edits.map(Command::Edit));
        commands.extend(self.undo.then_some(Command::Undo));
        commands.extend(self.snapshot.then_some(Command::Snapshot));
        commands.extend(self.show.map(Command::Show));
        commands.extend(self.pause.map(Command::Pause));
        commands.extend(self.stop.then_some(Command::Stop));
        commands
    }
}

/// Sends the commands of every line, until the lines end or the receiver is gone. A line that cannot be read changes nothing, and
/// `complain` is called with the reason.
pub fn read_commands(
    mut lines: impl BufRead,
    commands: &SyncSender<Command>,
    mut complain: impl FnMut(&str),
) {
    for number in 1.. {
        let line = match next_line(&mut lines) {
            Ok(Some(line)) => line,
            Ok(None) => return,
            Err(error) => return complain(&format!("commands end at line {number}: {error}")),
        };
        match line.and_then(|line| parse(&line)) {
            Ok(parsed) => {
                for command in parsed {
                    if commands.send(command).is_err() {
                        return;
                    }
                }
            }
            Err(error) => complain(&format!("command line {number}: {error:#}")),
        }
    }
}

/// The next line; `None` at the end. The inner error is that of one line, after which others can be read.
fn next_line(lines: &mut impl BufRead) -> std::io::Result<Option<Result<String>>> {
    let mut line = vec![];
    let most = LONGEST as u64 + 1;
    if lines.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.len() > LONGEST && !line.ends_with(b"\n") {
        lines.skip_until(b'\n')?;
        let refused = anyhow!("it is longer than {LONGEST} bytes: give it in fewer words");
        return Ok(Some(Err(refused)));
    }
    Ok(Some(
        String::from_utf8(line).context("it is not UTF-8 text"),
    ))
}

fn parse(line: &str) -> Result<Vec<Command>> {
    // some editors begin a text with a byte order mark
    let line = line.trim_start_matches('\u{feff}').trim();
    if line.is_empty() {
        return Ok(vec![]);
    }
    if !line.starts_with('{') {
        bail!("it is not understood: a command is a JSON object, such as {{\"stop\":true}}");
    }
    let mut keys: Map<String, Value> =
        serde_json::from_str(line).context("it is not understood")?;
    keys.retain(|_, value| !value.is_null());
    Ok(from_json::<Line>(&keys.into(), "it is not understood")?.commands())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    fn read(lines: &str) -> (Vec<Command>, Vec<String>) {
        let (sender, receiver) = sync_channel(64);
        let mut complaints = vec![];
        read_commands(lines.as_bytes(), &sender, |line| {
            complaints.push(line.to_owned())
        });
        drop(sender);
        (receiver.iter().collect(), complaints)
    }

    #[test]
    fn a_line_is_a_command() {
        let (commands, complaints) = read(concat!(
            "{\"set_prompts\":[\"a cat\",{\"text\":\"a dog\",\"weight\":-0.5}],\"fade\":7}\n\n",
            "{\"pause\":true}\n{\"snapshot\":true}\n{\"lr\":0.5,\"restart\":\"image\"}\n{\"stop\":true}\n"
        ));
        assert_eq!(complaints, [""; 0]);
        let mut dog = Prompt::new("a dog");
        dog.weight = crate::recipe::Schedule::from(-0.5);
        assert_eq!(
            commands,
            [
                Command::Fade(7),
                Command::Edit(Edit {
                    prompts: Some(vec![Prompt::new("a cat"), dog]),
                    ..Edit::default()
                }),
                Command::Pause(true),
                Command::Snapshot,
                Command::Edit(Edit {
                    lr: Some(0.5),
                    ..Edit::default()
                }),
                Command::Edit(Edit {
                    restart: Some(Restart::Image),
                    ..Edit::default()
                }),
                Command::Stop,
            ]
        );
    }

    #[test]
    fn a_line_that_cannot_be_read_changes_nothing() {
        for (line, word) in [
            ("hello", "not understood"),
            ("[]", "a JSON object"),
            ("[7, [\"a cat\"]]", "a JSON object"),
            ("{\"jump\":true}", "jump"),
            ("{\"set_prompts\":[{\"txt\":\"a\"}]}", "txt"),
            ("{\"lr\":\"fast\"}", "lr"),
            ("{\"pause\":3}", "true or false"),
        ] {
            let (commands, complaints) = read(line);
            assert_eq!(commands, [], "{line}");
            assert_eq!(complaints.len(), 1);
            assert!(complaints[0].contains(word), "{line}: {}", complaints[0]);
        }
    }

    #[test]
    fn lines_after_one_that_cannot_be_read_are_read() {
        let mut lines = b"\xef\xbb\xbf{\"fade\":1}\n\xff\xfe\n".to_vec();
        lines.extend(b"x".repeat(3 * LONGEST));
        lines.extend(b"\n{\"fade\":2}\r\n");
        lines.extend(b"[".repeat(LONGEST - 1));
        lines.extend(b"\n{\"fade\":3}");
        let (sender, receiver) = sync_channel(64);
        let mut complaints = vec![];
        read_commands(lines.as_slice(), &sender, |line| {
            complaints.push(line.to_owned());
        });
        drop(sender);
        let commands: Vec<_> = receiver.iter().collect();
        assert_eq!(commands, [1, 2, 3].map(Command::Fade));
        for (complaint, words) in complaints.iter().zip([
            "command line 2: it is not UTF-8 text",
            "command line 3: it is longer than",
            "command line 5: it is not understood",
        ]) {
            assert!(complaint.starts_with(words), "{complaint}");
        }
        assert_eq!(complaints.len(), 3);
    }
}
