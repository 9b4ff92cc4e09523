//! Commands from another program: one JSON object a line.

use std::io::BufRead;
use std::sync::mpsc::SyncSender;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Command, View};
use crate::recipe::{Prompt, TermOptions, prompts_from_json};

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
    lines: impl BufRead,
    commands: &SyncSender<Command>,
    mut complain: impl FnMut(&str),
) {
    for (number, line) in lines.lines().enumerate() {
        let line = match line {
            Ok(line) if line.trim().is_empty() => continue,
            Ok(line) => line,
            Err(error) => {
                complain(&format!("commands end at line {}: {error}", number + 1));
                return;
            }
        };
        match parse(&line) {
            Ok(parsed) => {
                for command in parsed {
                    if commands.send(command).is_err() {
                        return;
                    }
                }
            }
            Err(error) => complain(&format!("command line {}: {error:#}", number + 1)),
        }
    }
}

fn parse(line: &str) -> Result<Vec<Command>> {
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
        dog.weight = crate::recipe::Number::from(-0.5);
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
}
