//! Embeddings as Parquet: what is in the file, that no work is done twice or lost, and that files that do not fit are refused.

use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use candle_core::Device;
use image::{Rgb, RgbImage};
use phantasia::embed::{Dtype, Embedded, Embedder, EmbeddingFile, EmbeddingIndex, Row};
use phantasia::judge::{EncodedQueries, Ensemble, Query};
use phantasia::picture;
use phantasia::sweep::Shard;
use tempfile::TempDir;

use crate::common::program::{assert_done, assert_refused, json, run, text};

/// A folder of so many pictures in `pictures/`.
fn folder(count: u8) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).expect("a folder");
    for number in 0..count {
        let color = Rgb([
            number.wrapping_mul(37),
            255 - number,
            number.wrapping_mul(91),
        ]);
        (RgbImage::from_pixel(9, 7, color).save(pictures.join(format!("{number:03}.png"))))
            .expect("a picture");
    }
    folder
}

/// The folder of a small CLIP with random weights.
fn clip(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn ensemble() -> Ensemble {
    Ensemble::load(&[clip("clip-hf-quick")], None, &Device::Cpu).expect("a CLIP")
}

fn embedder(folder: &Path, out: &str) -> Embedder {
    Embedder {
        inputs: vec![folder.join("pictures")],
        out: folder.join(out),
        clip: "small".to_owned(),
        dtype: Dtype::F32,
        shard: Shard::ALL,
    }
}

fn embed(embedder: &Embedder) -> anyhow::Result<Embedded> {
    embedder.run(&ensemble(), |_| ControlFlow::Continue(()))
}

fn rows(path: &Path) -> Vec<Row> {
    let file = EmbeddingFile::open(path).expect("embeddings");
    (0..file.groups())
        .flat_map(|group| file.read_rows(group).expect("rows"))
        .collect()
}

/// Appends a member to a tar archive.
fn member(archive: &mut Vec<u8>, name: &str, kind: u8, bytes: &[u8]) {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
    header[148..156].fill(b' ');
    header[156] = kind;
    header[257..263].copy_from_slice(b"ustar\0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    archive.extend(header);
    archive.extend(bytes);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

#[test]
fn every_picture_has_a_row() {
    let folder = folder(2);
    let pictures = folder.path().join("pictures");
    fs::write(pictures.join("000.txt"), "a caption\n").expect("a caption");
    fs::write(pictures.join("broken.png"), "no picture").expect("a file");
    let png = fs::read(pictures.join("001.png")).expect("a picture");
    let mut archive = vec![];
    member(&mut archive, "/etc/0001.png", b'0', &png);
    member(&mut archive, "/etc/0001.txt", b'0', b"a sample");
    member(&mut archive, "/etc/0001.json", b'0', br#"{"width": 9}"#);
    let long = format!("{}.png", "x".repeat(150));
    let record = format!("{} path={long}\n", long.len() + 10);
    member(&mut archive, "pax", b'x', record.as_bytes());
    member(&mut archive, "short.png", b'0', &png);
    member(&mut archive, "bad.png", b'0', b"no picture");
    archive.extend([0; 1024]);
    fs::write(pictures.join("samples.tar"), &archive).expect("an archive");

    let small = clip("clip-hf-quick");
    let args = [
        "embed",
        "pictures",
        "--out",
        "e.parquet",
        "--json",
        "--clip",
        &small,
        "--dtype",
        "f32",
    ];
    let output = run(folder.path(), &args);
    assert_eq!(
        output.status.code(),
        Some(1),
        "what cannot be read shows in the exit code"
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&report["rows"], &report["embedded"]),
        (&4.into(), &4.into())
    );
    let skipped: Vec<&str> = (report["skipped"].as_array().expect("a list").iter())
        .filter_map(|skipped| skipped["path"].as_str())
        .collect();
    assert_eq!(skipped, ["pictures/broken.png", "pictures/samples.tar"]);
    assert!(
        report["skipped"][1]["error"]
            .as_str()
            .is_some_and(|error| error.starts_with("bad.png: "))
    );

    let rows = rows(&folder.path().join("e.parquet"));
    let keys: Vec<Option<&str>> = rows.iter().map(|row| row.key.as_deref()).collect();
    assert_eq!(
        keys,
        [
            None,
            None,
            Some("/etc/0001"),
            Some("x".repeat(150).as_str())
        ]
    );
    let said = |row: &Row| {
        (
            row.caption.clone().unwrap_or_default(),
            row.metadata.clone().unwrap_or_default(),
        )
    };
    assert_eq!(said(&rows[0]), ("a caption".to_owned(), String::new()));
    assert_eq!(
        said(&rows[2]),
        ("a sample".to_owned(), r#"{"width": 9}"#.to_owned())
    );
    assert_eq!((rows[1].width, rows[1].height), (9, 7));
    assert_eq!(rows[1].sha256, rows[2].sha256);
    let one = picture::load_rgb(&pictures.join("001.png")).expect("a picture");
    let expected = ensemble()
        .embed_picture(&one)
        .expect("an embedding")
        .remove(0);
    for row in &rows[1..3] {
        for (value, expected) in row.embedding.iter().zip(&expected) {
            assert!((value - expected).abs() < 1e-6);
        }
    }
}

#[test]
fn work_that_was_stopped_goes_on_and_gives_the_same_file() {
    let folder = folder(150);
    let (whole, parts) = (
        embedder(folder.path(), "whole.parquet"),
        embedder(folder.path(), "parts.parquet"),
    );
    assert_eq!(embed(&whole).expect("a file").embedded, 150);
    let first = parts
        .run(&ensemble(), |_| ControlFlow::Break(()))
        .expect("a part");
    assert!(first.interrupted && first.embedded == 64 && !parts.out.exists());
    let second = embed(&parts).expect("a file");
    assert_eq!((second.rows, second.embedded), (150, 86));
    assert_eq!(
        fs::read(&whole.out).expect("a file"),
        fs::read(&parts.out).expect("a file")
    );
    assert!(!folder.path().join("parts.parquet.parts").exists());

    // nothing is new, then one is gone and one is changed
    assert_eq!(embed(&parts).expect("the file").embedded, 0);
    assert_eq!(
        fs::read(&whole.out).expect("a file"),
        fs::read(&parts.out).expect("a file")
    );
    let pictures = folder.path().join("pictures");
    fs::remove_file(pictures.join("003.png")).expect("a file");
    RgbImage::new(5, 5)
        .save(pictures.join("004.png"))
        .expect("a picture");
    let third = embed(&parts).expect("the file");
    assert_eq!((third.rows, third.embedded, third.removed), (149, 1, 2));
}

#[test]
fn shards_have_all_rows_once_and_are_searched_together() {
    let folder = folder(10);
    let whole = embedder(folder.path(), "whole.parquet");
    embed(&whole).expect("a file");
    let mut all = vec![];
    for number in 1..=3 {
        let shard = Shard { number, count: 3 };
        let shard = Embedder {
            shard,
            ..embedder(folder.path(), "e.parquet")
        };
        embed(&shard).expect("a shard");
        let name = format!("e-0000{number}-of-00003.parquet");
        assert_eq!(shard.file(), folder.path().join(&name));
        all.extend(rows(&shard.file()));
    }
    all.sort_by(|a, b| a.image_path.cmp(&b.image_path));
    let expected = rows(&whole.out);
    assert_eq!(all.len(), expected.len());
    for (row, expected) in all.iter().zip(&expected) {
        assert_eq!(row.sha256, expected.sha256);
        // pictures that are embedded together change each other's rounding
        for (value, expected) in row.embedding.iter().zip(&expected.embedding) {
            assert!((value - expected).abs() < 1e-6);
        }
    }

    let ensemble = ensemble();
    let queries = EncodedQueries::new(&ensemble, &[Query::text("a red ball")]).expect("a query");
    let search = |path: &str| {
        let index = EmbeddingIndex::open(&folder.path().join(path)).expect("an index");
        index.check(&ensemble, "small").expect("the same CLIP");
        (
            index.search(&queries, 4).expect("hits"),
            index.warnings.len(),
        )
    };
    let (expected, _) = search("whole.parquet");
    assert_eq!(expected.len(), 4);
    for shards in ["e.parquet", "e-*-of-?????.parquet"] {
        let (hits, warnings) = search(shards);
        assert_eq!(warnings, 0);
        for (hit, expected) in hits.iter().zip(&expected) {
            assert_eq!(hit.image_path, expected.image_path);
        }
    }
    fs::remove_file(folder.path().join("e-00002-of-00003.parquet")).expect("a file");
    assert_eq!(search("e.parquet").1, 1, "a missing shard is told");
}

#[test]
fn a_search_of_embeddings_finds_what_a_search_of_the_folder_finds() {
    let folder = folder(6);
    let small = clip("clip-hf-quick");
    assert_done(&run(
        folder.path(),
        &["embed", "pictures", "--clip", &small],
    ));
    let found = json(&run(
        folder.path(),
        &[
            "search",
            "--index",
            "embeddings.parquet",
            "a red ball",
            "--json",
        ],
    ));
    let expected = [
        "search",
        "--query",
        "a red ball",
        "pictures",
        "--clip",
        &small,
        "--json",
    ];
    let expected = json(&run(folder.path(), &expected));
    assert_eq!(
        (&found["clip"], &found["pictures"]),
        (&small.as_str().into(), &6.into())
    );
    for (found, expected) in (found["results"].as_array().expect("a list").iter())
        .zip(expected["results"].as_array().expect("a list"))
    {
        let score = |hit: &serde_json::Value| hit["score"].as_f64().expect("a score");
        assert!((score(found) - score(expected)).abs() < 1e-3);
    }
    let index = ["search", "--index", "embeddings.parquet"];
    let with = |more: &[&'static str]| run(folder.path(), &[&index[..], more].concat());
    assert_refused(&with(&[]), 2, "say what the pictures should show");
    assert_refused(&with(&["a", "--query", "b"]), 2, "give one of them");
    assert_refused(
        &with(&["a", "--clip", "embedded"]),
        1,
        "holds embeddings of the CLIP",
    );
    assert_refused(
        &run(folder.path(), &["search", "pictures", "a red ball"]),
        2,
        "--query",
    );
}

#[test]
fn a_sheet_shows_pictures_that_lie_beside_the_embeddings() {
    let folder = folder(2);
    let small = clip("clip-hf-quick");
    let embed = ["embed", "pictures", "--clip", &small];
    assert_done(&run(folder.path(), &embed));
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder");
    let index = ["search", "--index", "../embeddings.parquet"];
    let search = [&index[..], &["a", "--sheet", "s.html"]].concat();
    let output = run(&elsewhere, &search);
    assert_done(&output);
    assert!(!text(&output.stderr).contains("not found"));
    let sheet = fs::read_to_string(elsewhere.join("s.html")).expect("a sheet");
    assert_eq!(sheet.matches("data:image/jpeg").count(), 2);
    fs::remove_file(folder.path().join("pictures/000.png")).expect("a picture");
    let output = run(&elsewhere, &search);
    assert_done(&output);
    assert!(text(&output.stderr).contains("1 of 2 pictures on the sheet"));
}

#[test]
fn what_holds_no_pictures_is_told_before_anything_else() {
    let folder = folder(1);
    let small = clip("clip-hf-quick");
    let embed = |input: &str| run(folder.path(), &["embed", input, "--clip", &small]);
    assert_done(&embed("pictures"));
    fs::write(folder.path().join("empty.tar"), [0; 1024]).expect("an archive");
    fs::write(folder.path().join("cut.tar"), [1; 100]).expect("a file");
    fs::create_dir(folder.path().join("empty")).expect("a folder");
    assert_refused(&embed("nofolder"), 2, "`nofolder` does not exist");
    assert_refused(&embed("empty.tar"), 1, "there are no pictures in empty.tar");
    assert_refused(&embed("empty"), 1, "there are no pictures in empty");
    assert_refused(
        &embed("cut.tar"),
        1,
        "none of the pictures could be read (cut.tar: ",
    );
    assert!(!folder.path().join("embeddings.parquet.parts").exists());
}

#[test]
fn files_that_do_not_fit_are_not_written_over() {
    let folder = folder(2);
    let own = embedder(folder.path(), "e.parquet");
    embed(&own).expect("a file");
    let before = fs::read(&own.out).expect("the file");
    let refused = |embedder: &Embedder, name: &str, said: &str| {
        let ensemble = Ensemble::load(&[clip(name)], None, &Device::Cpu).expect("a CLIP");
        let error = embedder
            .run(&ensemble, |_| ControlFlow::Continue(()))
            .expect_err(said);
        assert!(format!("{error:#}").contains(said), "{error:#}");
    };
    refused(&own, "clip-hf-gelu", "holds embeddings of the CLIP `small`");
    let half = Embedder {
        dtype: Dtype::F16,
        ..own.clone()
    };
    refused(&half, "clip-hf-quick", "in f32, not in f16");
    let other = Embedder {
        inputs: vec![folder.path().join("pictures/000.png")],
        ..own.clone()
    };
    refused(&other, "clip-hf-quick", "holds other pictures");
    assert_eq!(fs::read(&own.out).expect("the file"), before);
    fs::write(&own.out, "no Parquet").expect("a file");
    refused(&own, "clip-hf-quick", "is in the way");
    let empty = Embedder {
        inputs: vec![folder.path().join("pictures/none.png")],
        ..embedder(folder.path(), "n.parquet")
    };
    refused(
        &empty,
        "clip-hf-quick",
        "none of the pictures could be read",
    );
    assert!(!folder.path().join("n.parquet.parts").exists());
}

#[test]
fn damaged_embeddings_give_an_error_or_rows_and_never_a_crash() {
    let folder = folder(3);
    let own = embedder(folder.path(), "e.parquet");
    embed(&own).expect("a file");
    let bytes = fs::read(&own.out).expect("the file");
    let ensemble = ensemble();
    let queries = EncodedQueries::new(&ensemble, &[Query::text("red")]).expect("a query");
    let path = folder.path().join("damaged.parquet");
    for step in 0..80 {
        let mut damaged = bytes.clone();
        if step % 8 == 7 {
            damaged.truncate(bytes.len() * step / 80);
        } else {
            // most of what can be misread is at the end
            let from = if step % 2 == 0 { bytes.len() / 2 } else { 0 };
            damaged[from + (step * 7919) % (bytes.len() - from)] ^= 1 << (step % 8);
        }
        fs::write(&path, damaged).expect("a file");
        if let Ok(index) = EmbeddingIndex::open(&path) {
            let _ = index.search(&queries, 2);
        }
    }
}

#[test]
fn a_member_of_ten_gigabytes_is_skipped_without_reading_it() {
    let folder = folder(1);
    let mut archive = vec![];
    let png = fs::read(folder.path().join("pictures/000.png")).expect("a picture");
    member(&mut archive, "huge.png", b'0', b"");
    archive[124..135].copy_from_slice(b"77777777777");
    archive[148..156].fill(b' ');
    let sum: u32 = archive[..512].iter().map(|byte| u32::from(*byte)).sum();
    archive[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let path = folder.path().join("huge.tar");
    let mut file = File::create(&path).expect("a file");
    file.write_all(&archive).expect("a header");
    // 8 GiB that take no space
    let end = 512 + (1u64 << 33);
    file.set_len(end).expect("a sparse file");
    let mut rest = vec![];
    member(&mut rest, "small.png", b'0', &png);
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(end)).expect("a position");
    file.write_all(&rest).expect("a member");
    let archives = Embedder {
        inputs: vec![path],
        ..embedder(folder.path(), "e.parquet")
    };
    let embedded = embed(&archives).expect("a file");
    assert_eq!((embedded.rows, embedded.skipped.len()), (1, 1));
    assert_eq!(
        embedded.skipped[0].error,
        "huge.png: it is larger than 512 MiB"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said_and_what_was_done_is_kept() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder(3);
    // a name that is not UTF-8
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.png");
    let pictures = folder.path().join("pictures");
    fs::copy(pictures.join("000.png"), pictures.join(name)).expect("a picture");
    let script = "mount -t tmpfs -o size=8k tmpfs disk || exit 99; \"$1\" embed pictures --out disk/e.parquet --clip \"$2\"";
    fs::create_dir(folder.path().join("disk")).expect("a folder");
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script, "sh"])
        .args([env!("CARGO_BIN_EXE_phantasia"), &clip("clip-hf-quick")])
        .current_dir(folder.path())
        .output();
    if let Ok(output) = output
        && output.status.code() != Some(99)
        && !text(&output.stderr).contains("unshare:")
    {
        assert_refused(&output, 1, "no space left on the disk for `disk/e.parquet");
    }
    let own = embedder(folder.path(), "e.parquet");
    embed(&own).expect("a file");
    let encoded: Vec<String> = (rows(&own.out).into_iter())
        .filter_map(|row| row.image_path_encoded)
        .collect();
    assert!(
        encoded.len() == 1 && encoded[0].ends_with("/caf%E9.png"),
        "{encoded:?}"
    );
}
