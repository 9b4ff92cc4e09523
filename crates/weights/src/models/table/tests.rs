//! The table of known models: every entry is complete, and names lead to it.

use super::super::names::is_repository;
use super::*;

#[test]
fn names_and_aliases_mean_one_model_each() {
    let mut names: Vec<String> = (all().iter())
        .flat_map(Model::names)
        .map(str::to_ascii_lowercase)
        .collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn every_model_can_be_fetched() {
    for model in all() {
        let name = &model.name;
        assert!(is_repository(&model.repository), "{name}");
        assert!(model.layouts().count() > 0, "{name}");
        assert!(
            model.layouts().all(|files| !files.weights.is_empty()),
            "{name}"
        );
        assert!(
            model.size().is_some() && !model.licence.is_empty(),
            "{name}"
        );
        assert!(!model.revisions.is_empty(), "{name}");
        assert!(
            model.kind == ModelKind::Clip || !model.shared_tokenizer,
            "{name}"
        );
    }
    assert_eq!(known(STANDARD_CLIP).expect("a model").name, STANDARD_CLIP);
}

#[test]
fn open_clip_and_hugging_face_names_are_known() {
    for (name, wanted) in [
        (
            "ViT-B-32/laion2b_s34b_b79k",
            "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        ),
        (
            "vit-h-14/laion2b_s32b_b79k",
            "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        ),
        ("RN50/openai", "timm/resnet50_clip.openai"),
        (
            "openai/clip-vit-base-patch32",
            "openai/clip-vit-base-patch32",
        ),
        ("ViT-B/32", "openai/clip-vit-base-patch32"),
        (
            "robust/fare4-vit-b-32",
            "chs20/FARE4-ViT-B-32-laion2B-s34B-b79K",
        ),
        ("pickscore", "yuvalkirstain/PickScore_v1"),
        ("RN50-quickgelu/cc12m", "timm/resnet50_clip.cc12m"),
        ("RN50/yfcc15m", "timm/resnet50_clip.yfcc15m"),
        (
            "ViT-B-32-quickgelu/metaclip_fullcc",
            "timm/vit_base_patch32_clip_224.metaclip_2pt5b",
        ),
        ("ViT-L-14/dfn2b", "apple/DFN2B-CLIP-ViT-L-14"),
        ("fashion-clip", "patrickjohncyh/fashion-clip"),
        (
            "valhalla/vqgan_imagenet_f16_16384",
            "valhalla/vqgan_imagenet_f16_16384",
        ),
        ("f16_16384", "valhalla/vqgan_imagenet_f16_16384"),
        ("wikiart", "johnowhitaker/sd-class-wikiart-from-bedrooms"),
    ] {
        let found = known(name).map(|model| model.repository.as_str());
        assert_eq!(found, Some(wanted), "{name}");
    }
}

#[test]
fn every_architecture_of_the_registry_is_described() {
    let registry: Vec<&Model> = (all().iter())
        .filter(|model| model.architecture.is_some())
        .collect();
    let pairs = |model: &&Model| {
        let architecture = model.architecture.as_deref().expect("an architecture");
        let is_pair = |name: &&str| {
            (name.split_once('/'))
                .is_some_and(|(start, _)| start.trim_end_matches("-quickgelu") == architecture)
        };
        model.names().filter(is_pair).count()
    };
    assert_eq!(registry.iter().map(pairs).sum::<usize>(), 196);
    for model in registry {
        let config = model.configuration().expect(&model.name);
        assert!(config["embed_dim"].is_u64(), "{}", model.name);
        let own = config["text_cfg"]["hf_tokenizer_name"].is_string();
        assert_eq!(own, model.tokenizer.is_some(), "{}", model.name);
        let [image, rest] = model.parameters.expect(&model.name);
        assert!(image > 1000 && rest > 1000, "{}", model.name);
    }
}

#[test]
fn names_of_open_clip_mean_what_its_registry_says() {
    let half = json!([0.5, 0.5, 0.5]);
    for (name, repository, family, quick, preprocess) in [
        (
            "ViT-B-16-SigLIP2/webli",
            "timm/ViT-B-16-SigLIP2",
            "siglip2",
            false,
            json!({ "mean": half, "std": half, "resize_mode": "squash" }),
        ),
        (
            "convnext_base_w/laion2b_s13b_b82k",
            "laion/CLIP-convnext_base_w-laion2B-s13B-b82K",
            "convnext",
            false,
            json!({}),
        ),
        (
            "PE-Core-B-16/meta",
            "timm/PE-Core-B-16",
            "pe",
            false,
            json!({ "mean": half, "std": half, "interpolation": "bilinear", "resize_mode": "squash" }),
        ),
        // its tag does not ask for QuickGELU, but its configuration
        (
            "roberta-ViT-B-32/laion2b_s12b_b32k",
            "laion/CLIP-ViT-B-32-roberta-base-laion2B-s12B-b32k",
            "roberta",
            true,
            json!({}),
        ),
        // its tag does, and its configuration does not
        (
            "ViT-B-32/laion400m_e31",
            "timm/vit_base_patch32_clip_224.laion400m_e31",
            "vit",
            true,
            json!({}),
        ),
        (
            "ViT-L-14/laion2b_s32b_b82k",
            "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
            "vit",
            false,
            json!({ "mean": half, "std": half }),
        ),
        (
            "ViT-B-16-plus-240/laion400m_e32",
            "timm/vit_base_patch16_plus_clip_240.laion400m_e31",
            "vit",
            false,
            json!({}),
        ),
    ] {
        let model = known(name).expect(name);
        let found = (model.repository.as_str(), model.family());
        assert_eq!(found, (repository, family), "{name}");
        assert_eq!(model.is_quick_gelu(), quick, "{name}");
        assert_eq!(model.preprocessing(), Some(preprocess), "{name}");
    }
    // both are in one repository, whose configuration is that of the second
    let architecture = |name: &str| known(name).and_then(|found| found.architecture.as_deref());
    for (name, expected) in [
        ("ViT-SO400M-14-SigLIP-378/webli", "ViT-SO400M-14-SigLIP-378"),
        ("ViT-SO400M-14-SigLIP-384/webli", "ViT-SO400M-14-SigLIP-384"),
        ("timm/ViT-SO400M-14-SigLIP-384", "ViT-SO400M-14-SigLIP-384"),
    ] {
        assert_eq!(architecture(name), Some(expected));
    }
}

#[test]
fn sizes_are_of_downloads_where_they_are_known() {
    let size = |name| known(name).and_then(Model::size).expect("a size");
    assert_eq!(size("RN50/openai"), "408 MB");
    assert_eq!(size("ViT-B-32/laion400m_e31"), "151 M parameters");
    assert_eq!(size("ViT-g-14/laion2b_s12b_b42k"), "1.4 G parameters");
}

#[test]
fn properties_of_single_models_are_right() {
    for (name, megabytes, licence) in [
        ("f16_16384", 289, "not stated"),
        ("f16_1024", 359, "not stated"),
        ("laion-aesthetic", 4, "Apache-2.0"),
        ("google/ddpm-bedroom-256", 455, "Apache-2.0"),
    ] {
        let model = known(name).expect("a known model");
        let found = (model.megabytes, model.licence.as_str());
        assert_eq!(found, (Some(megabytes), licence), "{name}");
    }
    for (name, quick) in [
        ("RN50/cc12m", true),
        ("RN50/yfcc15m", true),
        ("ViT-B-32/metaclip_400m", true),
        ("ViT-H-14/metaclip_altogether", false),
        ("ViT-L-14/dfn2b", true),
        ("ViT-L-14/dfn2b_s39b", false),
        ("ViT-B-32/laion400m_e32", true),
        ("ViT-B-32/laion2b_s34b_b79k", false),
    ] {
        assert_eq!(
            known(name).expect("a known model").quick_gelu,
            quick,
            "{name}"
        );
    }
    for model in all() {
        // only one repository has its conversion on a branch
        let branch = model.repository == STANDARD_CLIP;
        let asked = model.revisions.iter().any(|name| name == "refs/pr/15");
        assert_eq!(asked, branch, "{}", model.name);
    }
}
