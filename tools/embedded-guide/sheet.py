#!/usr/bin/env python3
"""Contact sheets: sheet.py OUT.png PICTURE... | sheet.py OUT.png --from PICTURES [--only CATEGORY]

Given pictures are captioned with their file names. With --from (a pictures.json or its folder) a row is a prompt and a
column a seed where a prompt has several seeds, else prompts follow one another.
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pictures import load

GAP, CAPTION = 6, 18


def sheet(cells, columns, side=192):
    """An image of the cells, [(path or None, caption)], `columns` a row; each picture fits in a square of `side` pixels."""
    font = ImageFont.load_default(size=12)
    width, height = side + GAP, side + CAPTION + GAP
    out = Image.new("RGB", (columns * width + GAP, -(-len(cells) // columns) * height + GAP), "white")
    draw = ImageDraw.Draw(out)
    for i, (path, caption) in enumerate(cells):
        x, y = GAP + i % columns * width, GAP + i // columns * height
        if path is not None:
            with Image.open(path) as picture:
                picture = picture.convert("RGB")
            scale = side / max(picture.size)
            picture = picture.resize([max(1, round(n * scale)) for n in picture.size], Image.Resampling.LANCZOS)
            out.paste(picture, (x, y))
        while draw.textlength(caption, font) > side:
            caption = caption[:-2] + "…"
        draw.text((x, y + side + 1), caption, fill="black", font=font)
    return out


def sheet_of_renders(pictures, side=192, columns=6):
    """The sheet of entries of a pictures.json: prompts by seeds where there are several seeds, else one after another."""
    seeds = sorted({p["seed"] for p in pictures})
    by = {(p["prompt"], p["seed"]): p["path"] for p in pictures}
    prompts = list(dict.fromkeys(p["prompt"] for p in pictures))
    if len(seeds) == 1:
        return sheet([(by[prompt, seeds[0]], prompt) for prompt in prompts], min(columns, len(prompts)), side)
    cells = [(by.get((prompt, seed)), prompt if seed == seeds[0] else f"seed {seed}") for prompt in prompts for seed in seeds]
    return sheet(cells, len(seeds), side)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("pictures", nargs="*")
    parser.add_argument("--from", dest="source", help="a pictures.json or its folder")
    parser.add_argument("--only", help="one category of --from")
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--side", type=int, default=192)
    args = parser.parse_args()
    if bool(args.pictures) == bool(args.source):
        parser.error("give pictures, or --from")
    if args.source:
        some = [p for p in load(args.source) if args.only in (None, p["category"])]
        if not some:
            parser.error("no such pictures")
        sheet_of_renders(some, args.side, args.columns).save(args.out)
    else:
        cells = [(path, Path(path).name) for path in args.pictures]
        sheet(cells, min(args.columns, len(cells)), args.side).save(args.out)
