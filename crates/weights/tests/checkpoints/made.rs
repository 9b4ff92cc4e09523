//! Files made by hand, good ones and parts of bad ones.

use std::io::Write;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

pub fn parts(parts: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(vec![]));
    for (name, bytes) in parts {
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file(*name, options).expect("a part");
        zip.write_all(bytes).expect("a part");
    }
    zip.finish().expect("an archive").into_inner()
}

/// An archive as PyTorch makes it, of that program and one storage of 16 bytes.
pub fn archive(pickle: &[u8]) -> Vec<u8> {
    parts(
        &[("archive/data.pkl", pickle), ("archive/data/0", &[0; 16])],
        CompressionMethod::Stored,
    )
}

pub fn text(text: &str) -> Vec<u8> {
    [
        &b"X"[..],
        &(text.len() as u32).to_le_bytes(),
        text.as_bytes(),
    ]
    .concat()
}

pub fn tuple(numbers: &[i32]) -> Vec<u8> {
    let numbers: Vec<u8> = numbers
        .iter()
        .flat_map(|n| [&b"J"[..], &n.to_le_bytes()].concat())
        .collect();
    [&b"("[..], &numbers, b"t"].concat()
}

/// `{"w": tensor}` over the storage, with that key of it, offset, shape and strides.
pub fn one_tensor(key: &str, offset: i32, shape: &[i32], strides: &[i32]) -> Vec<u8> {
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

/// A stream as PyTorch saved before version 1.6, of that program, those storages' keys and their bytes in f32.
pub fn stream(pickle: &[u8], storages: &[(&str, &[f32])]) -> Vec<u8> {
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
pub fn viewed() -> Vec<u8> {
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

/// A stream of one storage, as a `.pkl` has one for each tensor.
pub fn nested(values: &[f32]) -> Vec<u8> {
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
pub fn module(state: &[u8]) -> Vec<u8> {
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
pub fn modules(function: &[u8], stream: &[u8], after: &[u8]) -> Vec<u8> {
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

pub const LOAD: &[u8] = b"ctorch.storage\n_load_from_bytes\n";
