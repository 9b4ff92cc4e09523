//! Reading a sweep's file, and the files that it takes values from.

mod tables;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use phantasia_core::diagnostic::{nearest, shown as quoted};
use phantasia_core::{Diagnostic, DiagnosticKind, Location};

use super::axis::{Axis, Choice, Choices, Range, Setting, alternatives, shown};
use super::plan::MOST_RUNS;
use crate::recipe::node::{Content, Node, Scalar};
use crate::recipe::{PartialRecipe, Recipe, RecipeError, yaml};

/// The largest file of a sweep in bytes.
const MAX_BYTES: usize = 1 << 20;
const KEYS: [&str; 4] = ["recipe", "sweep", "zip", "sample"];

/// What a sweep's file says.
pub(super) struct SweepFile {
    pub base: PartialRecipe,
    /// In the order of the file.
    pub axes: Vec<Axis>,
    pub sample: Option<Sample>,
}

/// How many of the combinations are painted, and the seed that draws them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub count: usize,
    pub seed: u64,
}

struct Reader<'p> {
    origin: String,
    /// Of the sweep's file.
    folder: &'p Path,
    axes: Vec<Axis>,
}

type Result<T, E = RecipeError> = std::result::Result<T, E>;

/// Reads a sweep's file.
///
/// # Errors
/// When a file cannot be read, or its content cannot be used; the error says where.
pub(super) fn read(path: &Path) -> Result<SweepFile> {
    let reader = Reader {
        origin: path.display().to_string(),
        folder: path.parent().unwrap_or(Path::new("")),
        axes: vec![],
    };
    let text = match fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) if text.len() <= MAX_BYTES => text,
        Ok(Ok(_)) => return Err(reader.file(&format!("it has more than {MAX_BYTES} bytes"))),
        Ok(Err(_)) => {
            return Err(reader.file("it is not a text in UTF-8: a sweep is a file of YAML"));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(reader.file(
                "cannot read the sweep: there is no such file; `phantasia sweep --help` shows one to start from",
            ));
        }
        Err(error) => return Err(reader.file(&format!("cannot read the sweep: {error}"))),
    };
    reader.sweep(&text)
}

impl Reader<'_> {
    fn file(&self, message: &str) -> RecipeError {
        self.at(&Location::File, "", message)
    }

    fn at(&self, location: &Location, path: &str, message: &str) -> RecipeError {
        let kind = DiagnosticKind::Invalid(message.to_owned());
        let (location, path) = (location.clone(), path.to_owned());
        RecipeError::new(
            &self.origin,
            vec![Diagnostic {
                location,
                path,
                kind,
            }],
        )
    }

    /// Where a value stands, for messages about recipes that it is put into.
    fn place(&self, location: &Location) -> String {
        format!("{}:{location}", self.origin)
    }

    fn sweep(mut self, text: &str) -> Result<SweepFile> {
        let root = yaml::read(text).map_err(|diagnostic| match diagnostic.kind {
            DiagnosticKind::Empty => self.file(
                "the sweep is empty: name a `recipe`, and below `sweep` the values of its paths",
            ),
            _ => RecipeError::new(&self.origin, vec![diagnostic]),
        })?;
        let Content::Map(entries) = &root.content else {
            return Err(self.at(
                &root.location,
                "",
                "a sweep is a map of `recipe` and `sweep`",
            ));
        };
        let (mut base, mut sample) = (None, None);
        for (key, node) in entries {
            match key.name.as_str() {
                "recipe" => base = Some(self.recipe(node)?),
                "sweep" => self.crossed(node)?,
                "zip" => match &node.content {
                    Content::List(groups) => {
                        for group in groups {
                            self.zipped(group)?;
                        }
                    }
                    _ => self.zipped(node)?,
                },
                "sample" => sample = Some(self.sample(node)?),
                other => {
                    let is_sweep =
                        (entries.iter()).any(|(key, _)| KEYS.contains(&key.name.as_str()));
                    let is_of_recipe = Recipe::schema()["properties"].get(other).is_some();
                    if is_of_recipe && !is_sweep {
                        return Err(self.at(
                            &key.location,
                            "",
                            "this looks like a recipe: a sweep is a file of its own, which names it as `recipe: FILE` and has values below \
                             `sweep`, such as `seed: 1..3`",
                        ));
                    }
                    let meant = nearest(other, &KEYS).filter(|_| !is_of_recipe);
                    let advice = match meant {
                        Some(meant) => format!("did you mean `{meant}`?"),
                        None if is_of_recipe || other.contains('.') => {
                            "values of the recipe stand below `sweep`".to_owned()
                        }
                        None => format!(
                            "a sweep has {}",
                            KEYS.map(|key| format!("`{key}`")).join(", ")
                        ),
                    };
                    let message = format!("unknown key `{}`; {advice}", quoted(other));
                    return Err(self.at(&key.location, "", &message));
                }
            }
        }
        let base = base.ok_or_else(|| self.file("there is no `recipe`: name the file of the recipe whose values are swept, or write it there"))?;
        self.check_paths(&root.location)?;
        Ok(SweepFile {
            base,
            axes: self.axes,
            sample,
        })
    }

    fn recipe(&self, node: &Node) -> Result<PartialRecipe> {
        match &node.content {
            Content::Map(_) => Ok(PartialRecipe::new(node.clone(), &self.origin, self.folder)),
            Content::Scalar {
                text,
                scalar: Scalar::Text,
            } => {
                let path = self.folder.join(&**text);
                if !path.exists() {
                    let message = format!(
                        "there is no file `{}`: the path starts from the sweep's folder",
                        path.display()
                    );
                    return Err(self.at(&node.location, "recipe", &message));
                }
                PartialRecipe::load(&path)
            }
            _ => Err(self.at(
                &node.location,
                "recipe",
                "expected the path of a recipe, or a recipe",
            )),
        }
    }

    fn sample(&self, node: &Node) -> Result<Sample> {
        let whole = |node: &Node, key: &str, least: u64, most: u64| match &node.content {
            Content::Scalar {
                scalar: Scalar::Unsigned(number),
                ..
            } if (least..=most).contains(number) => Ok(*number),
            _ => Err(self.at(
                &node.location,
                key,
                &format!("expected a whole number from {least} to {most}"),
            )),
        };
        let mut sample = Sample { count: 0, seed: 0 };
        let Content::Map(entries) = &node.content else {
            sample.count = whole(node, "sample", 1, MOST_RUNS as u64)? as usize;
            return Ok(sample);
        };
        for (key, value) in entries {
            match key.name.as_str() {
                "count" => {
                    sample.count = whole(value, "sample.count", 1, MOST_RUNS as u64)? as usize
                }
                "seed" => sample.seed = whole(value, "sample.seed", 0, u64::MAX)?,
                _ => return Err(self.at(&key.location, "sample", "expected `count` and `seed`")),
            }
        }
        if sample.count == 0 {
            return Err(self.at(
                &node.location,
                "sample",
                "there is no `count`: how many combinations to paint",
            ));
        }
        Ok(sample)
    }

    /// An axis for each path.
    fn crossed(&mut self, node: &Node) -> Result<()> {
        for (key, node) in self.entries(node, "sweep")? {
            let choices = self.choices(&key, &node)?;
            self.axes.push(Axis::of_path(&key, choices));
        }
        Ok(())
    }

    /// One axis of several paths, whose values go together.
    fn zipped(&mut self, node: &Node) -> Result<()> {
        let entries = self.entries(node, "zip")?;
        if let [(key, file)] = entries.as_slice()
            && key == "file"
        {
            let axis = self.table(file)?;
            self.axes.push(axis);
            return Ok(());
        }
        let (mut columns, mut rows): (Vec<String>, Vec<Vec<Setting>>) = (vec![], vec![]);
        for (index, (path, node)) in entries.into_iter().enumerate() {
            let axis = Axis::of_path(&path, self.choices(&path, &node)?);
            let count = axis.len().filter(|count| *count <= MOST_RUNS as u64);
            let count = count.ok_or_else(|| {
                self.at(
                    &node.location,
                    &path,
                    &format!("the values of `zip` are listed, and at most {MOST_RUNS}"),
                )
            })?;
            if index > 0 && rows.len() as u64 != count {
                let message = format!(
                    "it has {count} values, and `{}` beside it {}: what is zipped has the same number",
                    columns[0],
                    rows.len()
                );
                return Err(self.at(&node.location, &path, &message));
            }
            rows.resize(count as usize, vec![]);
            for (row, choice) in (0..count).zip(&mut rows) {
                if let Choice::Set(settings) = axis.choice(row) {
                    choice.extend(settings);
                }
            }
            columns.push(path);
        }
        let choices = Choices::Listed(rows.into_iter().map(Choice::Set).collect());
        self.axes.push(Axis {
            columns,
            choices,
            text: None,
        });
        Ok(())
    }

    /// The entries of a map of paths, at least one.
    fn entries(&self, node: &Node, what: &str) -> Result<Vec<(String, Node)>> {
        let Content::Map(entries) = &node.content else {
            let message = "expected a map of paths, as `--set` takes them, to their values, such as `seed: 1..3`";
            return Err(self.at(&node.location, what, message));
        };
        if entries.is_empty() {
            return Err(self.at(
                &node.location,
                what,
                "there is no path whose values are swept",
            ));
        }
        Ok(entries
            .iter()
            .map(|(key, node)| (key.name.trim().to_owned(), node.clone()))
            .collect())
    }

    /// The values of a path.
    fn choices(&self, path: &str, node: &Node) -> Result<Choices> {
        let fail = |message: &str| self.at(&node.location, path, message);
        match &node.content {
            Content::List(values) if values.is_empty() => {
                Err(fail("the list is empty: give it at least one value"))
            }
            Content::List(values) => self.listed(path, values),
            Content::Map(entries) => {
                let has = |key: &str| entries.iter().any(|(known, _)| known.name == key);
                if has("file") {
                    self.file_values(path, node)
                } else if has("min") || has("max") {
                    self.between(path, node)
                } else {
                    Err(fail(
                        "expected a list of values, a range, `{ file: values.txt }` or `{ min: 0.1, max: 1 }`; a map that is a value stands in a list",
                    ))
                }
            }
            Content::Scalar { text, .. } => match Range::read(text) {
                Some(Ok(range)) => Ok(Choices::Range {
                    path: path.to_owned(),
                    range,
                    origin: self.place(&node.location),
                }),
                Some(Err(why)) => Err(fail(&why)),
                None => Err(fail(&format!(
                    "expected a list of values or a range: write [{0}] for the one value {0}, or 1..3 for a range",
                    quoted(text)
                ))),
            },
            Content::Removed => Err(fail("there is no value")),
        }
    }

    /// A list of values, each with the alternatives of its wildcards.
    fn listed(&self, path: &str, values: &[Node]) -> Result<Choices> {
        let mut choices: Vec<Choice> = vec![];
        let mut known: std::collections::HashSet<String> = std::collections::HashSet::new();
        for value in values {
            let origin = self.place(&value.location);
            let spread =
                alternatives(path, value).map_err(|why| self.at(&value.location, path, &why))?;
            for node in spread {
                if !known.insert(format!("{:?}", Plain(&node))) {
                    let message = format!(
                        "the value `{}` comes twice: leave one out",
                        quoted(&shown(&node))
                    );
                    return Err(self.at(&value.location, path, &message));
                }
                let (path, origin) = (path.to_owned(), origin.clone());
                choices.push(Choice::Set(vec![Setting { path, node, origin }]));
            }
        }
        Ok(Choices::Listed(choices))
    }

    /// `{ min: 0.001, max: 0.1, log: true }`
    fn between(&self, path: &str, node: &Node) -> Result<Choices> {
        let fail = |location: &Location, message: &str| Err(self.at(location, path, message));
        let (mut low, mut high, mut is_log) = (None, None, false);
        for (key, value) in self.entries(node, path)? {
            let number = match &value.content {
                Content::Scalar {
                    scalar: Scalar::Unsigned(number),
                    ..
                } => Some(*number as f64),
                Content::Scalar {
                    scalar: Scalar::Signed(number),
                    ..
                } => Some(*number as f64),
                Content::Scalar {
                    scalar: Scalar::Float(number),
                    ..
                } => Some(*number),
                _ => None,
            };
            let number = number.filter(|number| number.is_finite());
            match (key.as_str(), number, &value.content) {
                ("min", Some(number), _) => low = Some(number),
                ("max", Some(number), _) => high = Some(number),
                (
                    "log",
                    _,
                    Content::Scalar {
                        scalar: Scalar::Bool(yes),
                        ..
                    },
                ) => is_log = *yes,
                ("min" | "max", ..) => return fail(&value.location, "expected a finite number"),
                ("log", ..) => return fail(&value.location, "expected true or false"),
                _ => return fail(&value.location, "expected `min`, `max` and `log`"),
            }
        }
        match (low, high) {
            (Some(low), Some(high)) if low < high && (!is_log || low > 0.0) => {
                Ok(Choices::Between {
                    path: path.to_owned(),
                    low,
                    high,
                    is_log,
                    origin: self.place(&node.location),
                })
            }
            (Some(low), Some(_)) if is_log && low <= 0.0 => {
                fail(&node.location, "with `log`, `min` is above 0")
            }
            (Some(_), Some(_)) => fail(&node.location, "`min` is below `max`"),
            _ => fail(&node.location, "give both `min` and `max`"),
        }
    }

    /// Refuses a path that is swept twice, and one below another, which would be replaced.
    fn check_paths(&self, location: &Location) -> Result<()> {
        let paths: Vec<&String> = self.axes.iter().flat_map(|axis| &axis.columns).collect();
        for (index, path) in paths.iter().enumerate() {
            for other in &paths[..index] {
                if path == other {
                    return Err(self.at(location, path, "it is swept twice"));
                }
                let below =
                    |a: &str, b: &str| b.strip_prefix(a).is_some_and(|rest| rest.starts_with('.'));
                if below(path, other) || below(other, path) {
                    let message = format!(
                        "`{path}` and `{other}` are both swept, and one is a part of the other, which is replaced as a whole"
                    );
                    return Err(self.at(location, "", &message));
                }
            }
        }
        Ok(())
    }
}

/// A value without its location, to be compared.
struct Plain<'n>(&'n Node);

impl std::fmt::Debug for Plain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0.content {
            Content::Scalar {
                text,
                scalar: Scalar::Text,
            } => write!(f, "{text:?}"),
            Content::Scalar { scalar, .. } => write!(f, "{scalar:?}"),
            Content::List(items) => f.debug_list().entries(items.iter().map(Plain)).finish(),
            Content::Map(entries) => f
                .debug_map()
                .entries(entries.iter().map(|(key, node)| (&key.name, Plain(node))))
                .finish(),
            Content::Removed => f.write_str("-"),
        }
    }
}

/// The folder that paths in a sweep's file start from.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}
