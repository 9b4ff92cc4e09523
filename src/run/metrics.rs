//! The metrics of a run: a line of JSON for each step.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::folder::RunFolder;
use super::names::METRICS;
use crate::files::{OutputError, failed, write_whole};

impl RunFolder {
    /// Appends a line to the metrics.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn append_metrics(&mut self, line: &impl Serialize) -> Result<(), OutputError> {
        let path = self.path().join(METRICS);
        let mut append = || -> io::Result<()> {
            let mut text = serde_json::to_vec(line)?;
            text.push(b'\n');
            let file = match &mut self.metrics {
                Some(file) => file,
                none => none.insert(OpenOptions::new().create(true).append(true).open(&path)?),
            };
            // in one call, so that no reader sees half a line
            file.write_all(&text)
        };
        append().map_err(|error| {
            // on a full disk a part of the line may have been written; the first error is the one to report
            let _ = cut_half_line(&path);
            failed("write", &path)(error)
        })
    }

    /// Removes the metrics of steps after `step`, because these steps are made again.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn cut_metrics(&mut self, step: usize) -> Result<(), OutputError> {
        #[derive(Deserialize)]
        struct Line {
            step: usize,
        }
        self.metrics = None;
        let path = self.path().join(METRICS);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        write_whole(&path, true, |out| {
            for line in BufReader::new(file).split(b'\n') {
                let line = line?;
                // a program that was killed may have left half a line
                if serde_json::from_slice(&line).is_ok_and(|line: Line| line.step <= step) {
                    out.write_all(&line)?;
                    out.write_all(b"\n")?;
                }
            }
            Ok(())
        })
    }
}

/// Removes what follows the last line break.
fn cut_half_line(path: &Path) -> io::Result<()> {
    let text = fs::read(path)?;
    let end = text.iter().rposition(|byte| *byte == b'\n');
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(end.map_or(0, |end| end as u64 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_a_line_a_step() {
        let out = tempfile::tempdir().expect("a folder");
        let mut run = RunFolder::create(out.path(), "cat").expect("a run");
        for step in 1..=2 {
            run.append_metrics(&serde_json::json!({ "step": step }))
                .expect("a line");
        }
        let text = fs::read_to_string(run.path().join(METRICS)).expect("a text");
        assert_eq!(text, "{\"step\":1}\n{\"step\":2}\n");
    }

    #[test]
    fn half_a_line_is_cut() {
        let out = tempfile::tempdir().expect("a folder");
        let path = out.path().join(METRICS);
        for (text, whole) in [("{}\n{\"st", "{}\n"), ("{\"st", ""), ("{}\n", "{}\n")] {
            fs::write(&path, text).expect("a file");
            cut_half_line(&path).expect("a file");
            assert_eq!(fs::read_to_string(&path).expect("a file"), whole);
        }
    }
}
