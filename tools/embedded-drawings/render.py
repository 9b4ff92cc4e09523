#!/usr/bin/env python3
"""Every drawing that the bank may choose from: icon sets (npm packages @iconify-json/*), Open Clip Art -> one file.

    render.py --npm NODE_MODULES --openclipart usr/share/openclipart/svg --out candidates.npz

A drawing is cut to its own outline and a pixel, its longest side 64 pixels. Its key says where it is from: `noto:cat-face`,
`openclipart:animals/mammals/cat.svg`. Its title is the emoji's label where the icon is one of an emoji, else the icon's name;
clip art keeps title, keywords and author from its own metadata, and only what this declares to be in the public domain is read.
"""

import argparse
import io
import json
import multiprocessing
import os
import re
import sys

import numpy as np
import resvg_py
from PIL import Image

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../embedded-clip"))
from prepare import DROP, SKIN, SUFFIX, slug, squash

SIDE = 64
SETS = {
    "noto": "noto",
    "noto1": "noto-v1",
    "twemoji": "twemoji",
    "fluent3d": "fluent-emoji",
    "fluentflat": "fluent-emoji-flat",
    "fxemoji": "fxemoji",
    "streamline": "streamline-emojis",
    "flatcolor": "flat-color-icons",
    "meteocons": "meteocons",
}
# folders of Open Clip Art without drawings of things: signs, maps, flags, parts of programs
SIGNS = re.compile(
    r"^(shapes|special|logos|signs_and_symbols/(?!weather)|signs_and_symbols/[^/]*$|geography/(?!astronomy)|computer/(?!hardware)|"
    r"transportation/(aiga|roadsigns)|recreation/games/cards|people/(smilies|stickmen))"
)


def cut(png):
    """The drawing within a picture, or None where there is hardly one."""
    im = Image.open(io.BytesIO(png)).convert("RGBA")
    alpha = np.asarray(im)[..., 3]
    ys, xs = np.where(alpha > 24)
    if len(ys) < 12:
        return None
    im = im.crop((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
    scale = (SIDE - 2) / max(im.size)
    w, h = (max(1, round(n * scale)) for n in im.size)
    # premultiplied, so that what is transparent lends no colour to the edge
    small = im.convert("RGBa").resize((w, h), Image.LANCZOS).convert("RGBA")
    out = Image.new("RGBA", (w + 2, h + 2))
    out.paste(small, (1, 1))
    return out


def draw(svg):
    try:
        im = cut(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=4 * SIDE, dpi=96, skip_system_fonts=True)))
    except (ValueError, OSError):
        return None
    if im is None:
        return None
    buffer = io.BytesIO()
    im.save(buffer, "WEBP", lossless=True, method=0, exact=False)
    return buffer.getvalue()


def icons(npm):
    """(key, title, "", author, svg) of every coloured icon, without those of the same thing in another skin"""
    labels, alias, codes = {}, {}, {}
    for e in json.load(open(f"{npm}/emojibase-data/en/data.json")):
        labels[squash(slug(e["label"]))] = e["label"].lower()
        codes[e["hexcode"]] = e["label"].lower()
    for code, names in json.load(open(f"{npm}/emojibase-data/en/shortcodes/emojibase.json")).items():
        for name in [names] if isinstance(names, str) else names:
            if code in codes:
                alias.setdefault(squash(name.replace("_", "")), codes[code])
    for source, package in SETS.items():
        folder = f"{npm}/@iconify-json/{package}"
        info, icons = json.load(open(folder + "/info.json")), json.load(open(folder + "/icons.json"))
        names = icons["icons"]
        for name, icon in names.items():
            skin = SUFFIX.search(name)
            if SKIN.search(name) or DROP.search(name) or name.startswith("flag-") or skin and name[: skin.start()] in names:
                continue
            if source == "meteocons" and not name.endswith("-fill"):
                continue
            plain = re.sub(r"-\d+$", "", name) if source == "streamline" else name
            label = labels.get(squash(plain)) or alias.get(squash(plain))
            if source == "fxemoji" and not label:
                continue  # its other names are run together
            w, h = icon.get("width", icons.get("width", 16)), icon.get("height", icons.get("height", 16))
            svg = (
                '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                f'viewBox="0 0 {w} {h}" width="{w}" height="{h}">{icon["body"]}</svg>'
            )
            yield f"{source}:{name}", label or plain.replace("-", " "), "", info["author"]["name"], svg


def shapes(npm):
    """The game icons of shapes.txt, each in its colour."""
    icons = json.load(open(f"{npm}/@iconify-json/game-icons/icons.json"))
    w = icons.get("width", 16)
    for line in open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "shapes.txt"), encoding="utf-8"):
        if line.strip() and not line.startswith("#"):
            name, _, rest = line.strip().partition(": ")
            icon, colour = rest.split()
            body = icons["icons"][icon]["body"].replace("currentColor", "#" + colour)
            svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {w}" width="{w}" height="{w}">{body}</svg>'
            yield f"game:{icon}", name, "", "game-icons.net", svg


def field(svg, name):
    found = re.search(rf"<dc:{name}>(.*?)</dc:{name}>", svg, re.S)
    return " ".join(re.sub(r"<[^>]*>", " ", found[1]).split()) if found else ""


def clip_art(source, root):
    for folder, _, files in sorted(os.walk(root)):
        for file in sorted(files):
            path = os.path.join(folder, file)
            name = os.path.relpath(path, root)
            if not file.endswith(".svg") or SIGNS.match(name) or os.path.getsize(path) > 600_000:
                continue
            svg = open(path, encoding="utf-8", errors="replace").read()
            if "PublicDomain" not in svg and "publicdomain" not in svg:
                continue
            # the last dc:title is often the publisher's: the first one is the work's
            title = field(svg, "title")
            words = ", ".join(w.strip().lower() for w in re.findall(r"<rdf:li>(.*?)</rdf:li>", svg, re.S))
            yield f"{source}:{name}", title.lower(), words, field(svg, "creator"), svg


def main():
    ap = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    ap.add_argument("--npm", required=True)
    ap.add_argument("--openclipart", help="left out if not given")
    ap.add_argument("--out", required=True)
    a = ap.parse_args()
    works = list(icons(a.npm)) + list(shapes(a.npm))
    works += clip_art("openclipart", a.openclipart) if a.openclipart else []
    about, blobs, ends, late = [], [], [0], 0
    pool = multiprocessing.Pool(1)
    for i, (key, title, words, author, svg) in enumerate(works):
        try:  # a process of its own, as a renderer that hangs cannot be stopped otherwise
            blob = pool.apply_async(draw, (svg,)).get(20)
        except multiprocessing.TimeoutError:
            late += 1
            pool.terminate()
            pool = multiprocessing.Pool(1)
            continue
        if blob:
            about.append([key, title, words, author])
            blobs.append(np.frombuffer(blob, np.uint8))
            ends.append(ends[-1] + len(blob))
        if i % 1000 == 0:
            print(i, len(works), flush=True)
    pool.terminate()
    print(f"{len(about)} drawings; {late} took too long")
    np.savez(a.out, blobs=np.concatenate(blobs), ends=np.array(ends), about=np.array(json.dumps(about)))


if __name__ == "__main__":
    main()
