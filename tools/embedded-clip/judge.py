#!/usr/bin/env python3
"""R-precision of painted pictures by a judge that never guided them.

judge.py --judge TOWER --minilm DIR --pictures DIR [--render PHANTASIA [--recipe FILE] [--set PATH=VALUE ...]] [--out FILE]

Every line of --prompts is painted with --recipe into DIR/NNN.png (those that are there already are kept), and the judge,
an image checkpoint of train.py, orders all prompts by cosine similarity to each picture. R-precision is the share of
pictures whose own prompt comes first. The judge's text side is the teacher under its own projection, so that it shares
no weight with the towers that guide.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from checkpoint import image_tower, projection
from model import MiniLM

HERE = os.path.dirname(os.path.abspath(__file__))


def paint(program, recipe, settings, prompts, folder):
    os.makedirs(folder, exist_ok=True)
    for i, prompt in enumerate(prompts):
        target = f"{folder}/{i:03}.png"
        if os.path.exists(target):
            continue
        with tempfile.TemporaryDirectory() as runs:
            call = [program, "render", recipe, "--prompt", prompt, "--out", runs, "--preview", "none", "--quiet", "--json"]
            for s in settings:
                call += ["--set", s]
            done = subprocess.run(call, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                sys.exit(f"{' '.join(call)} ended with {done.returncode}")
            shutil.copy(json.loads(done.stdout)["image"], target + ".part")
        os.rename(target + ".part", target)
        print(f"{i + 1}/{len(prompts)} {prompt}", flush=True)


def look(path, side):
    """[3, side, side] in 0..1: the whole picture as the judge sees it."""
    image = Image.open(path).convert("RGB").resize((side, side), Image.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


if __name__ == "__main__":
    ap = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    ap.add_argument("--judge", required=True)
    ap.add_argument("--minilm", required=True)
    ap.add_argument("--pictures", required=True)
    ap.add_argument("--prompts", default=f"{HERE}/prompts.txt")
    ap.add_argument("--render", metavar="PHANTASIA", help="the program; without it the pictures must be there")
    ap.add_argument("--recipe", default=f"{HERE}/../../recipes/first-light.yaml")
    ap.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    ap.add_argument("--out")
    a = ap.parse_args()

    prompts = [p for p in open(a.prompts).read().split("\n") if p.strip()]
    if a.render:
        paint(a.render, a.recipe, a.set, prompts, a.pictures)
    missing = [i for i in range(len(prompts)) if not os.path.exists(f"{a.pictures}/{i:03}.png")]
    if missing:
        sys.exit(f"{a.pictures} lacks {len(missing)} of {len(prompts)} pictures, the first is {missing[0]:03}.png; paint them with --render")

    tower = image_tower(a.judge)
    side = tower.cfg["vision_config"]["image_size"]
    text = F.normalize(MiniLM(a.minilm).encode(prompts).float() @ projection(a.judge).T, dim=-1)
    with torch.no_grad():
        seen = tower.image(torch.stack([look(f"{a.pictures}/{i:03}.png", side) for i in range(len(prompts))]))
    similarity = seen @ text.T
    own = similarity.diagonal()
    rank = 1 + (similarity > own[:, None]).sum(1)

    def share(best):
        return round(float((rank <= best).float().mean()), 4)

    result = {
        "prompts": len(prompts),
        "R-precision": share(1),
        "own prompt in the first 5": share(5),
        "own prompt in the first 10": share(10),
        "median rank": float(rank.float().median()),
        "mean similarity": round(float(own.mean()), 4),
        "mean similarity of the others": round(float((similarity.sum() - own.sum()) / (len(own) * (len(own) - 1))), 4),
    }
    print(json.dumps(result, indent=1))
    result["ranks"] = {p: int(r) for p, r in zip(prompts, rank)}
    if a.out:
        with open(a.out + ".part", "w") as f:
            json.dump(result, f, indent=1)
        os.rename(a.out + ".part", a.out)
