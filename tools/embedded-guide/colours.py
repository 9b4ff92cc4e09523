#!/usr/bin/env python3
"""Whether asked colours are where they were asked: colours.py PICTURES [--seed N] [--json FILE]

Reads the prompts `A COLOUR thing` (category coloured) and `A COLOUR thing on a COLOUR ground` (category ground).

A coloured thing is right when the colour fills at least MIDDLE of the central region (the middle 60 % of each side), is
the main hue there apart from those that the border has too, and fills at most BORDER of the border (the outer twentieth of
each side). A ground is right when its colour fills at least GROUND of the border. Of a prompt with both, both must be
right.

Colours are ranges of lightness, chroma and hue in OKLCH (Ottosson, 2020). They overlap where people use two names.
"""

import argparse
import re

import numpy as np
from PIL import Image

from pictures import load, write_json

CENTRE, FRAME = 0.6, 0.05
MIDDLE, BORDER, GROUND = 0.15, 0.2, 0.5

# name: [(lightness from, to, chroma from, to, hue from, to)]; a hue range may go round through 0.
CHROMATIC = {
    "red": [(0.25, 0.73, 0.09, 1, 8, 41)],
    "orange": [(0.55, 1, 0.09, 1, 34, 80)],
    "yellow": [(0.62, 1, 0.08, 1, 78, 118)],
    "green": [(0.20, 1, 0.05, 1, 115, 180)],
    "blue": [(0.15, 1, 0.04, 1, 200, 288)],
    "purple": [(0.15, 0.80, 0.05, 1, 285, 340)],
    "pink": [(0.60, 1, 0.05, 1, 325, 8), (0.68, 1, 0.04, 1, 8, 30)],
    "brown": [(0.20, 0.60, 0.03, 0.18, 32, 95)],
}
NEUTRAL = {
    "black": [(0, 0.32, 0, 0.05, 0, 360)],
    "grey": [(0.32, 0.87, 0, 0.04, 0, 360)],
    "white": [(0.87, 1, 0, 0.05, 0, 360)],
}
COLOURS = {**CHROMATIC, **NEUTRAL}
SPELLINGS = {"gray": "grey"}


def oklch(rgb):
    """Lightness (0 to 1), chroma and hue (degrees) of sRGB values 0 to 255, on the last axis."""
    x = np.asarray(rgb, np.float64) / 255
    x = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    lms = np.cbrt(
        x @ np.array([[0.4122214708, 0.2119034982, 0.0883024619],
                      [0.5363325363, 0.6806995451, 0.2817188376],
                      [0.0514459929, 0.1073969566, 0.6299787005]])
    )  # fmt: skip
    lab = lms @ np.array([[0.2104542553, 1.9779984951, 0.0259040371],
                          [0.7936177850, -2.4285922050, 0.7827717662],
                          [-0.0040720468, 0.4505937099, -0.8086757660]])  # fmt: skip
    return lab[..., 0], np.hypot(lab[..., 1], lab[..., 2]), np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) % 360


def masks(rgb):
    """{colour: where the picture has it}."""
    lightness, chroma, hue = oklch(rgb)
    out = {}
    for name, ranges in COLOURS.items():
        out[name] = np.zeros(lightness.shape, bool)
        for l0, l1, c0, c1, h0, h1 in ranges:
            in_hue = (hue >= h0) & (hue <= h1) if h0 < h1 else (hue >= h0) | (hue <= h1)
            out[name] |= (lightness >= l0) & (lightness <= l1) & (chroma >= c0) & (chroma <= c1) & in_hue
    return out


def regions(path):
    """{colour: where the central region has it} and {colour: where the border has it}."""
    with Image.open(path) as picture:
        picture = picture.convert("RGB")
    # The mean of small squares is what the eye sees of fine texture.
    scale = 96 / max(picture.size)
    picture = picture.resize([max(1, round(n * scale)) for n in picture.size], Image.Resampling.BOX)
    found = masks(np.asarray(picture))

    def inner(part):
        w, h = picture.size
        inside = np.zeros((h, w), bool)
        y, x = round(h * (1 - part) / 2), round(w * (1 - part) / 2)
        inside[y : h - y, x : w - x] = True
        return inside

    centre, border = inner(CENTRE), ~inner(1 - 2 * FRAME)
    return {k: m[centre] for k, m in found.items()}, {k: m[border] for k, m in found.items()}


def asked(prompt):
    """The colours of the prompt in their order: that of the thing, then that of the ground."""
    words = [SPELLINGS.get(word, word) for word in re.findall(r"[a-z]+", prompt.lower())]
    return [word for word in words if word in COLOURS]


def judge(path, colours):
    """The shares that count and whether the thing and (if asked) the ground are right."""
    centre, border = regions(path)
    thing = colours[0]
    # Outlines and shadows are black or grey in every drawing: they don't compete with a hue. Nor does the ground.
    others = [k for k in CHROMATIC if k != thing and border[k].mean() < BORDER]
    rivals = {k: float((centre[k] & ~centre[thing]).mean()) for k in others}
    rival = max(rivals, key=rivals.get, default=None)
    result = {
        "middle": float(centre[thing].mean()),
        "border": float(border[thing].mean()),
        "rival": rival,
        "rival_share": rivals.get(rival, 0.0),
    }
    result["thing"] = result["middle"] >= max(MIDDLE, result["rival_share"]) and result["border"] <= BORDER
    if len(colours) > 1:
        result["ground_share"] = float(border[colours[1]].mean())
        result["ground"] = result["ground_share"] >= GROUND
    result["right"] = result["thing"] and result.get("ground", True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", help="a pictures.json or its folder")
    parser.add_argument("--seed", type=int, help="one seed [default: all]")
    parser.add_argument("--json", help="write the rows to this file")
    args = parser.parse_args()
    rows = []
    for p in load(args.pictures):
        colours = asked(p["prompt"])
        if p["category"] in ("coloured", "ground") and args.seed in (None, p["seed"]):
            if len(colours) != (2 if p["category"] == "ground" else 1):
                raise SystemExit(f"'{p['prompt']}' has {len(colours)} colours, which is not as its category has it")
            rows.append({k: p[k] for k in ("prompt", "category", "seed")} | judge(p["path"], colours))
    if not rows:
        raise SystemExit("no coloured prompts")
    print("middle  border  main other     ground  right  prompt")
    for r in rows:
        ground = f"{r['ground_share']:.2f}" if "ground" in r else ""
        rival = f"{r['rival'] or '':8} {r['rival_share']:.2f}"
        right = "yes" if r["right"] else "no"
        print(f"{r['middle']:6.2f}  {r['border']:6.2f}  {rival:13}  {ground:>6}  {right:5}  {r['prompt']}, seed {r['seed']}")
    for category, name in (("coloured", "coloured things"), ("ground", "colours on a ground")):
        some = [r for r in rows if r["category"] == category]
        if some:
            print(f"{name}: {sum(r['right'] for r in some)} of {len(some)}")
    if args.json:
        write_json(args.json, rows)


if __name__ == "__main__":
    main()
