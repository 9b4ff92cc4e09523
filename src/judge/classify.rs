//! Zero-shot classification: which of several labels a picture fits best (Radford et al. 2021, section 3.1).

use std::path::PathBuf;
use std::slice;

use anyhow::{Result, bail};
use serde::Serialize;

use super::ensemble::{Encoder, Ensemble};
use super::labels::{Folders, Label};
use super::pictures::{PictureResult, Results};
use super::score::best_first;
use crate::clip::{fast_dot, unit};

/// Classifies pictures by labels, with one or several CLIPs.
pub struct Classifier {
    ensemble: Ensemble,
    labels: Vec<Label>,
    /// One for each CLIP.
    heads: Vec<LabelHead>,
    warnings: Vec<String>,
}

/// The labels as one CLIP reads them.
struct LabelHead {
    /// Of unit length, `[label][width]`.
    vectors: Vec<Vec<f32>>,
    /// What cosines are multiplied by.
    scale: f64,
    /// Given for a CLIP that was trained with a sigmoid loss, which judges each label independently.
    bias: Option<f64>,
}

impl Classifier {
    /// Embeds the labels in the templates; `{}` stands for the label. A label's vector is the mean of its sentences' vectors,
    /// brought to unit length, as in CLIP's own evaluation. `progress` is called with the number of labels that are done, and of all.
    ///
    /// # Errors
    /// When a template has no `{}`, or a model fails.
    pub fn new(
        ensemble: Ensemble,
        labels: Vec<Label>,
        templates: &[String],
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Self> {
        if templates.is_empty() {
            bail!("there is no template to put labels into");
        }
        if let Some(template) = templates.iter().find(|template| !template.contains("{}")) {
            bail!("the template \"{template}\" has no {{}} for the label");
        }
        let mut warnings = vec![];
        let mut heads: Vec<LabelHead> = (ensemble.encoders().iter())
            .map(|encoder| LabelHead::new(encoder, &mut warnings))
            .collect();
        let mut unread = vec![vec![]; heads.len()];
        for (done, label) in labels.iter().enumerate() {
            progress(done, labels.len());
            let heads = heads.iter_mut().zip(&mut unread);
            for (encoder, (head, unread)) in ensemble.encoders().iter().zip(heads) {
                let (vector, warnings) = label_vector(encoder, label, templates)?;
                head.vectors.push(vector);
                unread.extend((!warnings.is_empty()).then_some(warnings));
            }
        }
        warnings.extend(unread.into_iter().flat_map(summary));
        Ok(Self {
            ensemble,
            labels,
            heads,
            warnings,
        })
    }

    /// The labels, in the order of [`Classification::probabilities`].
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// Warnings about words that a CLIP does not read, and about probabilities that do not add up to 1.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Classifies a picture by its vectors, `[encoder][width]`.
    pub fn classify(&self, picture: &[Vec<f32>]) -> Classification {
        let by_encoder: Vec<Vec<f64>> = (picture.iter().zip(&self.heads))
            .map(|(vector, head)| head.probabilities(vector))
            .collect();
        let encoders = by_encoder.len().max(1) as f64;
        let mean = |label: usize| by_encoder.iter().map(|each| each[label]).sum::<f64>() / encoders;
        Classification {
            probabilities: (0..self.labels.len()).map(mean).collect(),
            by_encoder,
            truth: None,
        }
    }

    /// Classifies picture files; folders are searched for pictures. `progress` is called with the number of files that are done, and of all.
    ///
    /// # Errors
    /// When a model fails. Files that cannot be read are no error; they are listed.
    pub fn classify_files(
        &self,
        paths: &[PathBuf],
        progress: impl FnMut(usize, usize),
    ) -> Result<Results<Classification>> {
        let embedded = self.ensemble.embed_paths(paths, progress)?;
        let files = (embedded.files.into_iter())
            .map(|(path, digest)| (path, embedded.vectors[&digest].as_slice()));
        let pictures = self.with_truth(files);
        let skipped = embedded.skipped;
        Ok(Results { pictures, skipped })
    }

    /// Classifies picture files by their vectors, by the ensemble's one CLIP.
    pub fn classify_vectors<'v>(
        &self,
        files: impl Iterator<Item = (PathBuf, &'v Vec<f32>)>,
    ) -> Vec<PictureResult<Classification>> {
        self.with_truth(files.map(|(path, vector)| (path, slice::from_ref(vector))))
    }

    /// Classifies pictures by their vectors, `[encoder][width]`, and finds the labels that their folders stand for.
    fn with_truth<'v>(
        &self,
        files: impl Iterator<Item = (PathBuf, &'v [Vec<f32>])>,
    ) -> Vec<PictureResult<Classification>> {
        let folders = Folders::new(&self.labels);
        let classify = |(path, vectors): (PathBuf, &[Vec<f32>])| {
            let mut result = self.classify(vectors);
            result.truth = folders.label_of(&path);
            let paths = vec![path];
            PictureResult { paths, result }
        };
        files.map(classify).collect()
    }

    /// How often pictures are classified as the folders that they lie in say; `None` if no picture lies in a folder of a label.
    pub fn evaluate(&self, pictures: &[PictureResult<Classification>]) -> Option<Evaluation> {
        let known: Vec<(usize, &Classification)> = (pictures.iter())
            .filter_map(|picture| Some((picture.result.truth?, &picture.result)))
            .collect();
        if known.is_empty() {
            return None;
        }
        let encoders = self.ensemble.encoders();
        // a single CLIP is all of them
        let several = if encoders.len() > 1 { encoders } else { &[] };
        let clips = (several.iter().enumerate())
            .map(|(index, encoder)| ClipAccuracy {
                clip: encoder.name().to_owned(),
                accuracy: self.accuracy(&known, |found| &found.by_encoder[index]),
            })
            .collect();
        Some(Evaluation {
            together: self.accuracy(&known, |found| &found.probabilities),
            clips,
            unknown: pictures.len() - known.len(),
        })
    }

    fn accuracy(
        &self,
        known: &[(usize, &Classification)],
        probabilities: impl Fn(&Classification) -> &[f64],
    ) -> Accuracy {
        let pairs = (known.iter()).map(|(truth, found)| (*truth, probabilities(found)));
        Accuracy::of(self.labels.len(), pairs)
    }
}

/// The warnings of the first label, the last of them with the number of other labels that have some.
fn summary(by_label: Vec<Vec<String>>) -> Vec<String> {
    let others = by_label.len().saturating_sub(1);
    let mut first = by_label.into_iter().next().unwrap_or_default();
    if let (Some(last), 1..) = (first.last_mut(), others) {
        let labels = if others == 1 {
            "label is"
        } else {
            "labels are"
        };
        last.push_str(&format!("; {others} other {labels} not read whole either"));
    }
    first
}

/// The vector of a label, and warnings about words that the CLIP does not read.
fn label_vector(
    encoder: &Encoder,
    label: &Label,
    templates: &[String],
) -> Result<(Vec<f32>, Vec<String>)> {
    let mut warnings = vec![];
    let mut sum = vec![0.0; encoder.width()];
    for template in templates {
        let (vector, unread) = encoder.embed_text(&template.replace("{}", &label.name))?;
        let text = format!("the label \"{}\"", label.name);
        for warning in unread.of_model(encoder.name(), &text) {
            // several sentences may give the same warning
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        for (sum, value) in sum.iter_mut().zip(vector) {
            *sum += value;
        }
    }
    Ok((unit(sum), warnings))
}

impl LabelHead {
    fn new(encoder: &Encoder, warnings: &mut Vec<String>) -> Self {
        let bias = encoder.logit_bias();
        if bias.is_some() {
            warnings.push(format!(
                "`{}` judges each label independently, with a sigmoid (`logit_bias`): its probabilities do not add up to 1",
                encoder.name()
            ));
        }
        Self {
            vectors: vec![],
            scale: f64::from(encoder.logit_scale()),
            bias: bias.map(f64::from),
        }
    }

    fn probabilities(&self, picture: &[f32]) -> Vec<f64> {
        let cosines = self.vectors.iter().map(|label| fast_dot(picture, label));
        let logits = cosines.map(|cosine| self.scale * cosine);
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
    (logits.iter_mut()).for_each(|logit| *logit = (*logit - max).exp());
    let sum: f64 = logits.iter().sum();
    logits.iter_mut().for_each(|p| *p /= sum);
    logits
}

/// How probable each label is for a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    /// The mean over the CLIPs, by label; the sum is 1, unless a CLIP has a `logit_bias`.
    pub probabilities: Vec<f64>,
    /// The probabilities of each CLIP.
    pub by_encoder: Vec<Vec<f64>>,
    /// The label of the innermost folder that the file lies in and that is called like a label: as [`Label::folder`] or as [`Label::name`] says,
    /// upper and lower case alike, and `_` like a space.
    pub truth: Option<usize>,
}

impl Classification {
    /// The indices of the labels from the most to the least probable.
    pub fn order(&self) -> Vec<usize> {
        best_first(self.probabilities.iter().copied())
    }
}

/// How often classifications are right, by the folders that the pictures lie in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// By the mean of all CLIPs' probabilities.
    #[serde(flatten)]
    pub together: Accuracy,
    /// Each CLIP's, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clips: Vec<ClipAccuracy>,
    /// Pictures that lie in no folder of a label.
    pub unknown: usize,
}

/// How often one CLIP is right.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClipAccuracy {
    /// Its name.
    pub clip: String,
    /// How often it is right.
    #[serde(flatten)]
    pub accuracy: Accuracy,
}

/// How often classifications are right.
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
    fn of<'a>(labels: usize, classifications: impl Iterator<Item = (usize, &'a [f64])>) -> Self {
        let mut confusion = vec![vec![0; labels]; labels];
        let (mut pictures, mut right, mut near) = (0usize, 0usize, 0usize);
        for (truth, probabilities) in classifications {
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

    fn head(scale: f64, bias: Option<f64>) -> LabelHead {
        LabelHead {
            vectors: vec![vec![1.0, 0.0], vec![0.0, 1.0]],
            scale,
            bias,
        }
    }

    fn assert_near(found: &[f64], expected: [f64; 2]) {
        let near = |(a, b): (&f64, f64)| (a - b).abs() < 1e-6;
        assert!(found.iter().zip(expected).all(near), "{found:?}");
    }

    #[test]
    fn labels_that_are_not_read_whole_are_one_line() {
        let lines =
            |labels: &[&str]| summary(labels.iter().map(|it| vec![(*it).to_owned()]).collect());
        assert_eq!(lines(&[]), [""; 0]);
        assert_eq!(lines(&["a"]), ["a"]);
        assert_eq!(
            lines(&["a", "b"]),
            ["a; 1 other label is not read whole either"]
        );
        assert_eq!(
            lines(&["a", "b", "c"]),
            ["a; 2 other labels are not read whole either"]
        );
    }

    #[test]
    fn probabilities_are_the_softmax_of_scaled_cosines() {
        let found = head(10.0, None).probabilities(&[0.6, 0.8]);
        let first = 1.0 / (1.0 + 2.0f64.exp());
        assert_near(&found, [first, 1.0 - first]);
    }

    #[test]
    fn with_a_bias_each_label_is_judged_independently() {
        let found = head(10.0, Some(-8.0)).probabilities(&[0.8, 0.6]);
        assert_near(&found, [0.5, 1.0 / (1.0 + 2.0f64.exp())]);
    }

    #[test]
    fn accuracy_counts_right_labels() {
        let pairs: [(usize, &[f64]); 3] = [(0, &[0.9, 0.1]), (0, &[0.2, 0.8]), (1, &[0.4, 0.6])];
        let accuracy = Accuracy::of(2, pairs.into_iter());
        assert_eq!(accuracy.confusion, [[1, 1], [0, 1]]);
        assert_eq!(
            (accuracy.pictures, accuracy.top1, accuracy.top5),
            (3, 2.0 / 3.0, 1.0)
        );
        assert_eq!(accuracy.mean_per_class, 0.75);
    }
}
