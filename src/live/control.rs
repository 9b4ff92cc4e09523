//! Commands from another program: a JSON object on each line.

use std::io::{BufRead, Read};
use std::sync::mpsc::SyncSender;

use anyhow::{Context, Result, anyhow};

use super::Command;
use crate::protocol::{LONGEST_REQUEST as LONGEST, Request};

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
        let origin = format!("control line {number}");
        match line.and_then(|line| parse(&line)) {
            Ok(None) => {}
            Ok(Some(parsed)) => {
                if let Some(why) = changes_nothing(&parsed) {
                    complain(&format!("{origin} {why}"));
                }
                for command in parsed {
                    if commands.send(command.at(&origin)).is_err() {
                        return;
                    }
                }
            }
            Err(error) => complain(&format!("{origin}: {error:#}")),
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

/// Why the commands of one request change nothing, as the end of a sentence; `None` if they do change something.
pub(crate) fn changes_nothing(commands: &[Command]) -> Option<String> {
    match commands {
        [] => Some("changes nothing: give a command, such as {\"stop\":true}".to_owned()),
        [Command::Fade(steps)] => Some(format!(
            "changes nothing by itself: later changes of prompts fade over {steps} steps"
        )),
        _ => None,
    }
}

/// The commands of a line; none if it is empty.
fn parse(line: &str) -> Result<Option<Vec<Command>>> {
    Ok(Request::parse(line)?.map(Request::commands))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Edit, Prompt, Restart};
    use crate::{NamedRegion, Region};
    use std::sync::mpsc::{Receiver, sync_channel};

    fn read(lines: &str) -> (Vec<Command>, Vec<String>) {
        let (sender, receiver) = sync_channel(64);
        let mut complaints = vec![];
        read_commands(lines.as_bytes(), &sender, |line| {
            complaints.push(line.to_owned())
        });
        drop(sender);
        (plain(&receiver), complaints)
    }

    fn plain(receiver: &Receiver<Command>) -> Vec<Command> {
        receiver
            .iter()
            .map(|command| command.plain().clone())
            .collect()
    }

    #[test]
    fn a_command_knows_its_line() {
        let (sender, receiver) = sync_channel(64);
        read_commands(&b"\n{\"undo\":true}\n"[..], &sender, |line| {
            panic!("{line}")
        });
        drop(sender);
        let undo = Command::Undo.at("control line 2");
        assert_eq!(Vec::from_iter(receiver.iter()), [undo]);
    }

    #[test]
    fn a_line_that_changes_nothing_says_so() {
        for (line, commands, words) in [
            ("{}", vec![], "control line 1 changes nothing: "),
            (
                "{\"undo\":false,\"lr\":null}",
                vec![],
                "control line 1 changes nothing: ",
            ),
            ("{\"fade\":3}", vec![Command::Fade(3)], "fade over 3 steps"),
        ] {
            let (sent, complaints) = read(line);
            assert_eq!((sent, complaints.len()), (commands, 1));
            assert!(complaints[0].contains(words), "{}", complaints[0]);
        }
        assert_eq!(read("\n  \n"), (vec![], vec![]));
    }

    #[test]
    fn a_prompt_may_have_a_region() {
        let line = r#"{"set_prompts":[{"text":"a lake","region":"left"},{"text":"a barn","region":[0.5,0,0.5,1]}]}"#;
        let (commands, complaints) = read(line);
        assert_eq!(complaints, [""; 0]);
        let [Command::Edit(edit)] = commands.as_slice() else {
            panic!("{commands:?}");
        };
        let prompts = edit.prompts.iter().flatten();
        let regions: Vec<_> = prompts.map(|prompt| prompt.region.clone()).collect();
        let right = Region::Rectangle([0.5, 0.0, 0.5, 1.0]);
        assert_eq!(
            regions,
            [Some(Region::Named(NamedRegion::Left)), Some(right)]
        );
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
        let mut lines = b"\xef\xbb\xbf{\"lr\":1}\n\xff\xfe\n".to_vec();
        lines.extend(b"x".repeat(3 * LONGEST));
        lines.extend(b"\n{\"lr\":2}\r\n");
        lines.extend(b"[".repeat(LONGEST - 1));
        lines.extend(b"\n{\"lr\":3}");
        let (sender, receiver) = sync_channel(64);
        let mut complaints = vec![];
        read_commands(lines.as_slice(), &sender, |line| {
            complaints.push(line.to_owned());
        });
        drop(sender);
        let lr = |factor| Command::Edit(Edit::with(|edit| edit.lr = Some(factor)));
        assert_eq!(plain(&receiver), [1.0, 2.0, 3.0].map(lr));
        for (complaint, words) in complaints.iter().zip([
            "control line 2: it is not UTF-8 text",
            "control line 3: it is longer than",
            "control line 5: it is not understood",
        ]) {
            assert!(complaint.starts_with(words), "{complaint}");
        }
        assert_eq!(complaints.len(), 3);
    }
}
