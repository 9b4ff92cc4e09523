#!/usr/bin/env python3
"""Pictures of places to train on, rendered once: landscapes, procedural scenes, some with a thing that stands in them.

    pictures.py --candidates candidates.npz --out places.npy [--count 20000] [--side 64] [--seed 1] [--sheet sheet.png]

candidates.npz is what ../embedded-drawings/render.py wrote. The file is an array [count, 3, side, side] of uint8.
"""

import argparse
import random
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

TOOLS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TOOLS / "embedded-drawings"), str(TOOLS / "embedded-clip")]
import landscapes as land  # noqa: E402
from bank import load, read_things  # noqa: E402
from build import clean, shown  # noqa: E402
from synth import natural  # noqa: E402

# how often a place is drawn, beside the others
DRAWN = dict(hills=2, river=2, lake=2, road=1, waterfall=2, snow=2, forest=2, sea=1, sunset=3, sunrise=2, city=2, rainbow=1, moonscape=1, wheat=1)
SCENES = dict(night=1, space=1, desert=1, underwater=1, autumn=1, mountains=1, city=1, flowers=1)
# where a thing may stand, and how large it is beside the picture's side
STANDING = "hills lake snow sunset sunrise wheat desert".split()
THINGS = "house, castle, windmill, lighthouse, barn, tent, church, tree, palm tree, sailboat, horse, cow, sheep, deer, camel, elephant, dog, cat, fox"


def things(candidates):
    """{name: [picture]}"""
    listed = read_things(TOOLS / "embedded-drawings/things.txt")
    wanted = THINGS.split(", ")
    found = {}
    for (names, *_), drawings in zip(listed, shown(listed, candidates)):
        if names[0] in wanted:
            found[names[0]] = [d.image() for d in drawings if clean(d) and d.hand != "game"][:12]
    return {k: v for k, v in found.items() if v}


def stand(place, thing, r, side):
    """A thing on the ground of a place, or in its sky."""
    w, h = thing.size
    k = r.uniform(0.42, 0.62) * side / max(w, h)
    thing = thing.resize((max(1, round(w * k)), max(1, round(h * k))), Image.LANCZOS)
    if r.random() < 0.5:
        thing = thing.transpose(Image.FLIP_LEFT_RIGHT)
    x = round(r.uniform(0.1, 0.9) * side - thing.width / 2)
    y = round(r.uniform(0.78, 0.94) * side - thing.height)
    place.paste(thing, (x, y), thing)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--candidates", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--count", type=int, default=20000)
    ap.add_argument("--side", type=int, default=64)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--things", type=float, default=0.3, help="share of the places in which something stands")
    ap.add_argument("--sheet")
    a = ap.parse_args()
    r = random.Random(a.seed)
    found = things(load(a.candidates))
    print({k: len(v) for k, v in found.items()})
    kinds = [(k, True) for k in DRAWN] + [(k, False) for k in SCENES]
    weights = [*DRAWN.values(), *SCENES.values()]
    out = np.lib.format.open_memmap(a.out, "w+", np.uint8, (a.count, 3, a.side, a.side))
    torch.manual_seed(a.seed)
    ready = {}
    for i in range(a.count):
        kind, drawn = r.choices(kinds, weights)[0]
        if drawn:
            scene = land.Scene(f"{a.seed} {i}")
            getattr(land, kind)(scene)
            picture = scene.small(a.side)
        else:
            if not ready.get(kind):
                x = torch.nn.functional.avg_pool2d(natural(kind, 32, 2 * a.side, "cpu"), 2).clamp(0, 1)
                ready[kind] = list((x.permute(0, 2, 3, 1) * 255).round().byte().numpy())
            picture = Image.fromarray(ready[kind].pop())
        if kind in STANDING and r.random() < a.things * sum(weights) / 12:
            stand(picture, r.choice(found[r.choice(sorted(found))]), r, a.side)
        out[i] = np.asarray(picture)[..., :3].transpose(2, 0, 1)
    out.flush()
    if a.sheet:
        g = out[:96].transpose(0, 2, 3, 1).reshape(8, 12, a.side, a.side, 3).transpose(0, 2, 1, 3, 4)
        Image.fromarray(np.ascontiguousarray(g.reshape(8 * a.side, 12 * a.side, 3))).save(a.sheet)


if __name__ == "__main__":
    main()
