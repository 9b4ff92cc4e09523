"""What open_clip's registry of pretrained CLIPs says, as entries of the table of known models.

Two pairs of an architecture and a tag are one entry where they are the same model: the twins `ARCHITECTURE-quickgelu/TAG`, and pairs that lead
to the same files of the same shape. The nonlinearity of an entry is the one that its weights were trained with: QuickGELU where the tag or the
configuration asks for it. (open_clip itself runs `ViT-B-32/openai` with GELU, and warns.)
"""

import contextlib
import copy
from collections import OrderedDict
from unittest import mock

import open_clip
import timm
import torch
import transformers
from open_clip.factory import _MODEL_CONFIGS
from open_clip.pretrained import _PRETRAINED

TWIN = "-quickgelu"
OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))

# families in the order in which they are listed: how an architecture is recognised, and what it is called in sentences
FAMILIES = OrderedDict(
    vit="ViT",
    resnet="ResNet",
    siglip="SigLIP",
    siglip2="SigLIP 2",
    metaclip2="MetaCLIP 2",
    clipa="CLIPA",
    pe="Perception Encoder",
    eva="EVA-CLIP",
    mobileclip="MobileCLIP",
    mobileclip2="MobileCLIP 2",
    convnext="ConvNeXt",
    vitamin="ViTamin",
    coca="CoCa",
    roberta="CLIP with a RoBERTa text tower",
    nllb="NLLB-CLIP",
)

# what a model was trained on, by the beginning of its tag, the longest first
DATA = {
    "openai": "OpenAI's 400 million pairs",
    "yfcc15m": "15 million photos of YFCC",
    "cc12m": "Conceptual Captions 12M",
    "laion400m": "LAION-400M",
    "laion2b": "LAION-2B",
    "laion5b": "LAION-5B",
    "frozen_laion5b": "LAION-5B, its image tower frozen",
    "laion_aesthetic": "LAION-Aesthetic",
    "mscoco_finetuned_laion2b": "LAION-2B, fine-tuned for captions of MS COCO",
    "datacomp_s_": "DataComp, small",
    "datacomp_m_": "DataComp, medium",
    "datacomp_l_": "DataComp, large",
    "datacomp_": "DataComp",
    "datacomp1b": "DataComp-1B",
    "datacompdr": "DataComp-1B, reinforced",
    "datacompdr_lt": "DataComp-1B, reinforced, trained longer",
    "dfndr2b": "DFN-2B, reinforced",
    "commonpool_s": "CommonPool, small",
    "commonpool_m": "CommonPool, medium",
    "commonpool_l": "CommonPool, large",
    "commonpool_xl": "CommonPool",
    "metaclip_400m": "MetaCLIP's 400 million pairs",
    "metaclip_fullcc": "MetaCLIP's 2.5 billion pairs",
    "metaclip_altogether": "MetaCLIP's rewritten captions",
    "metaclip2_worldwide": "MetaCLIP 2's worldwide pairs",
    "dfn2b": "2 billion pairs chosen by a filtering network",
    "dfn5b": "5 billion pairs chosen by a filtering network",
    "webli": "WebLI",
    "merged2b": "LAION-2B and COYO",
    "meta": "Meta's pairs",
    "v1": "captions in 201 languages",
    "mrl": "captions in 201 languages, by matryoshka learning",
}
FILTERS = ("clip", "laion", "image", "text", "basic")
# the tags of a repository's tokenizer that open_clip names without an owner
OWNERS = {
    "roberta-base": "FacebookAI/roberta-base",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
    "xlm-roberta-large": "FacebookAI/xlm-roberta-large",
    "bert-base-uncased": "google-bert/bert-base-uncased",
}
# configuration keys that say nothing of what a trained model computes
TRAINING = ("timm_model_pretrained", "timm_drop", "timm_drop_path", "output_tokens", "patch_dropout")
# and defaults of open_clip, which need not be written
DEFAULTS = {
    "": {"custom_text": False, "quick_gelu": False},
    "vision_cfg": {"layers": 12, "width": 768, "head_width": 64, "patch_size": 16, "image_size": 224, "mlp_ratio": 4.0, "timm_pool": "avg", "timm_proj": "linear"},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12, "no_causal_mask": False},
}


def base(architecture):
    return architecture.removesuffix(TWIN)


def configuration(architecture):
    """open_clip's configuration without keys that only training reads, and without defaults."""
    full = copy.deepcopy(_MODEL_CONFIGS[base(architecture)])
    timm = "timm_model_name" in full["vision_cfg"]
    kept = {}
    for key, value in full.items():
        if isinstance(value, dict):
            defaults = DEFAULTS.get(key, {})
            value = {
                k: v
                for k, v in value.items()
                # a null patch size is that of a ResNet; a null projection of timm's towers is a choice
                if k not in TRAINING and not (k in defaults and v == defaults[k] and not (timm and k == "image_size")) and not (k == "patch_size" and v is None)
            }
        elif key in DEFAULTS[""] and value == DEFAULTS[""][key]:
            continue
        kept[key] = value
    return kept


def family(architecture):
    name, config = architecture.lower(), _MODEL_CONFIGS[base(architecture)]
    for part, found in (
        ("nllb", "nllb"), ("roberta", "roberta"), ("coca", "coca"), ("siglip2", "siglip2"), ("siglip", "siglip"), ("clipa", "clipa"),
        ("worldwide", "metaclip2"), ("mobileclip2", "mobileclip2"), ("mobileclip", "mobileclip"), ("vitamin", "vitamin"),
        ("convnext", "convnext"), ("eva0", "eva"), ("pe-core", "pe"),
    ):
        if part in name:
            return found
    return "resnet" if isinstance(config["vision_cfg"].get("layers"), list) else "vit"


def trained_on(tag):
    longest = max((start for start in DATA if tag.startswith(start)), key=len)
    parts = tag.split("_")
    text = DATA[longest]
    if parts[0] == "commonpool" and parts[2] in FILTERS:
        text += f", filtered by `{parts[2]}`"
    if "augreg" in parts:
        text += ", augmented"
    for word in ("soup", "rewind"):
        if word in parts:
            text += f", {word}"
    if "laion400m_e" in tag or tag == "laion2b_e16":
        text += f", epoch {parts[-1].removeprefix('e')}"
    return text


def preprocessing(cfg):
    """The keys that are not open_clip's defaults."""
    found = {}
    if (tuple(cfg["mean"]), tuple(cfg["std"])) != OPENAI:
        found.update(mean=list(cfg["mean"]), std=list(cfg["std"]))
    if cfg["interpolation"] != "bicubic":
        found["interpolation"] = cfg["interpolation"]
    if cfg["resize_mode"] != "shortest":
        found["resize_mode"] = cfg["resize_mode"]
    return found


def text_config(name):
    """The sizes of the text towers that come from transformers, which open_clip asks the hub for."""
    roberta = dict(type_vocab_size=1, max_position_embeddings=514, layer_norm_eps=1e-5, pad_token_id=1, bos_token_id=0, eos_token_id=2)
    large = dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
    nllb = dict(vocab_size=256206, d_model=1024, encoder_attention_heads=16, decoder_attention_heads=16, max_position_embeddings=1024, scale_embedding=True, decoder_layers=1)
    return {
        "roberta-base": lambda: transformers.RobertaConfig(vocab_size=50265, **roberta),
        "xlm-roberta-base": lambda: transformers.XLMRobertaConfig(vocab_size=250002, **roberta),
        "xlm-roberta-large": lambda: transformers.XLMRobertaConfig(vocab_size=250002, **roberta, **large),
        "facebook/nllb-200-distilled-600M": lambda: transformers.M2M100Config(encoder_layers=12, encoder_ffn_dim=4096, **nllb),
        "facebook/nllb-200-distilled-1.3B": lambda: transformers.M2M100Config(encoder_layers=24, encoder_ffn_dim=8192, **nllb),
    }[name]()


@contextlib.contextmanager
def offline(change=lambda config: config):
    """Text towers from transformers are built from the sizes above, and not from the hub."""
    read = lambda name, *_, **__: change(text_config(name))
    with mock.patch("open_clip.hf_model.AutoConfig.from_pretrained", read):
        yield


def parameters(architecture):
    """Of the image tower and of the rest, in thousands."""
    with offline(), torch.device("meta"):
        model = open_clip.create_model(base(architecture), pretrained_hf=False, device="meta")
    whole = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("text_decoder."))
    image = sum(p.numel() for p in model.visual.parameters())
    return [round(image / 1000), round((whole - image) / 1000)]


def entries():
    """The registry: one dictionary for each model, in the registry's order."""
    found = OrderedDict()
    for architecture, tags in _PRETRAINED.items():
        for tag, cfg in tags.items():
            name = f"{architecture}/{tag}"
            repository, file = cfg["hf_hub"].rsplit("/", 1)
            config = configuration(architecture)
            quick = bool(cfg.get("quick_gelu") or _MODEL_CONFIGS[architecture].get("quick_gelu"))
            key = (repository, file, str(config), quick)
            if key in found:
                found[key]["aliases"].append(name)
                continue
            tokenizer = config["text_cfg"].get("hf_tokenizer_name")
            size = config["vision_cfg"].get("image_size", 224)
            found[key] = dict(
                name=name,
                aliases=[],
                repository=repository,
                file=file,
                family=family(architecture),
                architecture=base(architecture),
                # where the configuration itself asks for it, nothing overrides the configuration
                quick_gelu=bool(cfg.get("quick_gelu")),
                preprocess=preprocessing(cfg),
                tokenizer=OWNERS.get(tokenizer, tokenizer),
                about=f"{FAMILIES[family(architecture)]}, {size} px, trained on {trained_on(tag)}",
            )
    return list(found.values())


@contextlib.contextmanager
def timm_given(arguments):
    """Towers from timm are built with these arguments instead of those of their names, and a stem of convolutions as wide as its tower."""
    create = timm.create_model
    stem = timm.models.vision_transformer_hybrid.ConvStem
    width = arguments.get("embed_dim")

    def small_stem(channels, **given):
        return stem(channels=(width // 4, width // 4, width), **given)

    with (
        mock.patch("open_clip.timm_model.timm.create_model", lambda name, **given: create(name, **given, **arguments)),
        mock.patch("timm.models.vision_transformer_hybrid.ConvStem", small_stem),
    ):
        yield
