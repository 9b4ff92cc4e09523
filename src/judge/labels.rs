//! The labels of a zero-shot classification, and the sentences that they are put into.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use unicode_normalization::UnicodeNormalization;

use super::text_file;

/// A label that pictures may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// What results call it, and what is put into the templates.
    pub name: String,
    /// The folder that holds pictures of it, where that has another name.
    pub folder: Option<String>,
}

impl Label {
    /// A label whose pictures lie in a folder of the same name.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            folder: None,
        }
    }
}

/// The labels in a file, see [`parse_labels`]. The file is in UTF-8, or in UTF-16 of either byte order if it begins with a byte order mark, as
/// editors and shells of Windows write it.
///
/// # Errors
/// When the file cannot be read, is in another encoding, or its labels cannot be used.
pub fn read_labels(path: &Path) -> Result<Vec<Label>> {
    let text = text_file::read(path, "the labels")?;
    parse_labels(&text).with_context(|| format!("in {}", path.display()))
}

/// Labels of these names; a single `imagenette` or `imagewoof` stands for the labels of that data set.
///
/// # Errors
/// When there are fewer than two, or one is empty or comes twice.
pub fn labels_named(names: &[String]) -> Result<Vec<Label>> {
    if let [name] = names
        && let Some(text) = known_labels(name)
    {
        return parse_labels(text);
    }
    checked(names.iter().map(|name| Label::new(name.trim())).collect())
}

/// Labels by a single word of the user: the name of a data set, the path of a file with labels, or labels with commas between them.
///
/// # Errors
/// As [`read_labels`] and [`labels_named`].
pub fn labels_of(text: &str) -> Result<Vec<Label>> {
    let path = Path::new(text);
    if known_labels(text).is_none() && path.is_file() {
        return read_labels(path);
    }
    let names: Vec<String> = text.split(',').map(str::to_owned).collect();
    if names.len() == 1 && known_labels(text).is_none() {
        bail!(
            "`{text}` is neither `imagenette` nor `imagewoof`, nor a file with labels, nor several labels with commas between them"
        );
    }
    labels_named(&names)
}

/// Templates, each with `{}` for the label; `simple` and `imagenet` stand for one and 80 of them.
///
/// # Errors
/// When one of them has no `{}`, and is neither of these names.
pub fn templates(names: &[String]) -> Result<Vec<String>> {
    let mut templates = vec![];
    for name in names {
        match known_templates(name) {
            Some(known) => templates.extend(known),
            None if name.contains("{}") => templates.push(name.clone()),
            None => bail!(
                "the template \"{name}\" has no {{}} for the label, and is neither `simple` nor `imagenet`"
            ),
        }
    }
    Ok(templates)
}

/// Labels from a text, one a line: `label`, or `folder = label`. Empty lines and those that begin with `#` are left out.
///
/// # Errors
/// When there are fewer than two, or one comes twice.
pub fn parse_labels(text: &str) -> Result<Vec<Label>> {
    let labels = text_file::lines(text).map(|(_, line)| match line.split_once('=') {
        Some((folder, name)) => Label {
            folder: Some(folder.trim().to_owned()),
            ..Label::new(name.trim())
        },
        None => Label::new(line),
    });
    checked(labels.collect())
}

/// Refuses fewer than two labels, empty ones, and equal ones, also if in different Unicode normal forms.
fn checked(labels: Vec<Label>) -> Result<Vec<Label>> {
    let mut known = HashSet::new();
    for label in &labels {
        if label.name.is_empty() {
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

/// Finds the labels of pictures by the folders that they lie in.
pub(super) struct Folders(HashMap<String, usize>);

impl Folders {
    /// A folder belongs to a label if it is called as [`Label::folder`] says, or as the label.
    pub fn new(labels: &[Label]) -> Self {
        let mut folders = HashMap::new();
        for (index, label) in labels.iter().enumerate() {
            for name in label.folder.iter().chain([&label.name]) {
                folders.entry(folder_key(name)).or_insert(index);
            }
        }
        Self(folders)
    }

    /// The label of the innermost folder of a path that belongs to one.
    pub fn label_of(&self, path: &Path) -> Option<usize> {
        (path.ancestors().skip(1))
            .filter_map(Path::file_name)
            .find_map(|name| self.0.get(&folder_key(&name.to_string_lossy())).copied())
    }
}

/// A folder's name without differences that do not matter: of case, of `_` and space, and of the Unicode normal form, because macOS may
/// store the `é` of a folder's name as two characters.
fn folder_key(name: &str) -> String {
    // decomposed after the change of case, which may compose characters again
    let name = name.nfc().collect::<String>().to_lowercase();
    name.trim().replace('_', " ").nfd().collect()
}

/// The templates of a name: `simple`, or `imagenet`, the 80 that OpenAI's CLIP was measured on ImageNet with (Radford et al. 2021,
/// appendix; in their order).
fn known_templates(name: &str) -> Option<Vec<String>> {
    match name {
        "simple" => Some(vec!["a photo of a {}".to_owned()]),
        "imagenet" => Some(IMAGENET.split(';').map(expand).collect()),
        _ => None,
    }
}

/// Abbreviations keep the table short: `@` stands for "photo of", and every template ends in a full stop.
fn expand(part: &str) -> String {
    format!("{}.", part.trim().replace('@', "photo of"))
}

const IMAGENET: &str = "a bad @ a {}; a @ many {}; a sculpture of a {}; a @ the hard to see {}; \
    a low resolution @ the {}; a rendering of a {}; graffiti of a {}; a bad @ the {}; a cropped @ the {}; \
    a tattoo of a {}; the embroidered {}; a @ a hard to see {}; a bright @ a {}; a @ a clean {}; \
    a @ a dirty {}; a dark @ the {}; a drawing of a {}; a @ my {}; the plastic {}; a @ the cool {}; \
    a close-up @ a {}; a black and white @ the {}; a painting of the {}; a painting of a {}; \
    a pixelated @ the {}; a sculpture of the {}; a bright @ the {}; a cropped @ a {}; a plastic {}; \
    a @ the dirty {}; a jpeg corrupted @ a {}; a blurry @ the {}; a @ the {}; a good @ the {}; \
    a rendering of the {}; a {} in a video game; a @ one {}; a doodle of a {}; a close-up @ the {}; \
    a @ a {}; the origami {}; the {} in a video game; a sketch of a {}; a doodle of the {}; a origami {}; \
    a low resolution @ a {}; the toy {}; a rendition of the {}; a @ the clean {}; a @ a large {}; \
    a rendition of a {}; a @ a nice {}; a @ a weird {}; a blurry @ a {}; a cartoon {}; art of a {}; \
    a sketch of the {}; a embroidered {}; a pixelated @ a {}; itap of the {}; a jpeg corrupted @ the {}; \
    a good @ a {}; a plushie {}; a @ the nice {}; a @ the small {}; a @ the weird {}; the cartoon {}; \
    art of the {}; a drawing of the {}; a @ the large {}; a black and white @ a {}; the plushie {}; \
    a dark @ a {}; itap of a {}; graffiti of the {}; a toy {}; itap of my {}; a @ a cool {}; \
    a @ a small {}; a tattoo of the {}";

/// The labels of a known data set, a line each in the syntax of [`parse_labels`]: `imagenette` or `imagewoof`
/// (ten classes of ImageNet each, the folders named by WordNet's numbers).
fn known_labels(name: &str) -> Option<&'static str> {
    match name {
        "imagenette" => Some(
            "n01440764 = tench\nn02102040 = English Springer Spaniel\nn02979186 = cassette player\n\
             n03000684 = chainsaw\nn03028079 = church\nn03394916 = French horn\n\
             n03417042 = garbage truck\nn03425413 = gas pump\nn03445777 = golf ball\nn03888257 = parachute\n",
        ),
        "imagewoof" => Some(
            "n02086240 = Shih Tzu\nn02087394 = Rhodesian Ridgeback\nn02088364 = Beagle\n\
             n02089973 = English foxhound\nn02093754 = Border Terrier\nn02096294 = Australian Terrier\n\
             n02099601 = Golden Retriever\nn02105641 = Old English Sheepdog\nn02111889 = Samoyed\nn02115641 = dingo\n",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_truth_is_the_innermost_folder_that_is_a_label() {
        let mut springer = Label::new("English springer");
        springer.folder = Some("n02102040".to_owned());
        let folders = Folders::new(&[Label::new("tench"), springer]);
        for (path, truth) in [
            ("val/tench/1.png", Some(0)),
            ("tench/n02102040/x/1.png", Some(1)),
            ("val/english_springer/1.png", Some(1)),
            ("val/tench.png", None),
        ] {
            assert_eq!(folders.label_of(Path::new(path)), truth, "{path}");
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
    fn normal_forms_of_unicode_are_the_same_label() {
        let folders = Folders::new(&[Label::new("caf\u{e9}"), Label::new("A\u{30a}ngstrom")]);
        for (path, truth) in [
            ("cafe\u{301}/1.png", Some(0)),
            ("CAFE\u{301}/1.png", Some(0)),
            ("\u{c5}ngstrom/1.png", Some(1)),
            ("\u{212b}ngstrom/1.png", Some(1)),
            ("cafe/1.png", None),
        ] {
            assert_eq!(folders.label_of(Path::new(path)), truth, "{path}");
        }
        assert!(parse_labels("caf\u{e9}\ncafe\u{301}\n").is_err());
    }

    #[test]
    fn the_templates_of_imagenet_are_eighty_different_sentences_for_one_label() {
        let templates = known_templates("imagenet").expect("templates");
        assert_eq!(templates.len(), 80);
        assert_eq!(templates.iter().collect::<HashSet<_>>().len(), 80);
        assert!(
            templates
                .iter()
                .all(|t| t.matches("{}").count() == 1 && t.ends_with('.'))
        );
        assert_eq!(templates[0], "a bad photo of a {}.");
        assert_eq!(templates[79], "a tattoo of the {}.");
    }
}
