#!/usr/bin/env python3
"""A memory of what things and places look like, built rather than trained: its gradient is a whole shape.

    prototypes.py --data DATA --text TEXT --out FOLDER [--sheet SHEET.png]

An associative memory (Ramsauer et al., "Hopfield Networks is All You Need", 2020) in two parts, things and places. A
thing's prototype is the mean of its sprites, of several icon sets, on grey, upright and centred; sprites that look too
different make several prototypes. A place's is a procedural scene. The tower sees the whole picture, so many pixels a
side, and answers with one number for each prototype,

    z_k = exp(steepness (c_k - 1)),    c_k = cosine of (picture - grey) and (prototype k - grey),

and with the number 1, which keeps an unlike picture's answer from being all noise once it is scaled to unit length. A
text's place in this space is a softmax over how like the names of the prototypes its embedding is: the joint space of
the other towers has some 128 dimensions for a thousand names, so that what is linear in a text's embedding is a mean of
many shapes, and only what is not linear is one shape. What captions say beside the thing (colours, places, styles) is
taken out of names and texts before things are compared. The gradient of the cosine of both leads to the nearest of the
prototypes that the words may mean. FOLDER gets model.safetensors and config.json; the seed decides which scenes are drawn.
"""

import argparse
import os
import random

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

from checkpoint import Texts
from export import write_json
from generate import aims
from synth import CN, NAT, PREP, STYLES, Synth, art
from train import sow

GREY = 140  # of 255
GROUPS = "animals-nature food-drink travel-places activities objects smileys-emotion shape noto fluent3d twemoji".split()
# what has its own place in the other part, or is a colour more than a thing
NOT_THINGS = "sunset sunrise night cityscape foggy milky sparkler park beach desert camping square circle".split()
COLOURED = "heart book circle square".split()
# what people call things that the icons' names are more particular about
EVERYDAY = {
    "automobile": "car",
    "blossom": "flower",
    "cooking": "fried egg",
    "deciduous tree": "tree",
    "desert island": "tropical island",
    "gem stone": "diamond",
    "honeybee": "bee",
    "hot beverage": "cup of coffee",
    "lady beetle": "ladybug",
    "locomotive": "steam train",
    "red heart": "heart",
    "ringed planet": "planet with rings",
    "sailboat": "sailing boat",
    "white flower": "flower",
}
FACES = "cat cow dog monkey mouse pig rabbit tiger".split()  # plainer than the whole animal
EVERYDAY |= {f"{name} face": name for name in FACES}
LESS = FACES + ["diamond suit", "railway car", "wilted flower"]  # the others' names are nearer to another thing's everyday name


def is_thing(concept, names):
    name = concept["name"]
    first, _, rest = name.partition(" ")
    if concept["group"] not in GROUPS or concept["sub"] == "geometric" or name in LESS:
        return False
    if name in EVERYDAY:
        return True
    if any(w in name for w in NOT_THINGS):
        return False
    # colours are taken out of names: of a thing and the same in one colour, the former stays
    return not (first in CN + ["light"] and (rest in names or rest.split(" ")[-1] in COLOURED))


def from_grey(x):
    """How far pictures are from grey, as vectors."""
    return (x - GREY / 255).flatten(1)


def alike(x, a):
    """[[index]]: sprites whose differences from grey point one way; those that are alone are left out if others are not."""
    groups = []
    v = F.normalize(from_grey(x), dim=1)
    for i in range(len(x)):
        means = [F.normalize(from_grey(x[g].mean(0, keepdim=True)), dim=1)[0] for g in groups]
        cosines = [float(m @ v[i]) for m in means]
        best = max(range(len(groups)), key=cosines.__getitem__, default=None)
        if best is not None and cosines[best] > a.alike:
            groups[best].append(i)
        else:
            groups.append([i])
    return [g for g in groups if len(g) > 1] or [list(range(len(x)))]


@torch.no_grad()
def things(synth, a):
    """(pictures [K,3,side,side] in 0..1, names)"""
    pictures, names = [], []
    all_names = {concept["name"] for concept in synth.concepts}
    for k, concept in enumerate(synth.concepts):
        own = [s for s in synth.by[k] if not synth.mono[s]]
        if not own or not is_thing(concept, all_names):
            continue
        n = len(own)
        sprites, nothing = synth.spr[torch.tensor(own)].float() / 255, torch.zeros(n)
        x = synth.place(sprites, torch.full((n,), a.scale), nothing, nothing, nothing, torch.ones(n))
        x = F.adaptive_avg_pool2d(x[:, :3] + (1 - x[:, 3:]) * GREY / 255, a.side)
        for group in alike(x, a):
            pictures.append(x[group].mean(0))
            names.append(EVERYDAY.get(concept["name"], concept["name"]))
    return torch.stack(pictures), names


@torch.no_grad()
def places(synth, a):
    pictures, names = [], []
    for k, (_, words, *_) in enumerate(NAT):
        for j in range(a.scenes):
            spec = np.full((1, 10), -1, np.int32)
            spec[0, 3], spec[0, 6], spec[0, 9] = 5, k, 1
            x = synth.render(spec, sprites=np.array([-1]), easy=True)[0]
            pictures.append(F.adaptive_avg_pool2d(x, a.side)[0])
            names.append(words[j % len(words)])
    return torch.stack(pictures), names


def beside(embed, names, a):
    """Directions in which a caption differs from the thing it names: [rank, joint]."""
    plain, said = [], []
    for name in random.sample(sorted(set(names)), 150):
        for _ in range(8):
            kind, words, *_ = random.choice(NAT)
            (c, d), style = random.sample(CN, 2), random.choice(random.choice(STYLES)[1])
            coloured = art(f"{c} {name}")
            ways = [
                coloured,
                f"{art(name)} on a {c} background",
                f"{art(name)} {PREP[kind]} {random.choice(words)}",
                f"{art(style)} of {art(name)}",
                f"{coloured} on a {d} background",
            ]
            plain.append(art(name))
            said.append(" ".join(random.choice(ways).split()))
    return torch.linalg.svd(embed(said) - embed(plain), full_matrices=False)[2][: a.beside]


def part(pictures, names, embed, aside=None):
    """Tensors of one part: pictures, the distinct names' embeddings without those directions, and which of these each
    picture has."""
    distinct = sorted(set(names))
    at = {name: i for i, name in enumerate(distinct)}
    name = torch.tensor([float(at[n]) for n in names])
    t = embed(distinct)
    if aside is not None:
        t = F.normalize(t - t @ aside.T @ aside, dim=-1)
    return dict(pictures=(pictures * 255).round().byte(), names=t.half(), name=name)


def main():
    ap = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    for n in ("data", "text", "out"):
        ap.add_argument("--" + n, required=True)
    ap.add_argument("--sheet", help="also write the prototypes there, to look at")
    ap.add_argument("--side", type=int, default=40, help="pixels that the tower sees")
    ap.add_argument("--scale", type=float, default=0.92, help="how much of the picture a thing fills")
    ap.add_argument("--alike", type=float, default=0.5, help="the cosine from which on sprites share a prototype")
    ap.add_argument("--scenes", type=int, default=16, help="pictures of each kind of place")
    ap.add_argument("--beside", type=int, default=20, help="dimensions that are taken out before things are compared")
    ap.add_argument("--chroma", type=float, default=0.3, help="what colours count beside lightness")
    ap.add_argument("--steepness", type=float, default=6)
    ap.add_argument("--floor", type=float, default=0.65, help="what is added to a picture's length, in mean lengths of a prototype")
    ap.add_argument("--temperature", type=float, default=0.03, help="of the softmax over names")
    ap.add_argument("--centre", type=float, default=0.5)
    ap.add_argument("--bank", type=int, default=60)
    ap.add_argument("--seed", type=int, default=0)
    a = ap.parse_args()
    torch.set_num_threads(1)  # sums in one order: the same file on every run
    sow(a.seed)
    synth = Synth(a.data, bank=a.bank)
    texts = Texts(a.text)
    embed = lambda s: aims(texts, s, a.centre)

    (seen, called), (around, placed) = things(synth, a), places(synth, a)
    aside = beside(embed, called, a)
    tensors = {f"things.{k}": v for k, v in part(seen, called, embed, aside).items()}
    tensors |= {f"places.{k}": v for k, v in part(around, placed, embed).items()}
    tensors["beside"] = aside.half().contiguous()
    print(f"{len(called)} prototypes of {len(set(called))} things, {len(placed)} of {len(set(placed))} names of places")
    os.makedirs(a.out, exist_ok=True)
    save_file(tensors, f"{a.out}/model.safetensors.part")
    os.replace(f"{a.out}/model.safetensors.part", f"{a.out}/model.safetensors")
    pictures = torch.cat([seen, around])
    mean = pictures.mean(1, keepdim=True)
    length = from_grey(mean + a.chroma * (pictures - mean)).norm(dim=1).mean().item()
    config = dict(image_size=a.side, grey=GREY, chroma=a.chroma, floor=round(a.floor * length, 3))
    config |= dict(steepness=a.steepness, temperature=a.temperature)
    write_json(config, f"{a.out}/config.json")
    if a.sheet:
        cells = [pictures[i % len(pictures)] for i in range(len(pictures) + -len(pictures) % 48)]
        rows = [torch.cat(cells[i : i + 48], 2) for i in range(0, len(cells), 48)]
        Image.fromarray((torch.cat(rows, 1).permute(1, 2, 0) * 255).byte().numpy()).save(a.sheet)


if __name__ == "__main__":
    main()
