#!/usr/bin/env python3
"""Zero-shot scores: evaluate.py --data DATA --image TOWER --text TEXT [--out FILE]

TOWER and TEXT are a checkpoint of train.py or the folder of an export.
Held-out style: every concept of the icon set that training never saw, one clean view each on white and on light grey.
Attributes: rendered scenes against the phrases of that attribute.
"""

import argparse
import json
import random

import numpy as np
import torch
import torch.nn.functional as F

from checkpoint import Texts, image_tower
from synth import Synth
from train import attr_phrases

THINGS = ("animals-nature", "food-drink", "travel-places", "activities", "objects")


def top(z, t, lab, k):
    """How often the right text is among the k nearest."""
    return float(((z @ t.T).topk(k, -1).indices == lab[:, None]).any(-1).float().mean())


def scores(s, m, texts):
    dev, R = s.dev, {}

    @torch.no_grad()
    def embed(spec, sprites=None, easy=False):
        parts = []
        for i in range(0, len(spec), 200):
            some = None if sprites is None else sprites[i : i + 200]
            x = s.render(spec[i : i + 200], sprites=some, easy=easy)[0]
            parts.append(m.image(F.adaptive_avg_pool2d(x, m.cfg["vision_config"]["image_size"])))
        return torch.cat(parts)

    # 1. held-out style, bare names, among the held-out set's own names
    hs = np.array([i for i in s.held_sprites if s.by[s.cid[i]]])
    own = sorted(set(s.cid[hs]))
    ix = {k: i for i, k in enumerate(own)}
    t = texts.encode([s.concepts[k]["name"] for k in own])
    lab = torch.tensor([ix[k] for k in s.cid[hs]], device=dev)
    for name, bg in (("white", 9), ("gray", 10)):
        spec = np.full((len(hs), 10), -1)
        spec[:, 0], spec[:, 3], spec[:, 4], spec[:, 5] = s.cid[hs], 0, bg, bg
        z = embed(spec, hs, easy=True)
        for k in (1, 5, 10):
            R[f"held-out style top{k} of {len(own)} ({name})"] = top(z, t, lab, k)
    things = torch.tensor([s.concepts[k]["group"] in THINGS for k in s.cid[hs]], device=dev)
    R[f"of which things, not people or symbols ({int(things.sum())} queries), top1"] = top(z[things], t, lab[things], 1)
    R["same, top5"] = top(z[things], t, lab[things], 5)
    bare = torch.tensor([int(k) in s.held_concepts for k in s.cid[hs]], device=dev)
    R[f"held-out concepts (seen only bare), {int(bare.sum())} queries, top5"] = top(z[bare], t, lab[bare], 5)

    # 2. compositions of held-out concepts in the held-out style: their own caption among all
    spec, captions = s.scenes(1000, 77, held=True)
    z, t, lab = embed(spec), texts.encode(captions), torch.arange(len(captions), device=dev)
    R["held-out compositions: own caption among 1000, top1"] = top(z, t, lab, 1)
    R["same, top10"] = top(z, t, lab, 10)

    # 3. attributes
    emb = {k: F.normalize(torch.stack([texts.encode(p).mean(0) for p in v]), dim=-1) for k, v in attr_phrases().items()}
    groups = ("animals-nature", "food-drink", "objects")
    single = [i for i in range(s.nc) if s.concepts[i]["group"] in groups and s.by[i]]

    def attribute(name, n, column, key, scene=False, alone=False):
        spec = np.full((n, 10), -1)
        spec[:, 0], spec[:, 3] = np.random.choice(single, n), 0
        spec[:, 4] = spec[:, 5] = np.random.choice([9, 10, 8], n)
        lab = np.arange(n) % len(emb[key])
        spec[:, column] = lab
        if scene:
            spec[:, 3] = 5
        if alone:
            spec[:, 0] = -1
        R[f"{name} (of {len(emb[key])})"] = top(embed(spec), emb[key], torch.tensor(lab, device=dev), 1)

    attribute("background colour", 840, 4, "col")
    attribute("scene behind a thing", 960, 6, "nat", scene=True)
    attribute("scene alone", 960, 6, "nat", scene=True, alone=True)
    attribute("style filter", 800, 7, "style")
    attribute("colour of the thing", 840, 8, "tint")
    return R


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "image", "text"):
        ap.add_argument("--" + name, required=True)
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--out", default="")
    a = ap.parse_args()
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    R = scores(Synth(a.data, a.device, bank=24), image_tower(a.image, a.device), Texts(a.text, a.device))
    for k, v in R.items():
        print(f"{v * 100:6.1f} %  {k}")
    if a.out:
        json.dump(R, open(a.out, "w"), indent=1)


if __name__ == "__main__":
    main()
