//! Commands from another program: one JSON object a line.

use std::io::{BufRead, Read};
use std::sync::mpsc::SyncSender;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use super::{Command, View};
use crate::recipe::{Prompt, TermOptions, prompts_from_json};

/// No line is longer, in bytes.
const LONGEST: usize = 1 << 18;

/// A line. Several things may be asked for in one; they take effect in the order in which they stand here.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Line {
    fade: Option<usize>,
    set_prompts: Option<serde_json::Value>,
    set_terms: Option<TermOptions>,
    lr: Option<f64>,
    steps: Option<usize>,
    restart: Option<From>,
    undo: bool,
    snapshot: bool,
    show: Option<Shown>,
    pause: Option<bool>,
    stop: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum From {
    Image,
    Scratch,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Shown {
    Image,
    Cutouts,
}

/// Sends the commands of every line on, until the lines end or nobody listens any more. A line that cannot be understood is told to
/// `complain` and changes nothing.
pub fn read_commands(
    mut lines: impl BufRead,
    commands: &SyncSender<Command>,
    mut complain: impl FnMut(&str),
) {
    for number in 1.. {
        let parsed = match next_line(&mut lines) {
            Ok(None) => return,
            Ok(Some(line)) => line.and_then(|line| match line.trim() {
                "" => Ok(vec![]),
                line => parse(line),
            }),
            Err(error) => {
                complain(&format!("commands end at line {number}: {error}"));
                return;
            }
        };
        match parsed {
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

/// The next line; nothing at the end. One that is too long, or is no text, is an error of its own: the lines behind it are read all
/// the same.
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
    // editors of some systems begin a text with a byte order mark
    let line = line.trim_start_matches('\u{feff}');
    if !line.starts_with('{') {
        bail!("it is not understood: a command is a JSON object, such as {{\"stop\":true}}");
    }
    let line: Line = serde_json::from_str(line).context("it is not understood")?;
    let mut commands = vec![];
    if let Some(steps) = line.fade {
        commands.push(Command::Fade(steps));
    }
    if let Some(prompts) = line.set_prompts {
        let prompts: Vec<Prompt> = prompts_from_json(&prompts)?;
        commands.push(Command::SetPrompts(prompts));
    }
    if let Some(terms) = line.set_terms {
        commands.push(Command::SetTerms(terms));
    }
    if let Some(factor) = line.lr {
        if !(factor.is_finite() && factor > 0.0) {
            bail!("`lr` multiplies the learning rate: a number above 0, not {factor}");
        }
        commands.push(Command::LearningRate(factor));
    }
    if let Some(steps) = line.steps {
        commands.push(Command::Steps(steps));
    }
    if let Some(from) = line.restart {
        commands.push(Command::Restart {
            from_image: matches!(from, From::Image),
        });
    }
    for (asked, command) in [
        (line.undo, Command::Undo),
        (line.snapshot, Command::Snapshot),
    ] {
        if asked {
            commands.push(command);
        }
    }
    if let Some(shown) = line.show {
        commands.push(Command::Show(match shown {
            Shown::Image => View::Image,
            Shown::Cutouts => View::Cutouts,
        }));
    }
    if let Some(paused) = line.pause {
        commands.push(Command::Pause(paused));
    }
    if line.stop {
        commands.push(Command::Stop);
    }
    Ok(commands)
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
                Command::SetPrompts(vec![Prompt::new("a cat"), dog]),
                Command::Pause(true),
                Command::Snapshot,
                Command::LearningRate(0.5),
                Command::Restart { from_image: true },
                Command::Stop,
            ]
        );
    }

    #[test]
    fn what_is_not_understood_is_told_and_changes_nothing() {
        for (line, word) in [
            ("hello", "not understood"),
            ("[]", "a JSON object"),
            ("[7, [\"a cat\"]]", "a JSON object"),
            ("{\"jump\":true}", "jump"),
            ("{\"set_prompts\":[]}", "no prompt"),
            ("{\"set_prompts\":[{\"txt\":\"a\"}]}", "txt"),
            ("{\"lr\":-1}", "above 0"),
            ("{\"pause\":3}", "boolean"),
        ] {
            let (commands, complaints) = read(line);
            assert_eq!(commands, [], "{line}");
            assert_eq!(complaints.len(), 1);
            assert!(complaints[0].contains(word), "{line}: {}", complaints[0]);
        }
    }

    #[test]
    fn lines_behind_one_that_cannot_be_read_are_read() {
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
