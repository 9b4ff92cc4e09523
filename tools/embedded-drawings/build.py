#!/usr/bin/env python3
"""The bank of single drawings: candidates -> index.json, drawings.bin.

    build.py --candidates candidates.npz --out ../../crates/embedded-drawings/src [--sheet PREFIX]

things.txt says what there is and which titles show it, picks.txt which clip art does, drop.txt and unclear.txt which drawings are left out,
alike.txt which other words a thing's drawings stand for.
"""

import argparse
import html
import io
import json
import os
import re
import sys
from collections import Counter, defaultdict

import numpy as np
import torch
from PIL import Image, ImageDraw

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "../embedded-clip"))
from bank import choose, load, measures, read_things, titled
from scenes import places


def lines(name):
    path = os.path.join(HERE, name)
    if not os.path.exists(path):
        return []
    return [l for l in (line.split("#")[0].strip() for line in open(path, encoding="utf-8")) if l]


def shown(things, drawings):
    """For each thing the drawings that show it."""
    by_title, by_key = defaultdict(list), {d.key: d for d in drawings}
    drop = set(lines("drop.txt"))
    for d in drawings:
        if d.key in drop or d.hand in ("openclipart", "game"):
            continue
        for form in titled(d.title):
            by_title[form].append(d)
    picks = defaultdict(list)
    shapes = [(name, "game:" + rest.split()[0]) for name, _, rest in (line.partition(": ") for line in lines("shapes.txt"))]
    for name, key in [tuple(line.split(": ", 1)) for line in lines("picks.txt")] + shapes:
        if key not in by_key:
            sys.exit(f"{name}: {key}: no such drawing among the candidates")
        if key not in drop:
            picks[name].append(by_key[key])
    unclear = {name: set(keys.split()) for name, _, keys in (line.partition(": ") for line in lines("unclear.txt"))}
    if unknown := (set(picks) | set(unclear)) - {thing[0][0] for thing in things}:
        sys.exit(f"not in things.txt: {', '.join(sorted(unknown))}")
    result = []
    for own, more, not_these in things:
        found = {}
        for title in own + more:
            for d in by_title.get(title, []):
                if d.key not in not_these and d.title not in not_these:
                    found[d.key] = d
        plenty = len(found) + sum(d.hand != "game" for d in picks[own[0]]) > 2
        for d in picks[own[0]]:
            if d.hand != "game" or not plenty:  # of one colour: for things that little else shows
                found[d.key] = d
        result.append([d for key, d in found.items() if key not in unclear.get(own[0], ())])
    return result


def clean(d):
    """Whether something is there to be seen at all."""
    opaque, *_ = measures(d.image())
    return opaque > 0.08


def webp(im, quality):
    buffer = io.BytesIO()
    im.save(buffer, "WEBP", quality=quality, alpha_quality=60, method=6)
    return buffer.getvalue()


def check_names(entries):
    count = Counter(n for names, _ in entries for n in names)
    if twice := [n for n, c in count.items() if c > 1]:
        sys.exit(f"a name stands for two entries: {', '.join(sorted(twice))}")


def alike(entries):
    """Words for things that have no drawing, and the first name of what looks like each."""
    first, known = {names[0] for names, _ in entries}, {n for names, _ in entries for n in names}
    words = dict(sorted(tuple(line.split(": ", 1)) for line in lines("alike.txt")))
    if wrong := [w for w, name in words.items() if name not in first or w in known]:
        sys.exit(f"alike.txt: a name of its own, or like nothing there is: {', '.join(wrong)}")
    return words


def sheets(rows, prefix, cell=52, rows_a_sheet=18):
    """Drawings with their names, two columns of rows of ten, on grey, to look at; by number, as its key list is."""
    wide, of_both = 90 + 10 * cell, 2 * rows_a_sheet
    for k in range(0, len(rows), of_both):
        out = Image.new("RGB", (2 * wide, rows_a_sheet * cell), (140, 140, 140))
        pen = ImageDraw.Draw(out)
        for i, (name, images) in enumerate(rows[k : k + of_both]):
            left, top = i // rows_a_sheet * wide, i % rows_a_sheet * cell
            pen.text((left + 2, top + 20), name[:14], fill=(0, 0, 0))
            for x, im in enumerate(images):
                im = im.convert("RGBA")
                im.thumbnail((cell - 2, cell - 2))
                out.paste(im, (left + 90 + x * cell, top), im)
        out.save(f"{prefix}-{k // of_both:02}.png")


def main():
    ap = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    for n in ("candidates", "out"):
        ap.add_argument("--" + n, required=True)
    ap.add_argument("--most", type=int, default=10, help="drawings of one thing")
    ap.add_argument("--alike", type=float, default=0.86, help="how alike two drawings of one thing may be")
    ap.add_argument("--alike-of-one", type=float, default=0.78, help="the same for two by one hand")
    ap.add_argument("--quality", type=int, default=70)
    ap.add_argument("--artists", help="also write there the artists of the clip art that is in the bank, a name a line")
    ap.add_argument("--sheet", help="also write contact sheets PREFIX-NN.png")
    a = ap.parse_args()
    torch.set_num_threads(1)
    things = read_things(os.path.join(HERE, "things.txt"))
    candidates = load(a.candidates)
    entries, kept = [], []
    for (names, *_), found in zip(things, shown(things, candidates)):
        chosen = choose([d for d in found if clean(d)], a.most, a.alike, a.alike_of_one)
        if not chosen:
            print(f"no drawing: {names[0]}")
            continue
        entries.append((names, [d.image() for d in chosen]))
        kept.append([d.key for d in chosen])
    n = len(entries)
    entries += places(candidates)
    check_names(entries)
    encoded = [[webp(im, a.quality) for im in images] for _, images in entries]
    index = [dict(names=names, drawings=[len(b) for b in e]) for (names, _), e in zip(entries, encoded)]
    os.makedirs(a.out, exist_ok=True)
    with open(f"{a.out}/drawings.bin", "wb") as f:
        f.writelines(b for e in encoded for b in e)
    rows = ",\n".join(json.dumps(e) for e in index[:n]), ",\n".join(json.dumps(e) for e in index[n:])
    with open(f"{a.out}/index.json", "w") as f:
        f.write('{"size": 64, "things": [\n%s\n], "places": [\n%s\n], "alike": %s}\n' % (*rows, json.dumps(alike(entries), indent=0)))
    hands = Counter(key.split(":")[0] for keys in kept for key in keys)
    amounts = Counter(len(keys) for keys in kept)
    print(f"{n} things, {sum(map(len, kept))} drawings: {dict(hands.most_common())}")
    print(f"{len(entries) - n} places, {sum(len(e[1]) for e in entries[n:])} pictures")
    print(f"drawings a thing: {dict(sorted(amounts.items()))}; {sum(map(len, (b for e in encoded for b in e)))} bytes")
    if a.artists:
        named = lambda s: re.sub(r"[\[(]?\S*@\S*|http:\S*|HASH.*|\(.*?\)", "", html.unescape(s)).strip() or "anonymous"
        author = {d.key: named(d.author) for d in candidates if d.hand == "openclipart"}
        with open(a.artists, "w") as f:
            f.writelines(f"{name}\n" for name in sorted({author[k] for keys in kept for k in keys if k in author}))
    if a.sheet:
        with open(a.sheet + "-keys.txt", "w") as f:
            f.writelines(f"{names[0]}: {' '.join(keys)}\n" for (names, _), keys in zip(entries, kept))
        rows = [(names[0] if i == 0 else "", images[i : i + 10]) for names, images in entries for i in range(0, len(images), 10)]
        sheets(rows, a.sheet)


if __name__ == "__main__":
    main()
