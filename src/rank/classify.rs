//! Zero-shot classification: which of several labels a picture fits best (Radford et al. 2021, section 3.1).

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;
use unicode_normalization::UnicodeNormalization;

use super::eye::{Panel, dot};
use super::score::best_first;
use crate::clip::unit;

/// A label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// What results call it.
    pub name: String,
    /// The words that stand for it in the templates.
    pub words: String,
    /// The folder that holds pictures of it, where that has another name.
    pub folder: Option<String>,
}

impl Label {
    /// A label that is called what it is.
    pub fn new(words: &str) -> Self {
        Self {
            name: words.to_owned(),
            words: words.to_owned(),
            folder: None,
        }
    }
}

/// The text of a file of labels: UTF-8, or UTF-16 of either byte order where the file begins with its mark, as editors and shells of
/// Windows write it.
///
/// # Errors
/// When it is neither; the message names the likely encoding, or the line that is not UTF-8.
pub fn label_text(bytes: &[u8]) -> Result<String> {
    if bytes.starts_with(b"\xff\xfe\0\0") || bytes.starts_with(b"\0\0\xfe\xff") {
        bail!("it is UTF-32: save it as UTF-8");
    }
    if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        return utf16(rest, u16::from_le_bytes);
    }
    if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        return utf16(rest, u16::from_be_bytes);
    }
    if bytes.contains(&0) {
        bail!("it looks like UTF-16 without a byte order mark: save it as UTF-8");
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            bail!("line {line} is not UTF-8: save it as UTF-8")
        }
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String> {
    let (units, rest) = bytes.as_chunks::<2>();
    let text: Result<String, _> =
        char::decode_utf16(units.iter().map(|pair| unit(*pair))).collect();
    match text {
        Ok(text) if rest.is_empty() => Ok(text),
        _ => bail!("it begins like UTF-16 and is damaged: save it as UTF-8"),
    }
}

/// Labels from a text, one a line: `label`, or `folder = label`. Empty lines and those that begin with `#` are left out.
///
/// # Errors
/// When there are fewer than two, or one comes twice.
pub fn parse_labels(text: &str) -> Result<Vec<Label>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.split(['\n', '\r']).map(str::trim);
    let labels = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| match line.split_once('=') {
            Some((folder, words)) => Label {
                folder: Some(folder.trim().to_owned()),
                ..Label::new(words.trim())
            },
            None => Label::new(line),
        });
    checked(labels.collect())
}

/// Checks that there is something to choose between.
///
/// # Errors
/// When there are fewer than two labels, one is empty, or two are equal, also if in different Unicode normal forms.
pub fn checked(labels: Vec<Label>) -> Result<Vec<Label>> {
    let mut known = HashSet::new();
    for label in &labels {
        if label.words.is_empty() {
            bail!("a label is empty");
        }
        if !known.insert(label.name.nfc().collect::<String>()) {
            bail!("the label \"{}\" comes twice", label.name);
        }
    }
    if labels.len() < 2 {
        bail!("there must be at least two labels to choose between");
    }
    Ok(labels)
}

/// What each CLIP of a panel makes of the labels.
pub struct Classifier {
    labels: Vec<Label>,
    /// `[eye][label][width]`, of unit length.
    vectors: Vec<Vec<Vec<f32>>>,
    scales: Vec<Scale>,
    /// What the person should know: words that a model does not read.
    pub warnings: Vec<String>,
}

impl Classifier {
    /// Reads the labels in the templates; `{}` stands for the label. A label's vector is the mean of its sentences' vectors,
    /// brought to unit length, as in CLIP's own evaluation. `watch` is told how many labels are read.
    ///
    /// # Errors
    /// When a template has no `{}`, or a model fails.
    pub fn new(
        panel: &Panel,
        labels: Vec<Label>,
        templates: &[String],
        mut watch: impl FnMut(usize),
    ) -> Result<Self> {
        if templates.is_empty() {
            bail!("there is no template to put labels into");
        }
        if let Some(template) = templates.iter().find(|template| !template.contains("{}")) {
            bail!("the template \"{template}\" has no {{}} for the label");
        }
        let mut vectors = vec![vec![]; panel.eyes().len()];
        let mut warnings = vec![];
        let mut scales = vec![];
        for eye in panel.eyes() {
            let bias = eye.logit_bias();
            if bias.is_some() {
                warnings.push(format!(
                    "`{}` judges each label by itself, with a sigmoid (`logit_bias`): its probabilities do not add up to 1",
                    eye.name()
                ));
            }
            scales.push(Scale {
                factor: f64::from(eye.logit_scale()),
                bias: bias.map(f64::from),
            });
        }
        for (done, label) in labels.iter().enumerate() {
            watch(done);
            for (eye, vectors) in panel.eyes().iter().zip(&mut vectors) {
                let mut mean = vec![0.0; eye.width()];
                for template in templates {
                    let (vector, unread) = eye.read(&template.replace("{}", &label.words))?;
                    let text = format!("the label \"{}\"", label.name);
                    for warning in unread.of_model(eye.name(), &text) {
                        // several sentences may give the same warning
                        if !warnings.contains(&warning) {
                            warnings.push(warning);
                        }
                    }
                    for (mean, value) in mean.iter_mut().zip(vector) {
                        *mean += value;
                    }
                }
                vectors.push(unit(mean));
            }
        }
        Ok(Self {
            labels,
            vectors,
            scales,
            warnings,
        })
    }

    /// The labels, in the order of [`Verdict::probabilities`].
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// What a picture is, by its vectors `[eye][width]`.
    pub fn judge(&self, picture: &[Vec<f32>]) -> Verdict {
        let by_eye: Vec<Vec<f64>> = (picture.iter().zip(&self.vectors))
            .zip(&self.scales)
            .map(|((vector, labels), scale)| {
                scale.probabilities(labels.iter().map(|label| dot(vector, label)))
            })
            .collect();
        let eyes = by_eye.len().max(1) as f64;
        let probabilities = (0..self.labels.len())
            .map(|label| by_eye.iter().map(|eye| eye[label]).sum::<f64>() / eyes)
            .collect();
        Verdict {
            probabilities,
            by_eye,
        }
    }

    /// The label whose folder a picture lies in, the innermost first: by the label's folder, else by its name, upper and lower
    /// case alike, `_` like a space, and in any Unicode normal form: macOS may store the `é` of a folder's name as two characters.
    pub fn truth(&self, path: &Path) -> Option<usize> {
        // decomposed after the change of case, which may compose characters again
        let plain = |name: &str| -> String {
            let name = name.nfc().collect::<String>().to_lowercase();
            name.trim().replace('_', " ").nfd().collect()
        };
        path.ancestors().skip(1).find_map(|folder| {
            let name = plain(&folder.file_name()?.to_string_lossy());
            self.labels.iter().position(|label| {
                label
                    .folder
                    .as_deref()
                    .is_some_and(|folder| plain(folder) == name)
                    || plain(&label.name) == name
            })
        })
    }
}

/// How probable each label is for a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The mean over the CLIPs, by label; the sum is 1, unless a CLIP has a `logit_bias`.
    pub probabilities: Vec<f64>,
    /// Each CLIP's, likewise.
    pub by_eye: Vec<Vec<f64>>,
}

impl Verdict {
    /// The labels from the most to the least probable.
    pub fn order(&self) -> Vec<usize> {
        best_first(self.probabilities.iter().copied())
    }
}

/// How cosines become probabilities.
#[derive(Clone, Copy)]
struct Scale {
    factor: f64,
    /// Given for a CLIP trained with a sigmoid loss, which judges each text by itself.
    bias: Option<f64>,
}

impl Scale {
    fn probabilities(self, cosines: impl Iterator<Item = f64>) -> Vec<f64> {
        let logits = cosines.map(|cosine| self.factor * cosine);
        match self.bias {
            Some(bias) => logits
                .map(|logit| 1.0 / (1.0 + (-logit - bias).exp()))
                .collect(),
            None => softmax(logits.collect()),
        }
    }
}

fn softmax(mut logits: Vec<f64>) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for logit in &mut logits {
        *logit = (*logit - max).exp();
        sum += *logit;
    }
    logits.iter_mut().for_each(|p| *p /= sum);
    logits
}

/// How often verdicts are right.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// Pictures whose label is known.
    pub pictures: usize,
    /// The share of them whose most probable label is right.
    pub top1: f64,
    /// The share of them whose label is among the five most probable.
    pub top5: f64,
    /// The mean over the labels of the share of each one's pictures that are right, as data sets of uneven labels are measured.
    pub mean_per_class: f64,
    /// Pictures by true label (row) and most probable label (column).
    pub confusion: Vec<Vec<usize>>,
}

impl Accuracy {
    /// Of true labels and probabilities, in pairs; `labels` is their number.
    pub fn of<'a>(labels: usize, verdicts: impl Iterator<Item = (usize, &'a [f64])>) -> Self {
        let mut confusion = vec![vec![0; labels]; labels];
        let (mut pictures, mut right, mut near) = (0usize, 0usize, 0usize);
        for (truth, probabilities) in verdicts {
            let order = best_first(probabilities.iter().copied());
            pictures += 1;
            if let Some(best) = order.first() {
                confusion[truth][*best] += 1;
                right += usize::from(*best == truth);
            }
            near += usize::from(order.iter().take(5).any(|label| *label == truth));
        }
        let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
        let of_class: Vec<f64> = (confusion.iter().enumerate())
            .filter_map(|(label, row)| {
                let whole = row.iter().sum::<usize>();
                (whole > 0).then(|| share(row[label], whole))
            })
            .collect();
        Self {
            pictures,
            top1: share(right, pictures),
            top5: share(near, pictures),
            mean_per_class: of_class.iter().sum::<f64>() / of_class.len().max(1) as f64,
            confusion,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classifier(labels: &[Label]) -> Classifier {
        Classifier {
            labels: labels.to_vec(),
            vectors: vec![vec![vec![1.0, 0.0], vec![0.0, 1.0]]],
            scales: vec![Scale {
                factor: 10.0,
                bias: None,
            }],
            warnings: vec![],
        }
    }

    #[test]
    fn probabilities_are_the_softmax_of_scaled_cosines() {
        let verdict = classifier(&[Label::new("a"), Label::new("b")]).judge(&[vec![0.6, 0.8]]);
        let expected = 1.0 / (1.0 + (2.0f64).exp());
        assert!((verdict.probabilities[0] - expected).abs() < 1e-6);
        assert_eq!(verdict.order(), [1, 0]);
    }

    #[test]
    fn with_a_bias_each_label_stands_alone() {
        let scale = Scale {
            factor: 10.0,
            bias: Some(-8.0),
        };
        let found = scale.probabilities([0.8, 0.6].into_iter());
        let expected = [0.5, 1.0 / (1.0 + 2.0f64.exp())];
        assert!((found[0] - expected[0]).abs() < 1e-12 && (found[1] - expected[1]).abs() < 1e-12);
    }

    #[test]
    fn the_truth_is_the_innermost_folder_that_is_a_label() {
        let mut springer = Label::new("English springer");
        springer.folder = Some("n02102040".to_owned());
        let classifier = classifier(&[Label::new("tench"), springer]);
        for (path, truth) in [
            ("val/tench/1.png", Some(0)),
            ("tench/n02102040/x/1.png", Some(1)),
            ("val/english_springer/1.png", Some(1)),
            ("val/tench.png", None),
        ] {
            assert_eq!(classifier.truth(Path::new(path)), truth, "{path}");
        }
    }

    #[test]
    fn labels_are_read_from_lines() {
        let labels = parse_labels("# dogs\n\ntench\n n1 = English springer \n").expect("labels");
        assert_eq!(labels[0], Label::new("tench"));
        assert_eq!(labels[1].folder.as_deref(), Some("n1"));
        assert_eq!(labels[1].name, "English springer");
        for wrong in ["", "one\n", "a\na\n", "a\nx =\n"] {
            assert!(parse_labels(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn labels_are_read_in_the_encodings_of_editors() {
        let text = "tench\r\n日本 \u{1F41F}\r\n";
        let units = |to_bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            let marked = std::iter::once(0xfeff).chain(text.encode_utf16());
            marked.flat_map(to_bytes).collect()
        };
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            units(u16::to_le_bytes),
            units(u16::to_be_bytes),
        ] {
            assert_eq!(label_text(&bytes).expect("a text"), text);
            let labels = parse_labels(text).expect("labels");
            assert_eq!(labels, [Label::new("tench"), Label::new("日本 \u{1F41F}")]);
        }
        let marked = parse_labels("\u{feff}a\rb").expect("labels");
        assert_eq!(marked, [Label::new("a"), Label::new("b")]);
    }

    #[test]
    fn labels_in_other_encodings_are_refused_by_name() {
        for (bytes, message) in [
            (&b"t\0e\0n\0c\0h\0"[..], "UTF-16 without a byte order mark"),
            (b"\xff\xfea\0b", "UTF-16 and is damaged"),
            (b"\xff\xfe\x00\xd8a\0", "UTF-16 and is damaged"),
            (b"\xff\xfe\0\0a\0\0\0", "UTF-32"),
            (b"a\ncaf\xe9\n", "line 2 is not UTF-8"),
        ] {
            let error = label_text(bytes).expect_err("no text").to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn normal_forms_of_unicode_are_the_same_label() {
        let classifier = classifier(&[Label::new("caf\u{e9}"), Label::new("A\u{30a}ngstrom")]);
        for (path, truth) in [
            ("cafe\u{301}/1.png", Some(0)),
            ("CAFE\u{301}/1.png", Some(0)),
            ("\u{c5}ngstrom/1.png", Some(1)),
            ("\u{212b}ngstrom/1.png", Some(1)),
            ("cafe/1.png", None),
        ] {
            assert_eq!(classifier.truth(Path::new(path)), truth, "{path}");
        }
        assert!(parse_labels("caf\u{e9}\ncafe\u{301}\n").is_err());
    }

    #[test]
    fn accuracy_counts_right_labels() {
        let verdicts: [(usize, &[f64]); 3] = [(0, &[0.9, 0.1]), (0, &[0.2, 0.8]), (1, &[0.4, 0.6])];
        let accuracy = Accuracy::of(2, verdicts.into_iter());
        assert_eq!(accuracy.confusion, [[1, 1], [0, 1]]);
        assert_eq!(
            (accuracy.pictures, accuracy.top1, accuracy.top5),
            (3, 2.0 / 3.0, 1.0)
        );
        assert_eq!(accuracy.mean_per_class, 0.75);
    }
}
