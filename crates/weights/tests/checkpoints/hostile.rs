//! Files that are broken, or made to do harm: refused in words, in bounded memory.

use phantasia_weights::checkpoint::{Checkpoint, Scope};
use proptest::prelude::*;
use zip::CompressionMethod;

use crate::made::{LOAD, archive, modules, nested, one_tensor, parts, stream, text, viewed};
use crate::{fixture, refused};

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
fn a_pickle_that_pytorch_did_not_save_says_so() {
    refused(b"\x80\x02}q\x00.", "did not write");
    refused(
        b"\x80\x04\x95\x02\x00\x00\x00\x00\x00\x00\x00}.",
        "did not write",
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
    refused(&archive(&pickle), "expands to more than");
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
fn integers_that_are_cut_off() {
    refused(&archive(b"\x80\x02\x8a\xff."), "ends too early");
    refused(
        &archive(b"\x80\x02\x8b\xff\xff\xff\xff."),
        "more than 64 MiB",
    );
}

#[test]
fn opcodes_that_no_state_dict_needs() {
    refused(&archive(b"\x80\x02Ihello\n."), "opcode 0x49");
    refused(&archive(b"\x80\x06N."), "protocol 6");
    refused(&archive(b"\x80\x04\x95."), "ends too early");
    // an extension registry, and buffers from outside
    refused(&archive(b"\x80\x02\x82\x01."), "opcode 0x82");
    refused(&archive(b"\x80\x05\x97."), "opcode 0x97");
}

#[test]
fn lengths_that_are_not_there() {
    let wide = |code: u8| [&b"\x80\x05"[..], &[code], &u64::MAX.to_le_bytes(), b"."].concat();
    for code in [0x8d, 0x8e, 0x96] {
        refused(&archive(&wide(code)), "more than 64 MiB");
    }
    refused(&archive(b"\x80\x04B\xff\xff\xff\x00."), "ends too early");
}

#[test]
fn a_value_that_contains_itself() {
    // a list that contains only itself
    refused(&archive(b"\x80\x02]q\x00h\x00a."), "nested deeper");
}

#[test]
fn a_memo_that_fills_memory() {
    let mut pickle = b"\x80\x02N".to_vec();
    for place in 0..5_000_000u32 {
        pickle.push(b'r');
        pickle.extend_from_slice(&place.to_le_bytes());
    }
    pickle.push(b'.');
    refused(&archive(&pickle), "expands to more than");
}

#[test]
fn a_stream_whose_numbers_are_big_endian() {
    let mut bytes = stream(&viewed(), &[("7", &[0.0; 4])]);
    let at = bytes
        .windows(2)
        .position(|pair| pair == b"\x88s")
        .expect("a flag");
    bytes[at] = 0x89;
    refused(&bytes, "little-endian");
}

#[test]
fn streams_that_are_cut_off_anywhere() {
    let whole = std::fs::read(fixture("legacy.pt")).expect("a fixture");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cut.pt");
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).expect("written");
        let error = Checkpoint::open(&path).err();
        let error = error.unwrap_or_else(|| panic!("{length} bytes were accepted"));
        assert!(error.to_string().contains("cut.pt"), "{error}");
    }
}

#[test]
fn archives_that_are_cut_off_anywhere() {
    let whole = std::fs::read(fixture("deflated.pt")).expect("a fixture");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cut.pt");
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).expect("written");
        let error = Checkpoint::open(&path).err();
        let error = error.unwrap_or_else(|| panic!("{length} bytes were accepted"));
        assert!(error.to_string().contains("cut.pt"), "{error}");
    }
}

/// Opens bytes and asks for all that they hold; anything but a panic is right.
fn ask_for_all(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("damaged.pt");
    std::fs::write(&path, bytes).expect("written");
    if let Ok(mut checkpoint) = Checkpoint::open(&path) {
        let _ = checkpoint.locate(&["single"]);
        for key in checkpoint.keys().map(str::to_owned).collect::<Vec<_>>() {
            let shape = checkpoint.shape(&key).unwrap_or_default().to_vec();
            // what a flipped bit claims may be as large as memory
            if shape
                .iter()
                .fold(1usize, |count, &dim| count.saturating_mul(dim))
                < 1 << 20
            {
                let _ = checkpoint.tensor(&key, &shape);
            }
        }
        let _ = checkpoint.finish(Scope::All, &[]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn flipped_bytes_never_panic(
        file in prop::sample::select(vec!["odd5.pt", "odd2.pt", "legacy.pt", "legacy4.pt", "deflated.pt"]),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = std::fs::read(fixture(file)).expect("a fixture");
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        ask_for_all(&bytes);
    }

    #[test]
    fn flipped_bytes_of_modules_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = modules(LOAD, &nested(&[1.0, 2.0]), b"");
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        ask_for_all(&bytes);
    }

    #[test]
    fn programs_of_any_bytes_never_panic(program in prop::collection::vec(any::<u8>(), 0..200)) {
        let program = [b"\x80\x04".to_vec(), program].concat();
        ask_for_all(&archive(&program));
        ask_for_all(&modules(LOAD, &nested(&[1.0, 2.0]), &program[2..]));
        ask_for_all(&program);
        ask_for_all(&stream(&program, &[("0", &[0.0; 4])]));
    }
}

#[test]
fn tensors_of_too_few_arguments() {
    let pickle = [
        &b"\x80\x02}"[..],
        &text("w"),
        b"ctorch._utils\n_rebuild_tensor_v2\n)Rs.",
    ]
    .concat();
    refused(&archive(&pickle), "`w` is not a complete tensor");
}

#[test]
fn shapes_larger_than_their_storage() {
    refused(
        &archive(&one_tensor("0", 0, &[5], &[1])),
        "end after its 16 bytes",
    );
    refused(&archive(&one_tensor("0", 4, &[1], &[1])), "end after");
    refused(
        &archive(&one_tensor("0", 0, &[i32::MAX; 8], &[i32::MAX; 8])),
        "impossible shape",
    );
    refused(&archive(&one_tensor("0", 0, &[i32::MAX], &[0])), "overlap");
    refused(
        &archive(&one_tensor("0", -1, &[1], &[1])),
        "not a complete tensor",
    );
    refused(
        &archive(&one_tensor("0", 0, &[-1], &[1])),
        "not a complete tensor",
    );
    refused(
        &archive(&one_tensor("0", 0, &[1], &[1, 1])),
        "not a complete tensor",
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
        "in its folder",
    );
    refused(br#"{"weight_map": {"w": "hostile.json"}}"#, "in its folder");
    refused(br#"{"weight_map": 3}"#, "does not list");
}
