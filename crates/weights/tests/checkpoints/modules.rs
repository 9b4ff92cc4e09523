//! Pickles of whole modules, as NVIDIA's GANs are published.

use crate::made::{LOAD, archive, modules, nested, stream, text};
use crate::{opened, refused};

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
