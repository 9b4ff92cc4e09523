"""Reading what was trained: checkpoints of train.py, and exports in either layout, which training can go on from.

    checkpoint.py pack CHECKPOINT FILE.safetensors     an image tower, and its projection if it has one, in float16
"""

import json
import os
import sys

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from model import CLIP, make_config


def load(path):
    """{cfg, model, and where there is one, tokenizer} of a checkpoint, a packed tower, or an export's folder, in float32."""
    if path.endswith(".safetensors"):
        with safe_open(path, "pt") as f:
            cfg = json.loads(f.metadata()["cfg"])
        return dict(cfg=cfg, model=floats(image_part(load_file(path))))
    if not os.path.isdir(path):
        return torch.load(path, weights_only=False, map_location="cpu")
    tokenizer = open(f"{path}/tokenizer.json").read()
    if os.path.exists(f"{path}/model.safetensors"):
        cfg = json.load(open(f"{path}/config.json"))
        return dict(cfg=cfg, model=floats(load_file(f"{path}/model.safetensors")), tokenizer=tokenizer)
    mc = json.load(open(f"{path}/open_clip_config.json"))["model_cfg"]
    v, t = mc["vision_cfg"], mc["text_cfg"]
    cfg = make_config(
        size=v["image_size"],
        th=t["width"],
        tl=t["layers"],
        vocab=t["vocab_size"],
        ctx=t["context_length"],
        proj=mc["embed_dim"],
    )
    cfg["vision_config"].update(rn_layers=v["layers"], rn_width=v["width"])
    state = load_file(f"{path}/open_clip_model.safetensors")
    # the image tower; the text tower is the transformer export's
    model = {"vision_model." + k[7:]: v for k, v in state.items() if k.startswith("visual.")}
    return dict(cfg=cfg, model=floats(model | {"logit_scale": state["logit_scale"]}), tokenizer=tokenizer)


def pack(path, out):
    z = load(path)
    state = image_part(z["model"])
    if "P" in z:
        state["weight"] = z["P"]["weight"]
    half = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in state.items()}
    save_file(half, out + ".part", metadata={"cfg": json.dumps(z["cfg"])})
    os.replace(out + ".part", out)


def floats(state):
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def image_part(state):
    return {k: v for k, v in state.items() if k.startswith(("vision_model", "visual_projection", "logit_scale"))}


def text_part(state):
    return {k: v for k, v in state.items() if k.startswith(("text_model", "text_projection"))}


def image_tower(path, device="cpu"):
    """A frozen CLIP whose image half is that of `path`."""
    z = load(path)
    m = CLIP(z["cfg"]).to(device).eval().requires_grad_(False)
    m.load_state_dict(image_part(z["model"]), strict=False)
    return m


def projection(path):
    """The text projection P [joint, 384]: of a safetensors file, or of an image checkpoint."""
    if path.endswith(".safetensors"):
        return load_file(path)["weight"].float()
    return torch.load(path, weights_only=False, map_location="cpu")["P"]["weight"]


class Texts:
    """The student text tower with its tokenizer."""

    def __init__(self, path, device="cpu"):
        z = load(path)
        self.cfg, self.tokenizer = z["cfg"]["text_config"], z["tokenizer"]
        self.m = CLIP(z["cfg"]).to(device).eval().requires_grad_(False)
        self.m.load_state_dict(text_part(z["model"]), strict=False)
        self.tok, self.eos, self.dev = Tokenizer.from_str(self.tokenizer), self.cfg["eos_token_id"], device

    def ids(self, texts):
        rows = [e.ids for e in self.tok.encode_batch(texts)]
        length = max(map(len, rows))
        return torch.tensor([r + [self.eos] * (length - len(r)) for r in rows], device=self.dev)

    @torch.no_grad()
    def encode(self, texts):
        return torch.cat([self.m.text(self.ids(texts[i : i + 512])) for i in range(0, len(texts), 512)])


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] != "pack":
        sys.exit(__doc__)
    pack(*sys.argv[2:])
