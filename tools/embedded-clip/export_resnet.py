#!/usr/bin/env python3
"""Write a ResNet tower, with a text tower of the same joint space, in the OpenCLIP layout; checks against open_clip.

    export_resnet.py --image TOWER --text TEXT --notice NOTICE --out DIR

TOWER and TEXT are a checkpoint of train.py or the folder of an export.
"""

import json
import shutil

import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from checkpoint import Texts, floats
from export import CHECKED, arguments, join, sizes
from model import MEAN, STD


def open_clip_names(state, layers):
    """The state dict of model.CLIP under OpenCLIP's names: fused attention inputs, a transposed text projection."""
    out = {"logit_scale": state["logit_scale"], "text_projection": state["text_projection.weight"].T}
    out |= {"visual." + k[len("vision_model.") :]: v for k, v in state.items() if k.startswith("vision_model.")}
    out["token_embedding.weight"] = state["text_model.embeddings.token_embedding.weight"]
    out["positional_embedding"] = state["text_model.embeddings.position_embedding.weight"]
    for i in range(layers):
        a, b = f"text_model.encoder.layers.{i}.", f"transformer.resblocks.{i}."
        for w in ("weight", "bias"):
            out[f"{b}attn.in_proj_{w}"] = torch.cat([state[f"{a}self_attn.{q}_proj.{w}"] for q in "qkv"])
            out[f"{b}attn.out_proj.{w}"] = state[f"{a}self_attn.out_proj.{w}"]
            out[f"{b}ln_1.{w}"] = state[f"{a}layer_norm1.{w}"]
            out[f"{b}ln_2.{w}"] = state[f"{a}layer_norm2.{w}"]
            out[f"{b}mlp.c_fc.{w}"] = state[f"{a}mlp.fc1.{w}"]
            out[f"{b}mlp.c_proj.{w}"] = state[f"{a}mlp.fc2.{w}"]
    for w in ("weight", "bias"):
        out["ln_final." + w] = state["text_model.final_layer_norm." + w]
    return out


def main():
    a = arguments(__doc__)
    m, cfg = join(a.image, a.text)
    texts = Texts(a.text)
    t, v = cfg["text_config"], cfg["vision_config"]
    names = open_clip_names(m.state_dict(), t["num_hidden_layers"])
    half = {k: (v.half() if v.is_floating_point() else v).contiguous().clone() for k, v in names.items()}
    save_file(half, f"{a.out}/open_clip_model.safetensors", metadata={"format": "pt"})
    model = dict(
        embed_dim=cfg["projection_dim"],
        quick_gelu=True,
        vision_cfg=dict(image_size=v["image_size"], layers=v["rn_layers"], width=v["rn_width"], patch_size=None),
        text_cfg=dict(
            context_length=t["max_position_embeddings"],
            vocab_size=t["vocab_size"],
            width=t["hidden_size"],
            heads=t["num_attention_heads"],
            layers=t["num_hidden_layers"],
        ),
    )
    config = dict(model_cfg=model, preprocess_cfg=dict(mean=list(MEAN), std=list(STD)))
    json.dump(config, open(f"{a.out}/open_clip_config.json", "w"), indent=1)
    open(f"{a.out}/tokenizer.json", "w").write(texts.tokenizer)
    shutil.copy(a.notice, f"{a.out}/NOTICE")

    q = open_clip.model.CLIP(**model).eval()
    print(q.load_state_dict(floats(half), strict=False))
    length = t["max_position_embeddings"]
    ids = F.pad(texts.ids(CHECKED), (0, length), value=texts.eos)[:, :length]
    torch.manual_seed(0)
    x = torch.rand(4, 3, v["image_size"], v["image_size"])
    with torch.no_grad():
        image = (F.normalize(q.encode_image((x - m.mean) / m.std), dim=-1) * m.image(x)).sum(-1)
        text = (F.normalize(q.encode_text(ids), dim=-1) * m.text(ids)).sum(-1)
    print("agrees with open_clip: image", float(image.min()), "text", float(text.min()))
    sizes(a.out)


if __name__ == "__main__":
    main()
