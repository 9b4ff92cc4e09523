//! The names of a VQGAN's parts in each layout.

use weights::checkpoint::Branch;

use super::Layout;

/// Half of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Encoder,
    Decoder,
}

/// The names of one checkpoint.
pub(super) struct Names {
    pub layout: Layout,
}

impl Names {
    pub fn new(layout: Layout) -> Self {
        Self { layout }
    }

    fn taming(&self) -> bool {
        self.layout == Layout::Taming
    }

    pub fn half(&self, half: Half, part: &str) -> String {
        let half = match half {
            Half::Encoder => "encoder",
            Half::Decoder => "decoder",
        };
        format!("{half}.{part}")
    }

    /// The level that is passed as number `level` of `levels`. taming-transformers counts the decoder's from fine to coarse,
    /// against the order in which they are passed.
    fn level(&self, half: Half, level: usize, levels: usize) -> String {
        let part = match (self.taming(), half) {
            (true, Half::Encoder) => format!("down.{level}"),
            (true, Half::Decoder) => format!("up.{}", levels - 1 - level),
            (false, Half::Encoder) => format!("down_blocks.{level}"),
            (false, Half::Decoder) => format!("up_blocks.{level}"),
        };
        self.half(half, &part)
    }

    /// A residual block of a level.
    pub fn block(&self, half: Half, (level, levels): (usize, usize), index: usize) -> String {
        let blocks = if self.taming() { "block" } else { "resnets" };
        format!("{}.{blocks}.{index}", self.level(half, level, levels))
    }

    /// The attention behind a residual block of a level.
    pub fn attention(&self, half: Half, (level, levels): (usize, usize), index: usize) -> String {
        let attention = if self.taming() { "attn" } else { "attentions" };
        format!("{}.{attention}.{index}", self.level(half, level, levels))
    }

    /// The convolution that halves or doubles the sides.
    pub fn resize(&self, half: Half, (level, levels): (usize, usize)) -> String {
        let resize = match (self.taming(), half) {
            (true, Half::Encoder) => "downsample.conv",
            (true, Half::Decoder) => "upsample.conv",
            (false, Half::Encoder) => "downsamplers.0.conv",
            (false, Half::Decoder) => "upsamplers.0.conv",
        };
        format!("{}.{resize}", self.level(half, level, levels))
    }

    /// A residual block in the middle, 0 or 1.
    pub fn middle_block(&self, half: Half, index: usize) -> String {
        let part = if self.taming() {
            format!("mid.block_{}", index + 1)
        } else {
            format!("mid_block.resnets.{index}")
        };
        self.half(half, &part)
    }

    pub fn middle_attention(&self, half: Half) -> String {
        let taming = self.taming();
        let part = if taming {
            "mid.attn_1"
        } else {
            "mid_block.attentions.0"
        };
        self.half(half, part)
    }

    pub fn last_norm(&self, half: Half) -> String {
        let taming = self.taming();
        self.half(half, if taming { "norm_out" } else { "conv_norm_out" })
    }

    /// The 1x1 convolution in the shortcut of a block that changes the number of channels.
    pub fn shortcut(&self) -> &'static str {
        if self.taming() {
            "nin_shortcut"
        } else {
            "conv_shortcut"
        }
    }

    /// The norm and the four projections (query, key, value, output) of an attention. diffusers has renamed its own once.
    pub fn attention_parts(&self, attention: &str, weights: Branch<'_>) -> [&'static str; 5] {
        if self.taming() {
            ["norm", "q", "k", "v", "proj_out"]
        } else if weights.has(&format!("{attention}.query.weight")) {
            ["group_norm", "query", "key", "value", "proj_attn"]
        } else {
            ["group_norm", "to_q", "to_k", "to_v", "to_out.0"]
        }
    }
}

/// The codebook; that of a VQGAN trained with the Gumbel softmax has a name of its own.
pub(super) fn codebook(has: impl Fn(&str) -> bool) -> &'static str {
    const GUMBEL: &str = "quantize.embed.weight";
    if has(GUMBEL) {
        GUMBEL
    } else {
        "quantize.embedding.weight"
    }
}
