#!/usr/bin/env python3
"""Pictures for a viewer who is told nothing: blind.py PICTURES --names DIR [--pairs DIR] [--only CATEGORY] [--seed N]

--names copies one seed of every prompt as 0001.png, 0002.png, ... in random order. --pairs puts two seeds of a prompt side
by side, for prompts that have two, and adds one control for every four pairs: a picture beside itself, mirrored, moved and
enlarged, to which the right answer is "the same one moved".
The pixels alone are copied, since a picture by Phantasia has its recipe in its metadata. The key is DIR.key.json, beside
the folder: give away the folder only.
"""

import argparse
import random
from pathlib import Path

from PIL import Image, ImageOps

from pictures import load, spread, write_json


def pixels(path):
    """The pixels of a picture, without its metadata."""
    with Image.open(path) as picture:
        picture = picture.convert("RGB")
    return Image.frombytes("RGB", picture.size, picture.tobytes())


def moved(picture, rng):
    """The picture mirrored, enlarged, and cut out elsewhere."""
    zoom = rng.uniform(0.75, 0.85)
    w, h = (round(n * zoom) for n in picture.size)
    x, y = (rng.randrange(n - part + 1) for n, part in zip(picture.size, (w, h)))
    return ImageOps.mirror(picture).crop((x, y, x + w, y + h)).resize(picture.size, Image.Resampling.LANCZOS)


def write(folder, items):
    """Saves [(image, answer)] in random order under neutral names, and the key beside the folder."""
    folder = Path(folder)
    key_path = folder.with_name(folder.name + ".key.json")
    if key_path.exists() or folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder}: there are pictures already, or {key_path.name} beside it; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    items = list(items)
    random.shuffle(items)
    key = {}
    for number, (image, answer) in enumerate(items, 1):
        name = f"{number:04}.png"
        image.save(folder / name)
        key[name] = answer
    write_json(key_path, key)
    print(f"{len(items)} pictures in {folder}, their key in {key_path}")


def names(pictures, folder, seed=None):
    """One seed of every prompt, the lowest unless told."""
    chosen = {}
    for p in sorted(pictures, key=lambda p: p["seed"]):
        if seed in (None, p["seed"]):
            chosen.setdefault(p["prompt"], p)
    write(folder, ((pixels(p["path"]), {k: p[k] for k in ("prompt", "category", "seed")}) for p in chosen.values()))


def pairs(pictures, folder):
    """Two random seeds of every prompt side by side, and the controls."""
    rng = random.Random()
    by = {}
    for p in pictures:
        by.setdefault(p["prompt"], []).append(p)
    several = [some for some in by.values() if len(some) > 1]
    if not several:
        raise SystemExit("no prompt has two seeds")

    def beside(a, b):
        out = Image.new("RGB", (a.width + b.width + 16, max(a.height, b.height)), "white")
        out.paste(a, (0, 0))
        out.paste(b, (a.width + 16, 0))
        return out

    items = []
    for some in several:
        a, b = rng.sample(some, 2)
        items.append((beside(pixels(a["path"]), pixels(b["path"])), {"prompt": a["prompt"], "seeds": [a["seed"], b["seed"]]}))
    for some in spread(several, max(1, len(several) // 4)):
        p = rng.choice(some)
        a = pixels(p["path"])
        items.append((beside(a, moved(a, rng)), {"prompt": p["prompt"], "seeds": [p["seed"]], "control": True}))
    write(folder, items)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", help="a pictures.json or its folder")
    parser.add_argument("--names", help="folder for single pictures")
    parser.add_argument("--pairs", help="folder for pairs of seeds")
    parser.add_argument("--only", help="one category")
    parser.add_argument("--seed", type=int, help="the seed of --names")
    args = parser.parse_args()
    if not args.names and not args.pairs:
        parser.error("give --names, --pairs or both")
    some = [p for p in load(args.pictures) if args.only in (None, p["category"])]
    if args.names:
        names(some, args.names, args.seed)
    if args.pairs:
        pairs(some, args.pairs)
