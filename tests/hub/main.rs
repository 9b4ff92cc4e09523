//! Where models come from when things are not as they should be: redirects, proxies, no network, caches that others left.

mod caches;
mod common;
mod layouts;
mod offline;
#[path = "../program/mod.rs"]
mod program;
mod redirects;
mod server;
