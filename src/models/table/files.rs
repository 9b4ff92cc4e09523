//! Which files of a repository make a model.

use crate::models::Files;

pub const HUGGING_FACE: Files = Files {
    required: &["config.json"],
    weights: &["model.safetensors", "pytorch_model.bin"],
    optional: &[
        "preprocessor_config.json",
        "tokenizer.json",
        "vocab.json",
        "merges.txt",
    ],
};

pub const OPEN_CLIP: Files = Files {
    required: &["open_clip_config.json"],
    weights: &[
        "open_clip_model.safetensors",
        "open_clip_pytorch_model.safetensors",
        "open_clip_pytorch_model.bin",
    ],
    optional: &["tokenizer.json", "vocab.json", "merges.txt"],
};

/// Whatever this program can use of a repository that it does not know.
pub const ANY: Files = Files {
    required: &[],
    weights: &[
        "model.safetensors",
        "open_clip_model.safetensors",
        "open_clip_pytorch_model.safetensors",
        "diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "pytorch_model.bin",
        "open_clip_pytorch_model.bin",
        "diffusion_pytorch_model.bin",
        "model.ckpt",
    ],
    optional: &[
        "config.json",
        "open_clip_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "vocab.json",
        "merges.txt",
        "model_index.json",
        "unet/config.json",
        "scheduler/scheduler_config.json",
        "scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.fp16.safetensors",
        "tokenizer/tokenizer_config.json",
        "tokenizer/special_tokens_map.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    ],
};

/// A tokenizer alone.
pub const TOKENIZER: Files = Files {
    required: &[],
    weights: &["tokenizer.json"],
    optional: &["vocab.json", "merges.txt"],
};

pub const HUGGING_FACE_VQGAN: Files = Files {
    required: &["config.json"],
    weights: &["pytorch_model.bin"],
    optional: &[],
};

pub const DDPM: Files = Files {
    required: &["config.json", "scheduler_config.json"],
    weights: &[
        "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.bin",
    ],
    optional: &["model_index.json"],
};

/// A pipeline of four networks, in half precision.
pub const STABLE_DIFFUSION: Files = Files {
    required: &[
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "unet/config.json",
        "vae/config.json",
        "text_encoder/model.fp16.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    ],
    weights: &["unet/diffusion_pytorch_model.fp16.safetensors"],
    optional: &[
        "tokenizer/tokenizer_config.json",
        "tokenizer/special_tokens_map.json",
    ],
};

/// A model that is one file.
pub const fn single(weights: &'static [&'static str]) -> Files {
    Files {
        required: &[],
        weights,
        optional: &[],
    }
}
