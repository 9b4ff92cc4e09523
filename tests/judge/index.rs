//! The index of a folder, which is searched: it embeds only new files, is never half written, and is made anew where it is damaged.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use image::{Rgb, RgbImage};
use phantasia::judge::{Ensemble, INDEX_FILE, Index, Update};

use super::library::{colours, ensemble};

fn update(index: &mut Index, ensemble: &Ensemble) -> Update {
    index
        .update(ensemble, |_, _| ControlFlow::Continue(()))
        .expect("an update")
}

/// Makes files look as if they had been changed long ago.
fn settle(folder: &Path) {
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
    for entry in fs::read_dir(folder).expect("a folder") {
        let file = fs::File::options()
            .append(true)
            .open(entry.expect("an entry").path())
            .expect("a file");
        file.set_modified(long_ago).expect("a time");
    }
}

const THREE: [(&str, [u8; 3]); 3] = [
    ("a.png", [200, 0, 0]),
    ("b.png", [0, 0, 200]),
    ("c.png", [0, 200, 0]),
];

#[test]
fn an_index_embeds_only_new_files() {
    let folder = colours(&THREE);
    settle(folder.path());
    let ensemble = ensemble(&["clip-hf-quick"]);
    let mut index = Index::open(folder.path());
    let first = update(&mut index, &ensemble);
    assert_eq!((first.files.len(), first.embedded), (3, 3));
    assert_eq!(first.path, Some(folder.path().join(INDEX_FILE)));
    let seen = index.vectors(&ensemble).expect("vectors").clone();

    RgbImage::new(9, 9)
        .save(folder.path().join("d.png"))
        .expect("a picture");
    fs::remove_file(folder.path().join("a.png")).expect("a file");
    fs::rename(folder.path().join("b.png"), folder.path().join("moved.png")).expect("a file");
    let mut index = Index::open(folder.path());
    assert_eq!(index.warning, None);
    let second = update(&mut index, &ensemble);
    assert_eq!((second.files.len(), second.embedded), (3, 1));
    let vectors = index.vectors(&ensemble).expect("vectors");
    assert_eq!(vectors.len(), 3, "what is gone is forgotten");
    assert!(
        vectors
            .iter()
            .all(|(digest, vector)| seen.get(digest).is_none_or(|seen| seen == vector))
    );
    assert_eq!(
        seen.keys()
            .filter(|digest| vectors.contains_key(*digest))
            .count(),
        2
    );

    let before = fs::metadata(folder.path().join(INDEX_FILE))
        .expect("an index")
        .modified()
        .expect("a time");
    settle(folder.path());
    update(&mut Index::open(folder.path()), &ensemble);
    let third = update(&mut Index::open(folder.path()), &ensemble);
    assert_eq!((third.embedded, third.path), (0, None), "nothing is new");
    assert!(before <= std::time::SystemTime::now());
}

#[test]
fn a_changed_file_is_embedded_again_and_a_broken_one_is_no_result() {
    let folder = colours(&THREE);
    settle(folder.path());
    let ensemble = ensemble(&["clip-hf-quick"]);
    update(&mut Index::open(folder.path()), &ensemble);
    RgbImage::new(9, 9)
        .save(folder.path().join("a.png"))
        .expect("a picture");
    fs::write(folder.path().join("b.png"), "broken").expect("a file");
    let update = update(&mut Index::open(folder.path()), &ensemble);
    assert_eq!(
        (update.files.len(), update.embedded, update.skipped.len()),
        (2, 1, 1)
    );
}

#[test]
fn a_change_within_the_clocks_resolution_is_noticed() {
    let folder = colours(&THREE);
    let ensemble = ensemble(&["clip-hf-quick"]);
    update(&mut Index::open(folder.path()), &ensemble);
    // another content of the same size at the same time
    let path = folder.path().join("a.png");
    let (time, length) = {
        let data = fs::metadata(&path).expect("a file");
        (data.modified().expect("a time"), data.len())
    };
    fs::copy(folder.path().join("b.png"), &path).expect("a copy");
    let file = fs::File::options()
        .append(true)
        .open(&path)
        .expect("a file");
    file.set_modified(time).expect("a time");
    assert_eq!(
        fs::metadata(&path).expect("a file").len(),
        length,
        "the colours take as many bytes"
    );
    let update = update(&mut Index::open(folder.path()), &ensemble);
    assert_eq!(update.files[0].1, update.files[1].1);
}

#[cfg(unix)]
#[test]
fn a_picture_of_the_same_size_and_time_is_noticed() {
    let folder = colours(&THREE);
    settle(folder.path());
    let ensemble = ensemble(&["clip-hf-quick"]);
    update(&mut Index::open(folder.path()), &ensemble);
    let path = folder.path().join("a.png");
    fs::copy(folder.path().join("b.png"), &path).expect("a copy");
    settle(folder.path());
    let update = update(&mut Index::open(folder.path()), &ensemble);
    assert_eq!(update.files[0].1, update.files[1].1);
}

#[test]
fn each_model_has_its_own_vectors() {
    let folder = colours(&THREE);
    let (first, second) = (ensemble(&["clip-hf-quick"]), ensemble(&["clip-open-vit"]));
    assert_eq!(update(&mut Index::open(folder.path()), &first).embedded, 3);
    assert_eq!(update(&mut Index::open(folder.path()), &second).embedded, 3);
    let mut index = Index::open(folder.path());
    assert_eq!(update(&mut index, &first).embedded, 0);
    assert_eq!(update(&mut index, &second).embedded, 0);
    let digest = *index
        .vectors(&first)
        .expect("vectors")
        .keys()
        .next()
        .expect("one");
    assert_ne!(
        index.vectors(&first).expect("vectors")[&digest].clone(),
        index.vectors(&second).expect("vectors")[&digest]
    );
}

#[test]
fn a_damaged_index_is_made_anew_with_a_warning() {
    let folder = colours(&THREE);
    let ensemble = ensemble(&["clip-hf-quick"]);
    update(&mut Index::open(folder.path()), &ensemble);
    let path = folder.path().join(INDEX_FILE);
    let whole = fs::read(&path).expect("an index");
    let mut damaged: Vec<Vec<u8>> = [0, 7, 8, 100, whole.len() - 1]
        .map(|length| whole[..length].to_vec())
        .into();
    damaged.push(b"\xff\xff\xff\xff\xff\xff\xff\xff{}".to_vec());
    damaged.push(whole.iter().map(|byte| byte ^ 1).collect());
    // a vector of what is no number
    let mut nan = whole.clone();
    let end = nan.len() - 4;
    nan[end..].copy_from_slice(&f32::NAN.to_le_bytes());
    damaged.push(nan);
    for bytes in damaged {
        fs::write(&path, &bytes).expect("a file");
        let mut index = Index::open(folder.path());
        let warning = index.warning.clone().expect("a warning");
        assert!(warning.contains("made anew"), "{warning}");
        assert_eq!(update(&mut index, &ensemble).embedded, 3);
        assert_eq!(Index::open(folder.path()).warning, None);
    }
}

#[test]
fn the_embeddings_of_an_interrupted_search_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..80u8 {
        let picture = RgbImage::from_pixel(8, 8, Rgb([number, 0, 255 - number]));
        picture
            .save(folder.path().join(format!("{number}.png")))
            .expect("a picture");
    }
    settle(folder.path());
    let ensemble = ensemble(&["clip-hf-quick"]);
    let stopped = Index::open(folder.path())
        .update(&ensemble, |_, _| ControlFlow::Break(()))
        .expect("an update");
    assert!(
        stopped.interrupted && stopped.embedded == 64,
        "{}",
        stopped.embedded
    );
    assert_eq!(
        update(&mut Index::open(folder.path()), &ensemble).embedded,
        16
    );
}
