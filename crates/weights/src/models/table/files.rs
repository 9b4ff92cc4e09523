//! The layouts of models in repositories. A repository may hold the same model in several layouts; the first complete one is used.

use crate::models::Files;

const NONE: Files = Files {
    required: &[],
    weights: &[],
    optional: &[],
};

/// A CLIP in transformers' layout.
const TRANSFORMERS: Files = Files {
    required: &["config.json"],
    weights: &[
        "model.safetensors",
        "model.fp16.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ],
    optional: &[
        "preprocessor_config.json",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "vocab.json",
        "merges.txt",
    ],
};

/// A CLIP in open_clip's layout.
const OPEN: Files = Files {
    required: &["open_clip_config.json"],
    weights: &[
        "open_clip_model.safetensors",
        "open_clip_pytorch_model.safetensors",
        "open_clip_pytorch_model.bin",
    ],
    optional: &[
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "vocab.json",
        "merges.txt",
    ],
};

/// A diffusers model at the root of its repository: an unconditional diffusion model or an autoencoder.
const ROOT: Files = Files {
    required: &["config.json"],
    weights: &[
        "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.fp16.safetensors",
        "diffusion_pytorch_model.bin",
    ],
    optional: &["scheduler_config.json", "model_index.json"],
};

/// An unconditional diffusion model as a pipeline, with a folder for each component.
const PIPELINE: Files = Files {
    required: &["unet/config.json", "scheduler/scheduler_config.json"],
    weights: &[
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.bin",
    ],
    optional: &["model_index.json"],
};

/// Stable Diffusion in half precision.
const STABLE_HALF: Files = Files {
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

/// Stable Diffusion in full precision.
const STABLE_FULL: Files = Files {
    required: &[
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "unet/config.json",
        "vae/config.json",
        "text_encoder/model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ],
    weights: &["unet/diffusion_pytorch_model.safetensors"],
    ..STABLE_HALF
};

/// The VQGAN of an aMUSEd pipeline.
const VQVAE: Files = Files {
    required: &["vqvae/config.json"],
    weights: &[
        "vqvae/diffusion_pytorch_model.safetensors",
        "vqvae/diffusion_pytorch_model.bin",
    ],
    optional: &[],
};

/// A VQGAN at the root of its repository, in the layout of taming-transformers.
const VQGAN: Files = Files {
    required: &["config.json"],
    weights: &["model.safetensors", "pytorch_model.bin"],
    optional: &[],
};

const TINY: Files = Files {
    required: &["taesd_encoder.safetensors"],
    weights: &["taesd_decoder.safetensors"],
    optional: &[],
};

const CHECKPOINT: Files = Files {
    weights: &["model.ckpt", "vqgan.ckpt"],
    optional: &["config.json"],
    ..NONE
};

pub const HUGGING_FACE: &[Files] = &[TRANSFORMERS];
/// Without transformers' layout: in many timm repositories those files are only timm's image tower.
pub const OPEN_CLIP: &[Files] = &[OPEN];
pub const HUGGING_FACE_VQGAN: &[Files] = &[VQGAN, ROOT];
pub const AMUSED: &[Files] = &[VQVAE];
pub const TAESD: &[Files] = &[TINY, ROOT];
/// At the root or as a pipeline.
pub const DIFFUSION: &[Files] = &[ROOT, PIPELINE];
pub const STABLE_DIFFUSION: &[Files] = &[STABLE_HALF, STABLE_FULL];

/// All supported layouts, for repositories that are not in the table. open_clip's comes before transformers': where both exist, either they
/// hold the same model or the second is only timm's image tower.
pub const ANY: &[Files] = &[
    OPEN,
    STABLE_HALF,
    STABLE_FULL,
    PIPELINE,
    VQVAE,
    ROOT,
    TRANSFORMERS,
    TINY,
    CHECKPOINT,
];

/// The names of all supported weights files.
pub const ANY_WEIGHTS: &[&str] = &[
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "model.safetensors",
    "model.fp16.safetensors",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "vqvae/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "taesd_decoder.safetensors",
    "taesdxl_decoder.safetensors",
    "taesd3_decoder.safetensors",
    "taef1_decoder.safetensors",
    "taef2_decoder.safetensors",
    "taesana_decoder.safetensors",
    "taesd_decoder.pth",
    "taesdxl_decoder.pth",
    "taesd3_decoder.pth",
    "taef1_decoder.pth",
    "taef2_decoder.pth",
    "taesana_decoder.pth",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
    "pytorch_model.fp16.bin",
    "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.bin",
    "vqvae/diffusion_pytorch_model.bin",
    "model.ckpt",
    "vqgan.ckpt",
    "aesthetic-model.pth",
];

/// A tokenizer alone.
pub const TOKENIZER: &[Files] = &[Files {
    weights: &["tokenizer.json"],
    optional: &["vocab.json", "merges.txt"],
    ..NONE
}];

pub const HPS_2_1: &[Files] = &[single(&["HPS_v2.1_compressed.pt"])];
pub const HPS_2: &[Files] = &[single(&["HPS_v2_compressed.pt"])];
pub const AESTHETIC: &[Files] = &[single(&["aesthetic-model.pth"])];

/// A model that is one file.
const fn single(weights: &'static [&'static str]) -> Files {
    Files { weights, ..NONE }
}
