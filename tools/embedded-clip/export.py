#!/usr/bin/env python3
"""Write a transformer tower and its text tower in the Hugging Face CLIP layout (float16); checks against transformers.

    export.py --image TOWER --text TEXT --notice NOTICE --out DIR [--scores eval.json] [--note "how it was trained"]

TOWER and TEXT are a checkpoint of train.py or the folder of an export.
"""

import argparse
import json
import os
import shutil

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import CLIPModel, PreTrainedTokenizerFast

from checkpoint import Texts, image_part, load, text_part
from model import CLIP, MEAN, STD

CHECKED = ["a red apple", "a cat on a blue background", "sunset over the sea", "Spaceships!"]

README = """# Tiny CLIP

A CLIP of {total:.1f} M parameters in the layout of Hugging Face's CLIPModel, made to be steered by: its gradients with
respect to pixels matter more than its accuracy. It saw no photographs: only icons and emoji over procedural scenes.

- Image tower: {image_size} px, patch {patch_size}, width {hidden_size}, {num_hidden_layers} layers,
  {num_attention_heads} heads ({image:.2f} M). Text tower: {vocab} BPE tokens, width {width}, {layers} layers,
  context {context} ({text:.2f} M). Joint space: {joint}. quick_gelu, CLIP's mean and std.
- Training: icon sets named in NOTICE, rendered over synthetic scenes; their captions embedded by a frozen MiniLM;
  the image tower trained against a linear projection of those embeddings, then with one-step adversarial examples;
  the text tower distilled from the projected embeddings. {note}
- Held out: one whole icon set, and every composition, colour and style of 150 concepts.

## Scores (zero-shot, student text tower)

{scores}
"""


def join(image, text):
    """One model out of the image half of one checkpoint and the text half of another."""
    z, t = load(image), load(text)
    cfg = dict(z["cfg"])
    cfg["text_config"] = t["cfg"]["text_config"]
    m = CLIP(cfg).eval()
    m.load_state_dict(image_part(z["model"]) | text_part(t["model"]))
    return m, cfg


def millions(state, prefix=""):
    return sum(v.numel() for k, v in state.items() if k.startswith(prefix)) / 1e6


def arguments(doc):
    ap = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("image", "text", "notice", "out"):
        ap.add_argument("--" + name, required=True)
    ap.add_argument("--scores", default="")
    ap.add_argument("--note", default="")
    a = ap.parse_args()
    os.makedirs(a.out, exist_ok=True)
    return a


def sizes(folder):
    for f in sorted(os.listdir(folder)):
        print(f"{os.path.getsize(os.path.join(folder, f)) / 1e6:8.3f} MB  {f}")


def preprocessor(size):
    """What a picture goes through before the tower sees it, as transformers writes it."""
    return dict(
        crop_size=dict(height=size, width=size),
        size=dict(shortest_edge=size),
        do_center_crop=True,
        do_convert_rgb=True,
        do_normalize=True,
        do_rescale=True,
        do_resize=True,
        image_mean=list(MEAN),
        image_std=list(STD),
        image_processor_type="CLIPImageProcessor",
        resample=3,
        rescale_factor=1 / 255,
    )


def write_json(content, path):
    with open(path, "w") as f:
        json.dump(content, f, indent=1)


def main():
    a = arguments(__doc__)
    m, cfg = join(a.image, a.text)
    texts = Texts(a.text)
    state = m.state_dict()
    half = {k: v.half().contiguous() for k, v in state.items()}
    save_file(half, f"{a.out}/model.safetensors", metadata={"format": "pt"})
    v, x = cfg["vision_config"], cfg["text_config"]
    size = v["image_size"]
    tokenizer_config = dict(
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        model_max_length=x["max_position_embeddings"],
    )
    for name, content in (
        ("config", cfg),
        ("preprocessor_config", preprocessor(size)),
        ("tokenizer_config", tokenizer_config),
    ):
        write_json(content, f"{a.out}/{name}.json")
    open(f"{a.out}/tokenizer.json", "w").write(texts.tokenizer)
    shutil.copy(a.notice, f"{a.out}/NOTICE")
    scores = json.load(open(a.scores)) if a.scores else {}
    readme = README.format(
        **v,
        total=millions(state),
        image=millions(state, "vision"),
        text=millions(state, "text_model"),
        vocab=x["vocab_size"],
        width=x["hidden_size"],
        layers=x["num_hidden_layers"],
        context=x["max_position_embeddings"],
        joint=cfg["projection_dim"],
        note=a.note,
        scores="\n".join(f"- {k.strip()}: {v * 100:.1f} %" for k, v in scores.items()),
    )
    open(f"{a.out}/README.md", "w").write(readme)

    # what the float16 file computes, beside transformers
    m.load_state_dict({k: v.float() for k, v in half.items()})
    h, info = CLIPModel.from_pretrained(a.out, output_loading_info=True, dtype=torch.float32)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    tok = PreTrainedTokenizerFast.from_pretrained(a.out)
    torch.manual_seed(0)
    images = torch.rand(4, 3, size, size)
    b = tok(CHECKED, padding=True, return_tensors="pt")
    with torch.no_grad():
        o = h(
            input_ids=b["input_ids"],
            attention_mask=b["attention_mask"],
            pixel_values=(images - m.mean) / m.std,
        )
        ours_t, ours_i = m.text(b["input_ids"]), m.image(images)
    for name, theirs, ours in (("text", o.text_embeds, ours_t), ("image", o.image_embeds, ours_i)):
        print("agrees with transformers:", name, float((F.normalize(theirs, dim=-1) * ours).sum(-1).min()))
    ids = [[int(i) for i in row] for row in b["input_ids"]]
    embeds = [[round(float(q), 5) for q in row] for row in ours_t]
    json.dump(dict(texts=CHECKED, input_ids=ids, text_embeds=embeds), open(f"{a.out}/reference.json", "w"))
    sizes(a.out)


if __name__ == "__main__":
    main()
