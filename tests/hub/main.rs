//! Where models come from: fetching, redirects, proxies, no network, caches that others left.

#[path = "../common/mod.rs"]
mod common;

mod caches;
mod fetching;
mod layouts;
mod manners;
mod offline;
mod redirects;
mod server;
mod shared;
