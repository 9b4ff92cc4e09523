//! CLIPs: files as found in practice, agreement with the reference libraries, texts.

#[path = "../common/mod.rs"]
mod common;

mod activation;
mod candle;
mod checkpoints;
mod convnets;
mod embedded;
mod found;
mod keys;
mod layouts;
mod parity;
mod precision;
mod taps;
mod text;
mod text_towers;
mod towers;
