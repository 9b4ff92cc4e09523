//! Searching files of embeddings.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;

use super::file::EmbeddingFile;
use super::shard_file;
use crate::clip::fast_dot;
use crate::judge::{EncodedQueries, Ensemble, is_same_model, mean_query};
use crate::models::ModelRef;
use crate::names::percent_decoded;
use crate::sweep::Shard;

/// More rows are searched faster by an approximate index.
pub const MANY: usize = 1_000_000;

/// Files of embeddings that are searched together. Their vectors stay in the files; each search reads all of them, on all cores, and
/// keeps the best.
#[derive(Debug)]
pub struct EmbeddingIndex {
    files: Vec<EmbeddingFile>,
    /// What is missing or unusual.
    pub warnings: Vec<String>,
}

/// A picture that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The weighted mean of its cosines to the queries.
    pub score: f64,
    /// The picture's file, or the archive that holds it.
    pub image_path: String,
    /// The path's bytes, percent-encoded, where it is not UTF-8.
    pub image_path_encoded: Option<String>,
    /// The sample's key in an archive.
    pub key: Option<String>,
    /// The text that belongs to the picture.
    pub caption: Option<String>,
    /// The file of embeddings that has its row.
    pub index: PathBuf,
}

impl Hit {
    /// The path as it was embedded.
    pub fn path(&self) -> PathBuf {
        let encoded = self.image_path_encoded.as_deref();
        (encoded.and_then(percent_decoded)).unwrap_or_else(|| PathBuf::from(&self.image_path))
    }

    /// The picture's file, or the archive, if it is there: a relative path starts in the working folder, or else in that of the embeddings.
    pub fn find(&self) -> Option<PathBuf> {
        let here = self.path();
        let beside = self.index.with_file_name(&here);
        [here, beside].into_iter().find(|path| path.exists())
    }
}

/// A row, and how well it fits.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    score: f64,
    file: usize,
    group: usize,
    row: usize,
}

impl Candidate {
    /// The better first; of equals, the one that comes first in the files.
    fn order(&self, other: &Self) -> Ordering {
        let place = |one: &Self| (one.file, one.group, one.row);
        (other.score.total_cmp(&self.score)).then_with(|| place(self).cmp(&place(other)))
    }
}

impl EmbeddingIndex {
    /// Opens a file, all `.parquet` files of a folder, those that a pattern with `*` and `?` in its last part names, or the shards of a file.
    ///
    /// # Errors
    /// When there are none, one cannot be read, or they are of several CLIPs.
    pub fn open(path: &Path) -> Result<Self> {
        let (paths, warnings) = find(path)?;
        let files = (paths.iter())
            .map(|path| EmbeddingFile::open(path))
            .collect::<Result<Vec<_>>>()?;
        let mut filled = files.iter().filter(|file| file.dimension > 0);
        if let Some(first) = filled.next() {
            for other in filled {
                let is_same = match (&first.header, &other.header) {
                    (Some(a), Some(b)) => is_same_model(&a.probe, &b.probe),
                    _ => first.dimension == other.dimension,
                };
                if !is_same {
                    let clip = |file: &EmbeddingFile| match &file.header {
                        Some(header) => format!("the CLIP `{}`", header.clip),
                        None => format!("vectors of {} values", file.dimension),
                    };
                    bail!(
                        "`{}` holds embeddings of {}, and `{}` of {}: they cannot be searched together",
                        first.path.display(),
                        clip(first),
                        other.path.display(),
                        clip(other)
                    );
                }
            }
        }
        Ok(Self { files, warnings })
    }

    /// The name of the CLIP that the files state.
    pub fn clip(&self) -> Option<&str> {
        (self.files.iter()).find_map(|file| Some(file.header.as_ref()?.clip.as_str()))
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.files.iter().map(EmbeddingFile::rows).sum()
    }

    /// Refuses a CLIP that by its name alone is another than that of the files, before it is loaded or downloaded. Only models that are known
    /// are told apart; whether the others fit is for [`EmbeddingIndex::check`].
    ///
    /// # Errors
    /// When it is another.
    pub fn check_name(&self, clip: &str) -> Result<()> {
        for file in self.files.iter().filter(|file| file.dimension > 0) {
            if let Some(header) = &file.header
                && are_different(&header.clip, clip)
            {
                bail!(of_another(&file.path, &header.clip, clip));
            }
        }
        Ok(())
    }

    /// Refuses an ensemble whose one CLIP, of that name, is not that of the files.
    ///
    /// # Errors
    /// When it is another, or the model fails.
    pub fn check(&self, ensemble: &Ensemble, clip: &str) -> Result<()> {
        let probe = ensemble.probe()?;
        for file in self.files.iter().filter(|file| file.dimension > 0) {
            let path = file.path.display();
            if let Some(header) = &file.header
                && !is_same_model(&header.probe, &probe)
            {
                if header.clip == clip {
                    bail!(
                        "`{path}` was made by another model that was called `{clip}` too: embed the pictures again"
                    );
                }
                bail!(of_another(&file.path, &header.clip, clip));
            }
            if file.dimension != probe.len() {
                bail!(
                    "`{path}` holds vectors of {} values, but those of the CLIP `{clip}` have {}: name their CLIP with --clip",
                    file.dimension,
                    probe.len()
                );
            }
        }
        Ok(())
    }

    /// The `top` best rows, the best first, by the weighted means of their cosines to queries.
    ///
    /// # Errors
    /// When a file cannot be read, or is damaged.
    pub fn search(&self, queries: &EncodedQueries, top: usize) -> Result<Vec<Hit>> {
        let query = mean_query(queries);
        let groups: Vec<(usize, usize)> = (self.files.iter().enumerate())
            .flat_map(|(index, file)| (0..file.groups()).map(move |group| (index, group)))
            .collect();
        let found = (groups.par_iter())
            .map(|(file, group)| self.search_group(*file, *group, &query, top))
            .try_reduce(Vec::new, |a, b| Ok(best([a, b].concat(), top)))?;
        self.describe(&found)
    }

    fn search_group(
        &self,
        file: usize,
        group: usize,
        query: &[f32],
        top: usize,
    ) -> Result<Vec<Candidate>> {
        let mut found: Vec<Candidate> = vec![];
        let mut worst = f64::NEG_INFINITY;
        self.files[file].vectors(group, |row, vector| {
            let score = fast_dot(vector, query);
            if !score.is_finite() {
                bail!("a vector holds a value that is not finite");
            }
            // a later row of the same score does not replace an earlier one
            if score > worst {
                found.push(Candidate {
                    score,
                    file,
                    group,
                    row,
                });
                if found.len() >= top.saturating_mul(2).max(64) {
                    found = best(std::mem::take(&mut found), top);
                    worst = found.last().map_or(worst, |last| last.score);
                }
            }
            Ok(())
        })?;
        Ok(best(found, top))
    }

    /// Reads what the rows say of their pictures: only the row groups that hold one of them.
    fn describe(&self, found: &[Candidate]) -> Result<Vec<Hit>> {
        let mut hits: HashMap<usize, Hit> = HashMap::new();
        let mut numbers: Vec<usize> = (0..found.len()).collect();
        let place = |number: &usize| (found[*number].file, found[*number].group);
        numbers.sort_by_key(place);
        for numbers in numbers.chunk_by(|a, b| place(a) == place(b)) {
            let (file, group) = place(&numbers[0]);
            let file = &self.files[file];
            let mut columns = ["image_path", "image_path_encoded", "key", "caption"]
                .map(|name| file.texts(group, name))
                .into_iter()
                .collect::<Result<Vec<_>>>()?;
            for number in numbers {
                let Candidate { score, row, .. } = found[*number];
                let mut text = |column: usize| columns[column].get_mut(row).and_then(Option::take);
                let unnamed = || format!("row {row} of {}", file.path.display());
                let hit = Hit {
                    score,
                    image_path: text(0).unwrap_or_else(unnamed),
                    image_path_encoded: text(1),
                    key: text(2),
                    caption: text(3),
                    index: file.path.clone(),
                };
                hits.insert(*number, hit);
            }
        }
        Ok((0..found.len())
            .filter_map(|number| hits.remove(&number))
            .collect())
    }
}

/// Whether two names are known to be of two models. Every known model has its own weights, whichever of its names is used.
fn are_different(one: &str, other: &str) -> bool {
    match (ModelRef::parse(one), ModelRef::parse(other)) {
        (Ok(ModelRef::Hub(one)), Ok(ModelRef::Hub(other))) => {
            (one.model.zip(other.model)).is_some_and(|(one, other)| one.name != other.name)
        }
        (Ok(ModelRef::Embedded(_)), Ok(ModelRef::Hub(hub)))
        | (Ok(ModelRef::Hub(hub)), Ok(ModelRef::Embedded(_))) => hub.model.is_some(),
        _ => false,
    }
}

fn of_another(path: &Path, own: &str, clip: &str) -> String {
    format!(
        "`{}` holds embeddings of the CLIP `{own}`, not of `{clip}`: leave --clip out, or give --clip {own}",
        path.display()
    )
}

/// The best of candidates, in order.
fn best(mut candidates: Vec<Candidate>, top: usize) -> Vec<Candidate> {
    candidates.sort_by(Candidate::order);
    candidates.truncate(top);
    candidates
}

/// The files that a path stands for, and what is missing of them.
fn find(path: &Path) -> Result<(Vec<PathBuf>, Vec<String>)> {
    let shown = path.display();
    if path.is_file() {
        return Ok((vec![path.to_owned()], vec![]));
    }
    if path.is_dir() {
        let files = matching(path, "*.parquet")?;
        if files.is_empty() {
            bail!("there are no .parquet files in `{shown}`");
        }
        return Ok((files, vec![]));
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.contains(['*', '?']) {
        let files = matching(folder, &name)?;
        if files.is_empty() {
            bail!("no file is called `{shown}`");
        }
        return Ok((files, vec![]));
    }
    // the file may have been written in shards
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let pattern = format!("{stem}-?????-of-?????.parquet");
    let shards = if folder.is_dir() {
        matching(folder, &pattern)?
    } else {
        vec![]
    };
    let count: usize = (shards.last())
        .and_then(|last| last.file_stem()?.to_str()?.rsplit('-').next()?.parse().ok())
        .with_context(|| format!("there is no file `{shown}`"))?;
    let whole = folder.join(path.file_name().unwrap_or_default());
    let all: Vec<PathBuf> = (1..=count)
        .map(|number| shard_file(&whole, Shard { number, count }))
        .collect();
    if shards.iter().any(|shard| !all.contains(shard)) {
        bail!(
            "`{shown}` was written in different numbers of shards: name those that count with a pattern, such as `{stem}-*-of-{count:05}.parquet`"
        );
    }
    let missing = all.iter().filter(|shard| !shard.is_file()).count();
    let warning = (missing > 0).then(|| {
        format!("{missing} of the {count} shards of `{shown}` are missing; the others are searched")
    });
    Ok((shards, warning.into_iter().collect()))
}

/// The files of a folder whose names fit a pattern, ordered by name.
fn matching(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let entries = folder
        .read_dir()
        .with_context(|| format!("cannot read the folder `{}`", folder.display()))?;
    let mut files: Vec<PathBuf> = (entries.flatten())
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            !name.starts_with('.') && fits(name.as_bytes(), pattern.as_bytes())
        })
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    Ok(files)
}

/// Whether a name fits a pattern, in which `*` stands for anything and `?` for one byte.
fn fits(name: &[u8], pattern: &[u8]) -> bool {
    // where the last star was, and how much of the name it has taken
    let (mut at, mut of) = (0, 0);
    let mut star = None;
    while at < name.len() {
        match pattern.get(of) {
            Some(b'*') => {
                star = Some((at, of));
                of += 1;
            }
            Some(wanted) if *wanted == b'?' || *wanted == name[at] => (at, of) = (at + 1, of + 1),
            _ => match &mut star {
                Some((taken, from)) => {
                    *taken += 1;
                    (at, of) = (*taken, *from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[of..].iter().all(|wanted| *wanted == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_same_clip_are_not_told_apart() {
        let openai = "openai/clip-vit-base-patch32";
        for same in [
            "ViT-B-32/openai",
            "ViT-B/32",
            openai,
            "ViT-B-32/openai@main",
        ] {
            assert!(!are_different(openai, same), "{same}");
        }
        for other in ["embedded", "embedded/resnet", "ViT-B-32/laion2b_s34b_b79k"] {
            assert!(are_different(openai, other) && are_different(other, openai));
        }
        assert!(!are_different(openai, "someone/a-copy") && !are_different(".", openai));
    }

    #[test]
    fn patterns_have_stars_and_question_marks() {
        let fits = |name: &str, pattern: &str| fits(name.as_bytes(), pattern.as_bytes());
        assert!(fits("a-00001-of-00004.parquet", "a-?????-of-?????.parquet"));
        assert!(fits("abcabd", "*ab?") && fits("", "*") && fits("a", "a*"));
        assert!(!fits("ab", "a") && !fits("a", "ab") && !fits("a", "?*?"));
    }
}
