//! Checkpoints: what PyTorch saved is read as it was, and what is hostile or broken is refused in words, in bounded memory.

mod float8;

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use phantasia_weights::checkpoint::{Checkpoint, Scope};
use proptest::prelude::*;
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
fn protocols_four_and_five() {
    same("protocol4.pt", "reference.safetensors");
    same("protocol5.pt", "reference.safetensors");
}

#[test]
fn compressed_parts() {
    same("deflated.pt", "reference.safetensors");
}

#[test]
fn the_stream_from_before_pytorch_1_6() {
    same("legacy.pt", "reference.safetensors");
    same("legacy4.pt", "reference.safetensors");
}

/// Every matrix of a fixture that lies row by row has the rows of the whole tensor, in any order and more than once.
fn rows(name: &str) -> (usize, usize) {
    let checkpoint = Checkpoint::open(&fixture(name)).expect("a checkpoint");
    let keys: Vec<String> = checkpoint.keys().map(str::to_owned).collect();
    let (mut flat, mut other) = (0, 0);
    for key in keys {
        let Some(&[count, columns]) = checkpoint.shape(&key).filter(|shape| !shape.contains(&0))
        else {
            continue;
        };
        let Ok(whole) = checkpoint.tensor(&key, &[count, columns]) else {
            continue;
        };
        match checkpoint.rows(&key, [count, columns]).expect(&key) {
            None => other += 1,
            Some(rows) => {
                flat += 1;
                let last = count as u32 - 1;
                let found = rows
                    .read(&[last, 0, last])
                    .and_then(|rows| Ok(rows.to_vec2::<f32>()?));
                let whole = whole.to_vec2::<f32>().expect("values");
                let wanted = [last, 0, last].map(|row| whole[row as usize].clone());
                assert_eq!(found.expect(&key), wanted, "{key}");
                let error = rows.read(&[0, count as u32]).expect_err(&key).to_string();
                assert!(error.contains(&format!("no row {count}")), "{error}");
            }
        }
    }
    (flat, other)
}

#[test]
fn rows_are_read_one_by_one_where_they_lie_so() {
    let (flat, strided) = rows("state.pt");
    assert!(flat > 3 && strided > 0, "{flat} {strided}");
    assert_eq!(rows("deflated.pt").0, 0);
    assert!(rows("reference.safetensors").0 > 3);
    assert!(rows("legacy.pt").0 > 3);
    let checkpoint = Checkpoint::open(&fixture("state.pt")).expect("a checkpoint");
    let error = checkpoint.rows("nothing", [1, 1]).expect_err("missing");
    assert!(error.to_string().contains("no tensor `nothing`"), "{error}");
}

#[test]
fn integers_booleans_and_tensors_that_overlap_are_read_if_they_are_asked_for() {
    same("odd2.pt", "odd.safetensors");
    same("odd5.pt", "odd.safetensors");
}

#[test]
fn unreadable_values_are_errors_only_if_requested() {
    for name in ["odd2.pt", "odd5.pt"] {
        let checkpoint = Checkpoint::open(&fixture(name)).expect("a checkpoint");
        for (key, shape, said) in [("complex", 2, "C64"), ("wide", 2, "U16")] {
            let error = checkpoint.tensor(key, &[shape]).expect_err("no numbers");
            let error = error.to_string();
            assert!(error.contains(key) && error.contains(said), "{error}");
        }
    }
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

/// A stream as PyTorch saved before version 1.6, of that program, those storages' keys and their bytes in f32.
fn stream(pickle: &[u8], storages: &[(&str, &[f32])]) -> Vec<u8> {
    let mut bytes = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec();
    bytes.extend_from_slice(b"\x80\x02M\xe9\x03.\x80\x02}");
    bytes.extend_from_slice(&[text("little_endian"), b"\x88s.".to_vec()].concat());
    bytes.extend_from_slice(pickle);
    bytes.extend_from_slice(b"\x80\x02](");
    for (key, _) in storages {
        bytes.extend_from_slice(&text(key));
    }
    bytes.extend_from_slice(b"e.");
    for (_, values) in storages {
        bytes.extend_from_slice(&(values.len() as u64).to_le_bytes());
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    bytes
}

/// `{"w": tensor of two numbers}` over a view that begins at the second element of a storage, in the words of Python 2.
fn viewed() -> Vec<u8> {
    let short = |text: &str| [&[b'U', text.len() as u8][..], text.as_bytes()].concat();
    [
        &b"\x80\x02ccollections\nOrderedDict\n]]("[..],
        &short("w"),
        b"ctorch._utils\n_rebuild_tensor\n((",
        &short("storage"),
        b"ctorch\nFloatStorage\n",
        &short("7"),
        &short("cpu"),
        b"K\x04(",
        &short("8"),
        b"K\x01K\x02ttQK\x00",
        &tuple(&[2]),
        &tuple(&[1]),
        b"tRea\x85R.",
    ]
    .concat()
}

fn opened(bytes: &[u8]) -> Checkpoint {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("good.pt");
    std::fs::write(&path, bytes).expect("written");
    Checkpoint::open(&path).expect("a checkpoint")
}

#[test]
fn views_of_storages_in_files_of_python_2() {
    let checkpoint = opened(&stream(&viewed(), &[("7", &[1.0, 2.0, 3.0, 4.0])]));
    let values = checkpoint
        .tensor("w", &[2])
        .and_then(|w| Ok(w.to_vec1::<f32>()?));
    assert_eq!(values.expect("values"), [2.0, 3.0]);
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

/// A stream of one storage, as a `.pkl` has one for each tensor.
fn nested(values: &[f32]) -> Vec<u8> {
    let storage = [
        &b"\x80\x02("[..],
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text("7"),
        &text("cpu"),
        b"K\x02NtQ.",
    ];
    stream(&storage.concat(), &[("7", values)])
}

/// A module as NVIDIA's GANs pickle it, of that state.
fn module(state: &[u8]) -> Vec<u8> {
    [
        &b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n}("[..],
        &text("module_src"),
        &text("raise SystemExit()"),
        &text("state"),
        state,
        b"u\x85R",
    ]
    .concat()
}

/// `{"G_ema": module}` with a number, a part whose buffer `w` is this call of two numbers' bytes, and more after it.
fn modules(function: &[u8], stream: &[u8], after: &[u8]) -> Vec<u8> {
    let tensor = [
        &b"ctorch._utils\n_rebuild_tensor_v2\n("[..],
        function,
        b"B",
        &(stream.len() as u32).to_le_bytes(),
        stream,
        b"\x85RK\x00",
        &tuple(&[2]),
        &tuple(&[1]),
        b"\x89}tR",
    ];
    let part = [
        &b"}("[..],
        &text("_buffers"),
        b"}",
        &text("w"),
        &tensor.concat(),
        b"s",
        &text("gain"),
        b"G\x3f\xe0\0\0\0\0\0\0u",
    ];
    let whole = [
        &b"}("[..],
        &text("_parameters"),
        b"}",
        &text("resolution"),
        b"K\x08",
        &text("_modules"),
        b"}",
        &text("b4"),
        &module(&part.concat()),
        b"su",
    ];
    [
        &b"\x80\x03}"[..],
        &text("G_ema"),
        &module(&whole.concat()),
        b"s",
        after,
        b".",
    ]
    .concat()
}

const LOAD: &[u8] = b"ctorch.storage\n_load_from_bytes\n";

#[test]
fn modules_as_nvidia_pickles_them() {
    let checkpoint = opened(&modules(LOAD, &nested(&[1.0, 2.0]), b""));
    assert_eq!(Vec::from_iter(checkpoint.keys()), ["G_ema.b4.w"]);
    let values = (checkpoint.tensor("G_ema.b4.w", &[2])).and_then(|w| Ok(w.to_vec1::<f32>()?));
    assert_eq!(values.expect("values"), [1.0, 2.0]);
    assert_eq!(checkpoint.number("G_ema.resolution"), Some(8.0));
    assert_eq!(checkpoint.number("G_ema.b4.gain"), Some(0.5));
    assert_eq!(checkpoint.number("G_ema.b4.w"), None);
}

#[test]
fn modules_with_foreign_names_are_refused() {
    for function in [
        &b"cposix\nsystem\n"[..],
        b"cbuiltins\neval\n",
        b"ctorch\nload\n",
    ] {
        let name = String::from_utf8_lossy(function).replacen('\n', ".", 1);
        let name = name[1..].trim_end().to_owned();
        let good = nested(&[1.0, 2.0]);
        refused(&modules(function, &good, b""), &name);
        // wherever it is
        refused(&modules(LOAD, &good, &[function, b")R0"].concat()), &name);
    }
    let tensorflow = b"\x80\x03cdnnlib.tflib.network\nNetwork\n)\x81.";
    refused(tensorflow, "legacy.py");
}

#[test]
fn modules_that_are_cut_off_anywhere() {
    let whole = modules(LOAD, &nested(&[1.0, 2.0]), b"");
    for length in 3..whole.len() {
        let because = if length < 9 { "" } else { "ends too early" };
        refused(&whole[..length], because);
    }
}

#[test]
fn streams_within_modules_stay_within_their_bytes() {
    let good = nested(&[1.0, 2.0]);
    // less than it says, where more of the file follows
    for length in [0, 5, good.len() - 9, good.len() - 1] {
        let bytes = modules(LOAD, &good[..length], b"(X\x40\0\0\0");
        let bytes = [&bytes[..bytes.len() - 1], &[b'a'; 64], b"1."].concat();
        refused(&bytes, "`G_ema.b4.w` has numbers that cannot be read");
    }
    refused(&modules(LOAD, b"\x80\x02}.", b""), "streams do");
    refused(&modules(LOAD, &nested(&[1.0]), b""), "after its 4 bytes");
    // a stream of a dictionary
    refused(
        &modules(LOAD, &stream(b"\x80\x02}.", &[]), b""),
        "no storage",
    );
    // such bytes belong to no other file
    let tensor = modules(LOAD, &good, b"");
    let at = tensor.windows(13).position(|part| part == b"ctorch._utils");
    let end = tensor.windows(4).position(|part| part == b"\x89}tR");
    let (at, end) = (at.expect("a tensor"), end.expect("its end"));
    let pickle = [&b"\x80\x02}"[..], &text("w"), &tensor[at..end + 4], b"s."].concat();
    refused(&archive(&pickle), "only NVIDIA's");
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

/// A checkpoint of small tensors of these names.
fn named(names: &[&str]) -> Checkpoint {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("named.safetensors");
    let tensors: HashMap<&str, Tensor> = (names.iter())
        .enumerate()
        .map(|(i, name)| {
            (
                *name,
                Tensor::new(&[i as f32], &Device::Cpu).expect("a tensor"),
            )
        })
        .collect();
    candle_core::safetensors::save(&tensors, &path).expect("written");
    Checkpoint::open(&path).expect("a checkpoint")
}

fn found(names: &[&str], wanted: &str) {
    let mut checkpoint = named(names);
    assert!(
        checkpoint.locate(&["in.weight"]).expect("one model"),
        "{names:?}"
    );
    let value = checkpoint
        .tensor("in.weight", &[1])
        .and_then(|w| Ok(w.to_vec1::<f32>()?));
    assert_eq!(
        value.expect("a value")[0],
        names.iter().position(|name| *name == wanted).expect("one") as f32
    );
}

#[test]
fn a_model_is_found_whatever_stands_in_front_of_it() {
    for prefix in [
        "",
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "model.",
        "clip.",
        "net.a.b.c.",
        "state_dict.model.",
    ] {
        let name = format!("{prefix}in.weight");
        found(
            &["head.in.bias", &name, "n_averaged", "begin.weight"],
            &name,
        );
    }
}

#[test]
fn weights_are_preferred_to_their_averages() {
    for average in ["ema.", "model_ema.", "ema_state_dict.", "params_ema."] {
        found(
            &[&format!("{average}in.weight"), "model.in.weight"],
            "model.in.weight",
        );
    }
    let mut checkpoint = named(&["model.in.weight", "ema.in.weight"]);
    checkpoint.locate(&["in.weight"]).expect("one model");
    checkpoint.tensor("in.weight", &[1]).expect("a tensor");
    let notes = checkpoint.finish(Scope::All, &[]).expect("all used");
    assert!(
        notes.len() == 1 && notes[0].contains("EMA") && notes[0].contains("weights are used"),
        "{notes:?}"
    );
}

#[test]
fn lone_averages_are_used_and_reported() {
    let mut checkpoint = named(&["epoch_ema.in.weight", "step"]);
    assert!(checkpoint.locate(&["in.weight"]).expect("one model"));
    checkpoint.tensor("in.weight", &[1]).expect("a tensor");
    let notes = checkpoint.finish(Scope::All, &[]).expect("all used");
    assert!(
        notes.iter().any(|note| note.contains("`epoch_ema.*`")),
        "{notes:?}"
    );
}

#[test]
fn several_models_are_refused_by_their_names() {
    let mut checkpoint = named(&["student.in.weight", "teacher.in.weight"]);
    let error = checkpoint
        .locate(&["in.weight"])
        .expect_err("two")
        .to_string();
    assert!(error.contains("`student.*`, `teacher.*`"), "{error}");
}

#[test]
fn what_an_optimizer_keeps_is_no_model() {
    found(&["optimizer.state.in.weight", "in.weight"], "in.weight");
}

#[test]
fn unused_tensors_are_refused_by_their_names_and_number() {
    let extra = [
        "a.in.weight",
        "a.b.gamma",
        "a.c.gamma",
        "a.d.gamma",
        "a.e.gamma",
        "a.f.gamma",
    ];
    let mut checkpoint = named(&extra);
    checkpoint.locate(&["in.weight"]).expect("one model");
    checkpoint.tensor("in.weight", &[1]).expect("a tensor");
    let error = checkpoint
        .finish(Scope::All, &[])
        .expect_err("unused")
        .to_string();
    assert!(
        error.contains("5 tensors (`a.b.gamma`") && error.contains("and 1 more"),
        "{error}"
    );
    let left = checkpoint.finish(Scope::All, &["b.", "c.", "d.", "e.", "f."]);
    assert_eq!(left.expect("left on purpose"), [""; 0]);
}

#[test]
fn tensors_without_effect_are_ignored() {
    let mut checkpoint = named(&[
        "m.in.weight",
        "m.logit_scale",
        "m.attn_mask",
        "m.text.embeddings.position_ids",
        "m.bn.num_batches_tracked",
        "m.loss.perceptual.lin0",
        "m.quantize.cluster_size",
        "n_averaged",
        "optimizer.state.0.exp_avg",
        "input_resolution",
    ]);
    checkpoint.locate(&["in.weight"]).expect("one model");
    checkpoint.tensor("in.weight", &[1]).expect("a tensor");
    assert_eq!(
        checkpoint.finish(Scope::All, &[]).expect("harmless"),
        [""; 0]
    );
    // the scale of an attention is not that of a loss
    let mut checkpoint = named(&["in.weight", "blocks.0.attn.logit_scale"]);
    checkpoint.locate(&["in.weight"]).expect("one model");
    checkpoint.tensor("in.weight", &[1]).expect("a tensor");
    assert!(checkpoint.finish(Scope::All, &[]).is_err());
}

#[test]
fn unused_tensors_of_other_parts_are_reported() {
    let mut checkpoint = named(&["m.in.weight", "m.head.weight", "other"]);
    checkpoint.locate(&["in.weight"]).expect("one model");
    checkpoint.tensor("in.weight", &[1]).expect("a tensor");
    let notes = checkpoint.finish(Scope::Parts, &[]).expect("beside");
    assert!(
        notes.len() == 1 && notes[0].contains("`m.head.weight`") && notes[0].contains("`other`"),
        "{notes:?}"
    );
    let error = checkpoint
        .finish(Scope::All, &[])
        .expect_err("unused")
        .to_string();
    assert!(
        error.contains("`m.head.weight`") && !error.contains("`other`"),
        "{error}"
    );
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
