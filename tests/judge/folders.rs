//! Folders of mixed files, label files and file names as they occur in practice, and the tables that the judges print.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use image::{ImageFormat, Rgb, RgbImage};
use phantasia::picture;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::program::{assert_refused, json, run, text};

fn write(path: PathBuf, colour: [u8; 3], format: ImageFormat) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    RgbImage::from_pixel(24, 16, Rgb(colour))
        .save_with_format(path, format)
        .expect("a picture");
}

const HEIC: &[u8] = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";

/// `pictures/`: four that are read, three of other formats, and one whose ending is wrong.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let pictures = folder.path().join("pictures");
    write(pictures.join("a.png"), [220, 20, 30], ImageFormat::Png);
    for (name, colour) in [
        ("b.jfif", [20, 200, 30]),
        ("c.JPE", [20, 20, 230]),
        ("d.mpo", [200, 200, 10]),
        ("h.HEIC", [10, 10, 10]),
    ] {
        write(pictures.join(name), colour, ImageFormat::Jpeg);
    }
    fs::write(pictures.join("e.HEIC"), HEIC).expect("a file");
    fs::write(pictures.join("f.avif"), b"\0\0\0\x1cftypavif").expect("a file");
    fs::write(pictures.join("g.jxl"), b"\xff\x0a\0").expect("a file");
    fs::write(pictures.join("i.heif"), HEIC).expect("a file");
    fs::write(pictures.join("notes.txt"), "no picture").expect("a file");
    folder
}

/// A command of each kind that looks into folders.
const COMMANDS: [&[&str]; 4] = [
    &["search", "--query", "red"],
    &["rerank", "--prompt", "red"],
    &["score", "--prompt", "red"],
    &["classify", "--labels", "red,blue"],
];

#[test]
fn pictures_are_found_by_all_their_endings_and_other_formats_are_counted() {
    let folder = folder();
    for command in COMMANDS {
        let args = [command, &["--json", "--quiet", "pictures"]].concat();
        let output = run(folder.path(), &args);
        let report = json(&output);
        let mut found: Vec<&str> = (report["results"].as_array().expect("results").iter())
            .map(|result| result["path"].as_str().expect("a path"))
            .collect();
        found.sort_unstable();
        let names = ["a.png", "b.jfif", "c.JPE", "d.mpo", "h.HEIC"];
        assert_eq!(found, names.map(|name| format!("pictures/{name}")));
        let formats: Vec<&Value> = (report["skipped"].as_array().expect("a list").iter())
            .map(|skipped| &skipped["format"])
            .collect();
        assert_eq!(formats, ["HEIC", "AVIF", "JPEG XL (JXL)", "HEIC"]);
        let stderr = text(&output.stderr);
        for line in [
            "skipped 2 files of the format HEIC, which is not read, such as pictures/e.HEIC",
            "skipped pictures/f.avif: AVIF is not read",
            "skipped pictures/g.jxl: JPEG XL (JXL) is not read",
        ] {
            assert!(stderr.contains(line), "{stderr}");
        }
    }
}

#[test]
fn a_folder_of_heic_alone_says_so() {
    let folder = folder();
    fs::create_dir(folder.path().join("phone")).expect("a folder");
    for name in ["1.HEIC", "2.heic"] {
        fs::write(folder.path().join("phone").join(name), HEIC).expect("a file");
    }
    for command in COMMANDS {
        assert_refused(
            &run(folder.path(), &[command, &["phone"]].concat()),
            1,
            "there are no pictures in phone of a format that is read, only 2 HEIC: convert to JPEG or PNG",
        );
    }
}

#[test]
fn a_named_file_that_cannot_be_read_fails_the_command_after_the_others() {
    let folder = folder();
    for named in ["gone.png", "pictures/e.HEIC", "pictures/notes.txt"] {
        for &command in &COMMANDS[1..] {
            let args = [command, &["--quiet", named, "pictures/a.png"]].concat();
            let output = run(folder.path(), &args);
            assert_refused(&output, 1, &format!("skipped {named}: "));
            let stdout = text(&output.stdout);
            assert!(stdout.contains("pictures/a.png"), "{stdout}");
        }
    }
}

#[test]
fn an_empty_folder_among_several_is_reported() {
    let folder = folder();
    fs::create_dir(folder.path().join("empty")).expect("a folder");
    let args = [
        "score",
        "--prompt",
        "red",
        "--quiet",
        "empty",
        "pictures/a.png",
    ];
    let output = run(folder.path(), &args);
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "there are no pictures in empty\n");
}

#[test]
fn tables_have_headers_over_their_columns() {
    let folder = folder();
    for (args, header) in [
        (
            &["search", "--query", "red", "pictures"][..],
            "# score  picture",
        ),
        (
            &["score", "--prompt", "red", "pictures"],
            "# score  picture",
        ),
        (
            &["rerank", "--prompt", "red", "pictures"],
            "# rank    score  picture",
        ),
        (
            &["classify", "--labels", "red,blue", "pictures"],
            "# picture          %  label     %  label 2",
        ),
    ] {
        let stdout = text(&run(folder.path(), args).stdout);
        let mut lines = stdout.lines();
        let first = lines.next().expect("a line");
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(first), words(header));
        // all rows begin their paths in the same column
        let columns: Vec<_> = lines.clone().map(|line| line.find("pictures/")).collect();
        assert_eq!(columns.len(), 5, "{stdout}");
        assert!(
            columns.iter().all(|column| *column == columns[0]),
            "{stdout}"
        );
    }
    let stdout = text(&run(folder.path(), &["models", "list"]).stdout);
    let header = stdout.lines().next().expect("a line");
    let about = header.find("about").expect("a column");
    assert!(header.starts_with("# name "), "{header}");
    let embedded = stdout.lines().nth(1).expect("a line");
    assert_eq!(embedded.find("part of the program"), Some(about));
}

fn labels_file(bytes: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pictures/tench/a.png");
    write(path, [220, 20, 30], ImageFormat::Png);
    fs::write(folder.path().join("labels.txt"), bytes).expect("a file");
    folder
}

fn classify_truth(folder: &Path) -> Output {
    let args = [
        "classify",
        "--labels-file",
        "labels.txt",
        "--truth",
        "--json",
        "--quiet",
        "pictures",
    ];
    run(folder, &args)
}

#[test]
fn label_files_with_a_byte_order_mark_are_read() {
    let utf16: Vec<u8> = ("\u{feff}tench\ncat\n".encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    for bytes in [&b"\xef\xbb\xbftench\ncat\n"[..], &utf16] {
        let folder = labels_file(bytes);
        let report = json(&classify_truth(folder.path()));
        assert_eq!(report["labels"], json!(["tench", "cat"]));
        assert_eq!(report["results"][0]["truth"], "tench");
    }
    let folder = labels_file(b"t\0e\0n\0c\0h\0\n\0c\0a\0t\0");
    assert_refused(&classify_truth(folder.path()), 2, "UTF-16");
}

#[cfg(unix)]
mod names {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    /// A name that is not UTF-8, its copy, and one of two lines.
    fn folder() -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let pictures = folder.path().join("p");
        for (name, colour) in [
            (&b"b\xe9.png"[..], [220, 20, 30]),
            (b"c\xe9.png", [220, 20, 30]),
            (b"new\nline.png", [20, 20, 220]),
        ] {
            write(
                pictures.join(OsStr::from_bytes(name)),
                colour,
                ImageFormat::Png,
            );
        }
        fs::write(pictures.join(OsStr::from_bytes(b"\xe9.heic")), HEIC).expect("a file");
        folder
    }

    #[test]
    fn names_that_are_no_text_have_their_bytes_in_json() {
        let folder = folder();
        for &command in &COMMANDS[..2] {
            let args = [command, &["--json", "--quiet", "p"]].concat();
            let report = json(&run(folder.path(), &args));
            let of = |encoded: Option<&str>| {
                let results = report["results"].as_array().expect("results");
                (results.iter())
                    .find(|result| result["path_encoded"].as_str() == encoded)
                    .expect("a result")
            };
            let odd = of(Some("p/b%E9.png"));
            assert_eq!(odd["path"], "p/b\u{fffd}.png");
            assert_eq!(odd["duplicates"], json!(["p/c\u{fffd}.png"]));
            assert_eq!(odd["duplicates_encoded"], json!(["p/c%E9.png"]));
            assert_eq!(of(None)["path"], "p/new\nline.png");
            assert_eq!(report["skipped"][0]["path_encoded"], "p/%E9.heic");
        }
    }

    #[test]
    fn names_that_are_no_text_have_their_bytes_in_a_last_column() {
        let folder = folder();
        let args = ["classify", "--labels", "red,blue", "--csv", "--quiet", "p"];
        let stdout = text(&run(folder.path(), &args).stdout);
        let header = stdout.lines().next().expect("a line");
        assert_eq!(header, "path,label,probability,red,blue,path_encoded");
        assert!(stdout.contains(",p/b%E9.png\n"), "{stdout}");
        assert!(stdout.contains("\"p/new\nline.png\","), "{stdout}");
    }

    #[test]
    fn a_line_of_a_list_is_one_picture() {
        let folder = folder();
        for &command in &COMMANDS[1..] {
            let output = run(folder.path(), &[command, &["--quiet", "p"]].concat());
            let stdout = text(&output.stdout);
            let rows = if command[0] == "rerank" { 2 } else { 3 };
            assert_eq!(stdout.lines().count(), 1 + rows, "{stdout}");
            assert!(stdout.contains(r"$'p/new\nline.png'"), "{stdout}");
            assert!(stdout.contains(r"$'p/b\xE9.png'"), "{stdout}");
            let stderr = text(&output.stderr);
            assert!(stderr.contains(r"skipped $'p/\xE9.heic': HEIC"), "{stderr}");
        }
    }

    #[test]
    fn a_sheet_leads_to_files_whatever_their_names() {
        let folder = folder();
        let args = [
            "search", "--query", "red", "--quiet", "--sheet", "s.html", "p",
        ];
        assert!(run(folder.path(), &args).status.success());
        let page = fs::read_to_string(folder.path().join("s.html")).expect("a page");
        for link in ["href=\"p/b%E9.png\"", "href=\"p/new%0Aline.png\""] {
            assert!(page.contains(link), "{page}");
        }
    }
}

/// Pillow's decoder is libjpeg-turbo. Ours interpolates chroma in the same way and rounds in between, where libjpeg rounds once.
#[test]
fn jpegs_are_decoded_to_within_half_a_level_of_pillow() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jpeg");
    for (name, mean_at_most, most) in [("444", 0.03, 3), ("422", 0.25, 4), ("420", 0.5, 4)] {
        let read = |ending: &str| {
            let path = fixtures.join(format!("{name}.{ending}"));
            picture::load_rgb(&path).expect("a picture").into_raw()
        };
        let off: Vec<u8> = (read("jpg").iter().zip(read("png")))
            .map(|(ours, theirs)| ours.abs_diff(theirs))
            .collect();
        let mean = off.iter().map(|off| f64::from(*off)).sum::<f64>() / off.len() as f64;
        let largest = off.iter().max().copied().unwrap_or(0);
        assert!(
            mean < mean_at_most && largest <= most,
            "{name}: {mean} {largest}"
        );
    }
}
