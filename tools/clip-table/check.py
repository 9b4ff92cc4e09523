#!/usr/bin/env python3
"""Which CLIPs of open_clip's registry this program computes as open_clip does.

    tools/clip-table/check.py [--program target/debug/phantasia] [--family F] [--only TEXT] [--write]

For each architecture of the table of known models, with the nonlinearity and the preprocessing of its entries: shrinks open_clip's configuration,
lets open_clip make that model with random weights, saves it as it would lie on the hub, and compares the cosines of pictures and texts that
open_clip and `phantasia score` compute with it. The largest difference must be below 1e-5 for pictures of the model's own size, and below 2e-3
for others, which are resized and cropped first. --write sets `supported` of all entries that were compared.

Kept of a configuration is what decides how it is computed: which layers, how they are normalised and pooled, patches, ratios, heads of towers whose
number of heads no tensor shows, the context, the tokenizer's kind. Smaller are numbers of blocks, widths, images, vocabularies.
"""

import argparse
import copy
import json
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import open_clip
import timm
import torch
from open_clip.factory import _MODEL_CONFIGS
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file
from timm.models.vitamin import VitCfg, VitConvCfg

import registry
import tokenizers_of
import update

ROOT = Path(__file__).resolve().parents[2]
OWN_SIZE, RESIZED = 1e-5, 2e-3
TEXTS = ["a photo of a red apple", "Two cats, it's 1 cat's house!", "sunset over the sea"]
NAME = "shrunk"


def shrunk_text(text):
    small = dict(text, layers=2)
    if "hf_model_name" in text:
        return text
    small.update(width=32, heads=2)
    return small


def shrunk(config):
    """The configuration of a small model, and what its tower from timm is given."""
    small = copy.deepcopy(config)
    vision = small["vision_cfg"]
    small["text_cfg"] = shrunk_text(small["text_cfg"])
    if "multimodal_cfg" in small:
        small["multimodal_cfg"] = dict(shrunk_text(small["multimodal_cfg"]), attn_pooler_heads=2)
    tower = {}
    small["embed_dim"] = 32
    if isinstance(vision.get("layers"), list):
        vision.update(layers=[min(count, 2) for count in vision["layers"]], width=16, image_size=64)
    elif "timm_model_name" in vision:
        tower, vision["image_size"], width = shrunk_timm(vision["timm_model_name"], vision["image_size"])
        if vision.get("timm_proj") == "none":
            small["embed_dim"] = width
        if small["text_cfg"].get("proj_type") == "none":
            small["text_cfg"].update(width=width, heads=2)
    else:
        vision.update(layers=2, width=2 * vision.get("head_width", 64), image_size=3 * vision.get("patch_size", 16))
    return small, tower


def shrunk_timm(name, image):
    """Arguments of a small tower of that name, its image's side and its width. `image` is the full tower's side."""
    patch = int(name.split("patch")[1].split("_")[0]) if "patch" in name else 16
    with torch.device("meta"):
        full = timm.create_model(name, pretrained=False)
    if hasattr(full, "stages") and hasattr(full, "stem"):
        dims = (16, 32, 64, 128, 256)[: len(full.stages)]
        if name.startswith("convnext"):
            return dict(depths=(1, 1, 2, 1), dims=dims), 64, dims[-1]
        side = int(full.default_cfg["input_size"][-1])
        return dict(layers=(1,) * len(dims), embed_dims=dims), side, dims[-1]
    heads = full.blocks[0].attn.num_heads
    width = 8 * heads
    # patches that do not divide the image leave as much of it out
    side = 3 * patch + image % patch
    sizes = dict(embed_dim=width, depth=2, img_size=side)
    if name.startswith("vitamin"):
        stages = VitCfg(embed_dim=(16, 24, width), depths=(1, 2, 1), stem_width=16, conv_cfg=VitConvCfg(norm_layer="layernorm2d", norm_eps=1e-6), head_type="1d")
        sizes.update(embed_cfg=stages)
    return sizes, side, width


def small_hugging_face(config):
    """A small text tower from transformers. Heads have 64 channels, as all published ones have: no tensor shows their number."""
    if hasattr(config, "d_model"):
        config.update(dict(d_model=128, encoder_attention_heads=2, decoder_attention_heads=2, encoder_layers=2, encoder_ffn_dim=96))
    else:
        config.update(dict(hidden_size=128, num_attention_heads=2, num_hidden_layers=2, intermediate_size=96))
    return config


def randomise(model, seed):
    """Weights that say something: no zero bias, no norm of ones, activations of moderate size."""
    torch.manual_seed(seed)
    with torch.no_grad():
        # what is not stored, such as rotations and sinusoids, stays as it was computed
        for name, value in model.state_dict().items():
            if not value.is_floating_point():
                continue
            if name in ("logit_scale", "logit_bias"):
                continue
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif value.ndim <= 1 or min(value.shape) == 1 and value.ndim == 3:
                value.add_(0.2 * torch.randn_like(value))
            elif "attn_mask" not in name:
                value.normal_(0, 1.5 / value[0].numel() ** 0.5 if value.ndim > 1 else 0.2)


def pictures(folder, side):
    """Three pictures, the first two of the model's own size; files, and whether they are of that size."""
    random = np.random.default_rng(7)
    found = []
    for index, (width, height) in enumerate([(side, side), (side, side), (side * 2 + 5, side + 9)]):
        y, x = np.mgrid[0:height, 0:width] / side
        waves = [np.sin((3 + index) * x + channel) + np.cos((5 - index) * y * (channel + 1)) for channel in range(3)]
        noise = random.normal(0, 0.3, (height, width, 3))
        pixels = np.clip((np.stack(waves, -1) / 2 + noise) * 100 + 128, 0, 255).astype(np.uint8)
        path = folder / f"{index}.png"
        Image.fromarray(pixels).save(path)
        found.append(path)
    return found


def reference(model, tokenizer, transform, paths):
    with torch.no_grad():
        images = torch.stack([transform(Image.open(path).convert("RGB")) for path in paths])
        image = model.encode_image(images, normalize=True)
        text = model.encode_text(tokenizer(TEXTS), normalize=True)
    return (image.double() @ text.double().T).numpy()


def cosines(program, folder, paths):
    command = [program, "score", "--json", "--quiet", "--device", "cpu", "--clip", folder]
    for text in TEXTS:
        command += ["--prompt", text]
    done = subprocess.run([*map(str, command), *map(str, paths)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1][:600] if done.stderr.strip() else f"exit code {done.returncode}")
    results = json.loads(done.stdout)["results"]
    return np.array([[result["similarity"][text] for text in TEXTS] for result in results])


def compare(program, architecture, quick, preprocess):
    """The largest difference for pictures of the model's own size, and for others."""
    config, tower = shrunk(registry.configuration(architecture))
    if quick:
        config["quick_gelu"] = True
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        folder = place / "model"
        folder.mkdir()
        size = tokenizers_of.write(folder, config["text_cfg"])
        if "hf_model_name" not in config["text_cfg"]:
            config["text_cfg"]["vocab_size"] = size
            if "multimodal_cfg" in config:
                config["multimodal_cfg"]["vocab_size"] = size
        own = copy.deepcopy(config)
        if "multimodal_cfg" in own:
            # open_clip's CoCa cannot do without the tokens that the captions are made from
            own["vision_cfg"]["output_tokens"] = own["text_cfg"]["output_tokens"] = True
        if "hf_tokenizer_name" in own["text_cfg"]:
            own["text_cfg"]["hf_tokenizer_name"] = str(folder)
        _MODEL_CONFIGS[NAME] = own

        def change(text):
            text.vocab_size = size
            return small_hugging_face(text)

        with registry.offline(change), registry.timm_given(tower):
            model = open_clip.create_model(NAME, pretrained_hf=False).eval()
        tokenizer = open_clip.get_tokenizer(NAME) if "hf_tokenizer_name" in own["text_cfg"] else tokenizers_of.clip(config["text_cfg"])
        randomise(model, zlib.crc32(architecture.encode()))
        cfg = PreprocessCfg(**{"size": config["vision_cfg"]["image_size"], **preprocess})
        transform = image_transform_v2(cfg, is_train=False)
        state = {key: value.contiguous().clone() for key, value in model.state_dict().items()}
        save_file(state, folder / "open_clip_model.safetensors")
        stored = {"model_cfg": config, "preprocess_cfg": preprocess}
        (folder / "open_clip_config.json").write_text(json.dumps(stored))
        paths = pictures(place, config["vision_cfg"]["image_size"])
        expected = reference(model, tokenizer, transform, paths)
        found = cosines(program, folder, paths)
    if expected.std() < 1e-3:
        raise RuntimeError("the random model says the same of everything")
    difference = np.abs(expected - found).max(1)
    return float(difference[:2].max()), float(difference[2])


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--program", default=ROOT / "target/debug/phantasia")
    options.add_argument("--family", action="append", help="only this family; may be repeated")
    options.add_argument("--only", default="", help="only architectures whose name contains this")
    options.add_argument("--write", action="store_true", help="write `supported` into the table")
    args = options.parse_args()
    path = update.MODELS / "models.json"
    table = json.loads(path.read_text())
    cases = {}
    for model in table["models"]:
        architecture = model.get("architecture")
        if architecture and args.only in architecture and (not args.family or model["family"] in args.family):
            # configurations that ask for it themselves need no override
            key = (architecture, model.get("quick_gelu", False), json.dumps(model.get("preprocess", {})))
            cases.setdefault(key, []).append(model)
    passed = 0
    for (architecture, quick, preprocess), models in cases.items():
        what = architecture + (" (QuickGELU)" if quick else "")
        try:
            own, resized = compare(args.program, architecture, quick, json.loads(preprocess))
            good = own < OWN_SIZE and resized < RESIZED
            print(f"{'passed' if good else 'FAILED'}  {what}: {own:.1e}, resized {resized:.1e}, {len(models)} entries", flush=True)
        except Exception as error:
            good = False
            print(f"FAILED  {what}: {type(error).__name__}: {error}", flush=True)
        passed += good
        for model in models:
            model["supported"] = good
    print(f"{passed} of {len(cases)} passed")
    if args.write:
        update.write(path, table)
    return 0 if passed == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
