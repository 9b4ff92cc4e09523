//! What lies where in a sweep's folder: for its store, and for commands that are given such a folder.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::run::IMAGE;

pub(super) const RUNS: &str = "runs";
pub(super) const FAILED: &str = "failed";
pub(super) const SCORES: &str = "scores";
pub(super) const PLAN: &str = "plan.csv";
pub(super) const RESULT: &str = "result.json";
/// What a plan begins with.
pub(super) const PLAN_COLUMNS: [&str; 2] = ["run", "name"];

/// The folders of the whole runs, by name, if this is the folder of a sweep or the `runs` in it.
pub fn runs_in(folder: &Path) -> Option<Vec<PathBuf>> {
    let runs = if has_plan(folder) {
        folder.join(RUNS)
    } else {
        let full = fs::canonicalize(folder).ok()?;
        let is_runs = full.ends_with(RUNS) && has_plan(full.parent()?);
        is_runs.then(|| folder.to_owned())?
    };
    let entries = fs::read_dir(&runs).ok()?;
    let is_whole = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        !name.as_encoded_bytes().starts_with(b".")
            && path.join(RESULT).is_file()
            && path.join(IMAGE).is_file()
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut whole: Vec<PathBuf> = paths.filter(is_whole).collect();
    whole.sort();
    Some(whole)
}

/// Whether this is the folder of a whole run in a sweep's.
pub fn is_run_of_sweep(folder: &Path) -> bool {
    let full = fs::canonicalize(folder).ok();
    let runs = full.as_deref().and_then(Path::parent);
    folder.join(RESULT).is_file() && runs.is_some_and(|runs| runs_in(runs).is_some())
}

/// The pictures of the whole runs, by name, if this is the folder of a sweep or the `runs` in it: neither sheets nor frames.
pub(crate) fn pictures_in(folder: &Path) -> Option<Vec<PathBuf>> {
    let runs = runs_in(folder)?;
    Some(runs.iter().map(|run| run.join(IMAGE)).collect())
}

fn has_plan(folder: &Path) -> bool {
    let expected = PLAN_COLUMNS.join(",");
    let mut text = vec![];
    let read = File::open(folder.join(PLAN))
        .and_then(|file| file.take(expected.len() as u64).read_to_end(&mut text));
    read.is_ok() && text == expected.as_bytes() && folder.join(RUNS).is_dir()
}

/// What to do with the URL of an object store where a folder is read; none for a path.
pub fn advice_on_url(path: &Path) -> Option<String> {
    let url = path.to_str()?;
    let (scheme, rest) = url.split_once("://")?;
    let command = match scheme {
        "s3" => format!("aws s3 sync {url} FOLDER"),
        "gs" => format!("gcloud storage rsync --recursive {url} FOLDER"),
        "az" => {
            let (container, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            format!(
                "az storage blob download-batch --source {container} --pattern '{prefix}*' --destination FOLDER"
            )
        }
        _ => return None,
    };
    Some(format!(
        "it is in an object store, where only `phantasia sweep` works: download it, `{command}`, and give the folder"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_stands_for_its_whole_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        for file in ["image.png", "result.json", "frames/frame-00001.png"] {
            write(&format!("runs/0001-a/{file}"), "");
            write(&format!("runs/.0002-b.7-0.cpu.partial/{file}"), "");
        }
        write("runs/0003-c/image.png", "");
        write("sheet.png", "");
        write("plan.csv", "id,name\n");
        assert_eq!(runs_in(folder.path()), None);
        write("plan.csv", "run,name,seed\n1,0001-a,7\n");
        let runs = folder.path().join(RUNS);
        let pictures = Some(vec![runs.join("0001-a/image.png")]);
        for given in [folder.path(), &runs] {
            assert_eq!(pictures_in(given), pictures);
        }
        let run = runs.join("0001-a");
        assert_eq!(pictures_in(&run), None);
        assert!(is_run_of_sweep(&run) && !is_run_of_sweep(&runs));
    }

    #[test]
    fn a_url_is_downloaded_first() {
        let advice = |url: &str| advice_on_url(Path::new(url));
        let s3 = advice("s3://bucket/sweep").expect("advice");
        assert!(
            s3.contains("`aws s3 sync s3://bucket/sweep FOLDER`"),
            "{s3}"
        );
        let az = advice("az://box/sweep").expect("advice");
        assert!(az.contains("--source box --pattern 'sweep*'"), "{az}");
        assert_eq!(advice("pictures"), None);
        assert_eq!(advice("https://host/a.png"), None);
    }
}
