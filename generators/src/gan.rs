//! Painting in the latent space of a GAN.

pub mod network;

pub use network::{Latent, LatentPullback, Network, Sampling};
