//! Layers of frozen networks, differentiable in their input alone.
//!
//! A network that only criticises or decodes never learns: all that is wanted of its backward pass is the gradient
//! of its *input*. Every [`Layer`] here therefore carries two functions, written by hand: its value ([`Layer::eval`])
//! and its value together with a [`Pullback`] ([`Layer::vjp`]), the map from the gradient of the output to the
//! gradient of the input. Layers compose with [`Chain`], [`Residual`] and [`Parallel`] without a graph in between, and a whole network
//! joins candle's graph as one node ([`Layer::forward`]).
//!
//! f32 and f64 on the CPU run fused kernels on rayon's global thread pool; every other type and device runs candle's own
//! operations. An input must have the type and device of the layer's weights.

mod activation;
mod attention;
mod channel_scale;
mod channels_last;
mod conv;
mod depthwise;
mod elementwise;
mod embedding;
mod film;
mod gate;
mod gemm;
mod glu;
mod host;
pub mod kernel;
mod latent_pool;
pub mod layer;
mod linear;
mod neighborhood;
mod norm;
mod pad;
mod pool;
mod real;
pub mod resample;
mod rope;
mod self_attention;
mod squeeze_excite;
mod upfirdn;
mod upsample_conv;
mod warp;

pub use activation::Activation;
pub use attention::{AttentionPullback, scaled_dot_product};
pub use channel_scale::{channel_products, scale_channels};
pub use channels_last::{ChannelsFirst, ChannelsLast, GlobalAvgPool, SpaceToDepth};
pub use conv::{Conv2d, Conv2dOptions, ConvTranspose2d};
pub use depthwise::DepthwiseConv2d;
pub use embedding::Embedding;
pub use film::{Film, FilmGradients, FilmTape};
pub use gate::Gate;
pub use glu::Glu;
pub use latent_pool::LatentPool;
pub use layer::{
    Chain, Layer, Parallel, Pullback, Residual, TapsPullback, add_to, attach, only_tap, vjp_taps,
};
pub use linear::Linear;
pub use neighborhood::NeighborhoodMean;
pub use norm::{GroupNorm, LayerNorm};
pub use pad::Pad;
pub use pool::{AvgPool2d, MaxPool2d, UpsampleNearest};
pub use resample::{Border, Crop, Crops, Filter, Resample, resize_to_fill};
pub use rope::Rope;
pub use self_attention::SelfAttention;
pub use squeeze_excite::SqueezeExcite;
pub use upfirdn::Upfirdn2d;
pub use upsample_conv::UpsampleConv2d;
pub use warp::Warp;
