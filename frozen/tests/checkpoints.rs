//! Checkpoints: what PyTorch saved is read as it was, and what is hostile or broken is refused in words, in bounded memory.

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use common::frozen::checkpoint::Checkpoint;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/pickles")
        .join(name)
}

/// Every tensor of the reference is in the checkpoint, to the bit.
fn same(checkpoint: &str, reference: &str) {
    let wanted =
        candle_core::safetensors::load(fixture(reference), &Device::Cpu).expect("reference");
    let found = Checkpoint::open(&fixture(checkpoint)).expect("a checkpoint");
    assert!(!wanted.is_empty());
    for (key, wanted) in wanted {
        if wanted.dtype() != DType::F32 {
            continue;
        }
        let tensor = found
            .tensor(&key, wanted.dims())
            .unwrap_or_else(|error| panic!("{key}: {error}"));
        let values = |tensor: &Tensor| tensor.flatten_all().and_then(|t| t.to_vec1::<f32>());
        assert_eq!(
            values(&tensor).expect("values"),
            values(&wanted).expect("values"),
            "{key}"
        );
    }
}

#[test]
fn a_state_dict_of_every_type_and_stride() {
    same("state.pt", "reference.safetensors");
}

#[test]
fn a_state_dict_within_a_training_checkpoint() {
    same("nested.ckpt", "reference.safetensors");
    let checkpoint = Checkpoint::open(&fixture("nested.ckpt")).expect("a checkpoint");
    assert!(checkpoint.keys().all(|key| !key.contains("optimizer")));
}

#[test]
fn the_module_around_a_parallel_model_is_dropped() {
    same("parallel.pt", "reference.safetensors");
}

#[test]
fn torchscript() {
    same("script.pt", "script.safetensors");
}

#[test]
fn a_divided_checkpoint() {
    same(
        "shards/model.safetensors.index.json",
        "reference.safetensors",
    );
}

fn open(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hostile.pt");
    std::fs::write(&path, bytes).expect("written");
    match Checkpoint::open(&path) {
        Ok(_) => panic!("it was accepted"),
        Err(error) => {
            let message = error.to_string();
            assert!(message.contains("hostile.pt"), "names no file: {message}");
            assert!(message.len() < 1000, "too long: {message}");
            message
        }
    }
}

#[track_caller]
fn refused(bytes: &[u8], because: &str) {
    let message = open(bytes);
    assert!(message.contains(because), "no {because:?} in: {message}");
}

fn parts(parts: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(vec![]));
    for (name, bytes) in parts {
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file(*name, options).expect("a part");
        zip.write_all(bytes).expect("a part");
    }
    zip.finish().expect("an archive").into_inner()
}

/// An archive as PyTorch makes it, of that program and one storage of 16 bytes.
fn archive(pickle: &[u8]) -> Vec<u8> {
    parts(
        &[("archive/data.pkl", pickle), ("archive/data/0", &[0; 16])],
        CompressionMethod::Stored,
    )
}

fn text(text: &str) -> Vec<u8> {
    [
        &b"X"[..],
        &(text.len() as u32).to_le_bytes(),
        text.as_bytes(),
    ]
    .concat()
}

fn tuple(numbers: &[i32]) -> Vec<u8> {
    let numbers: Vec<u8> = numbers
        .iter()
        .flat_map(|n| [&b"J"[..], &n.to_le_bytes()].concat())
        .collect();
    [&b"("[..], &numbers, b"t"].concat()
}

/// `{"w": tensor}` over the storage, with that key of it, offset, shape and strides.
fn one_tensor(key: &str, offset: i32, shape: &[i32], strides: &[i32]) -> Vec<u8> {
    [
        &b"\x80\x02}"[..],
        &text("w"),
        b"ctorch._utils\n_rebuild_tensor_v2\n((",
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text(key),
        &text("cpu"),
        b"K\x04tQJ",
        &offset.to_le_bytes(),
        &tuple(shape),
        &tuple(strides),
        b"\x89}tRs.",
    ]
    .concat()
}

#[test]
fn the_hand_made_archive_is_a_good_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("good.pt");
    std::fs::write(&path, archive(&one_tensor("0", 0, &[2, 2], &[2, 1]))).expect("written");
    let checkpoint = Checkpoint::open(&path).expect("a checkpoint");
    assert!(checkpoint.tensor("w", &[2, 2]).is_ok());
    let error = checkpoint
        .tensor("w", &[4])
        .expect_err("another shape")
        .to_string();
    assert!(
        error.contains("[2, 2]") && error.contains("[4]") && error.contains("good.pt"),
        "{error}"
    );
}

#[test]
fn a_foreign_class_is_never_run_and_said_when_asked_for() {
    let checkpoint = Checkpoint::open(&fixture("foreign.pt")).expect("a checkpoint");
    assert!(checkpoint.tensor("weight", &[2, 2]).is_ok());
    let error = checkpoint
        .tensor("rate", &[])
        .expect_err("foreign")
        .to_string();
    assert!(
        error.contains("fractions.Fraction") && error.contains("never run"),
        "{error}"
    );
}

#[test]
fn a_program_that_calls_is_refused_by_the_name_of_what_it_calls() {
    let pickle = [
        &b"\x80\x02cposix\nsystem\n"[..],
        &text("touch here"),
        b"\x85R.",
    ]
    .concat();
    refused(&archive(&pickle), "posix.system");
}

#[test]
fn a_whole_module_says_to_save_its_state_dict() {
    let error = Checkpoint::open(&fixture("module.pt"))
        .err()
        .expect("refused")
        .to_string();
    assert!(
        error.contains("torch.nn.modules.linear.Linear") && error.contains("state_dict()"),
        "{error}"
    );
}

#[test]
fn a_legacy_pickle_says_to_save_it_again() {
    let error = Checkpoint::open(&fixture("legacy.pt"))
        .err()
        .expect("refused")
        .to_string();
    assert!(
        error.contains("1.6") && error.contains("save it again"),
        "{error}"
    );
}

#[test]
fn a_truncated_archive() {
    let bytes = std::fs::read(fixture("state.pt")).expect("a fixture");
    for length in [8, 100, bytes.len() / 2, bytes.len() - 1] {
        refused(&bytes[..length], "cannot be read");
    }
}

#[test]
fn damaged_archives_never_panic() {
    let whole = std::fs::read(fixture("nested.ckpt")).expect("a fixture");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("damaged.ckpt");
    for at in (0..whole.len()).step_by(3) {
        let mut bytes = whole.clone();
        bytes[at] ^= [0xff, 0x01, 0x80, 0x10][at / 3 % 4];
        std::fs::write(&path, &bytes).expect("written");
        if let Ok(checkpoint) = Checkpoint::open(&path) {
            for key in checkpoint.keys().map(str::to_owned).collect::<Vec<_>>() {
                let shape = checkpoint.shape(&key).unwrap_or_default().to_vec();
                let _ = checkpoint.tensor(&key, &shape);
            }
        }
    }
}

#[test]
fn a_zip_of_something_else() {
    refused(
        &parts(&[("a.txt", b"hello")], CompressionMethod::Stored),
        "data.pkl",
    );
}

#[test]
fn a_text_longer_than_the_pickle() {
    refused(&archive(b"\x80\x02X\xff\xff\xff\xff"), "ends too early");
}

#[test]
fn values_that_double_again_and_again() {
    // each round holds the last value twice: 2^60 values after sixty
    let mut pickle = b"\x80\x02]q\x00".to_vec();
    for _ in 0..60 {
        pickle.extend_from_slice(b"h\x00h\x00\x86q\x00");
    }
    pickle.push(b'.');
    refused(&archive(&pickle), "unfolds to more than");
}

#[test]
fn values_nested_a_million_deep() {
    let mut pickle = b"\x80\x02N".to_vec();
    pickle.extend(std::iter::repeat_n(0x85, 1_000_000));
    pickle.push(b'.');
    refused(&archive(&pickle), "nested deeper");
    let mut pickle = b"\x80\x02".to_vec();
    pickle.extend(std::iter::repeat_n(b']', 1_000_000));
    pickle.extend(std::iter::repeat_n(b'a', 999_999));
    pickle.push(b'.');
    refused(&archive(&pickle), "nested deeper");
}

#[test]
fn stacks_that_run_empty() {
    for pickle in [
        &b"\x80\x02."[..],
        b"\x80\x02R.",
        b"\x80\x02t.",
        b"\x80\x02Nu.",
        b"\x80\x02(.",
        b"\x80\x02q\x00.",
        b"",
        b"\x80",
    ] {
        refused(&archive(pickle), "its pickle");
    }
}

#[test]
fn integers_wider_than_a_machine_word() {
    refused(&archive(b"\x80\x02\x8a\xff."), "255 bytes");
}

#[test]
fn opcodes_that_no_state_dict_needs() {
    refused(&archive(b"\x80\x02Ihello\n."), "opcode 0x49");
    refused(&archive(b"\x80\x04\x95."), "protocol 4");
}

#[test]
fn tensors_of_too_few_arguments() {
    let pickle = [
        &b"\x80\x02}"[..],
        &text("w"),
        b"ctorch._utils\n_rebuild_tensor_v2\n)Rs.",
    ]
    .concat();
    refused(&archive(&pickle), "`w` is no whole tensor");
}

#[test]
fn shapes_larger_than_their_storage() {
    refused(
        &archive(&one_tensor("0", 0, &[5], &[1])),
        "end behind its 16 bytes",
    );
    refused(&archive(&one_tensor("0", 4, &[1], &[1])), "end behind");
    refused(
        &archive(&one_tensor("0", 0, &[i32::MAX; 8], &[i32::MAX; 8])),
        "impossible shape",
    );
    refused(&archive(&one_tensor("0", 0, &[1_000_000], &[0])), "overlap");
    refused(
        &archive(&one_tensor("0", -1, &[1], &[1])),
        "no whole tensor",
    );
    refused(
        &archive(&one_tensor("0", 0, &[-1], &[1])),
        "no whole tensor",
    );
    refused(
        &archive(&one_tensor("0", 0, &[1], &[1, 1])),
        "no whole tensor",
    );
    refused(&archive(&one_tensor("1", 0, &[1], &[1])), "archive/data/1");
}

#[test]
fn an_archive_with_a_huge_list_of_contents() {
    let entries: Vec<(String, &[u8])> = (0..200_000)
        .map(|index| (format!("{index:0100}"), &b""[..]))
        .collect();
    let entries: Vec<(&str, &[u8])> = entries
        .iter()
        .map(|(name, bytes)| (name.as_str(), *bytes))
        .collect();
    refused(&parts(&entries, CompressionMethod::Stored), "too long");
}

#[test]
fn a_pointer_of_git_lfs_and_a_web_page() {
    refused(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
        "Git LFS",
    );
    refused(b"<!DOCTYPE html><html>", "web page");
}

#[test]
fn a_list_of_files_stays_in_its_folder() {
    refused(
        br#"{"weight_map": {"w": "../other.safetensors"}}"#,
        "beside it",
    );
    refused(br#"{"weight_map": {"w": "hostile.json"}}"#, "beside it");
    refused(br#"{"weight_map": 3}"#, "does not list");
}
