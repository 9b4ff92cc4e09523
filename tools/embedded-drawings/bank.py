"""What the drawings of a thing are chosen by: which titles name it, whether one is a clean drawing, how alike two are."""

import io
import json
import re

import numpy as np
from PIL import Image

SIDE = 32  # of the comparison
GREY = 140
# hands in the order in which the first drawing is looked for
HANDS = "noto fluent3d twemoji streamline fxemoji noto1 fluentflat openclipart flatcolor meteocons game".split()
KIN = {"noto1": "noto", "fluentflat": "fluent3d"}  # drawn over
# what titles say that is no part of a name
NOISE = re.compile(
    r"\b(the|a|an|clip ?art|cartoon|icon|drawing|simple|colou?red|cute|funny|little|small|big|svg|image|picture|of a|01|02|"
    r"architetto|francesco|rollandin|\d+)\b|[^a-z' éèêïñ-]"
)


class Drawing:
    def __init__(self, key, title, words, author, blob):
        self.key, self.title, self.words, self.author, self.blob = key, title, words, author, blob
        self.hand = key.split(":")[0]

    def image(self):
        return Image.open(io.BytesIO(self.blob)).convert("RGBA")


def load(path):
    z = np.load(path)
    blobs, ends = z["blobs"], z["ends"]
    about = json.loads(str(z["about"]))
    return [Drawing(*row, blobs[ends[i] : ends[i + 1]].tobytes()) for i, row in enumerate(about)]


def plain(title):
    """A title as a name: lower case, without numbers and filler."""
    title = title.lower().replace("_", " ").replace("’", "'")
    return " ".join(NOISE.sub(" ", title).split())


def titled(title):
    """The forms of a title under which it is looked up: as it is, plain, and plain without a plural s."""
    p = plain(title)
    forms = {title, p}
    if p.endswith("s") and not p.endswith("ss"):
        forms.add(p[:-1])
    return forms


def read_things(path):
    """[(names, titles, titles not taken)]"""
    things = []
    for line in open(path, encoding="utf-8"):
        line = line.split("#")[0].strip()
        if not line:
            continue
        head, _, tail = line.partition(": ")
        names = [n.strip() for n in head.rstrip(":").split(",") if n.strip()]
        more = [t.strip() for t in tail.split(",") if t.strip()]
        not_these = {t[1:] for t in more if t.startswith("!")}
        things.append((names, [t for t in more if not t.startswith("!")], not_these))
    return things


def canvas(im):
    """(grey picture on grey, opacity), each [SIDE, SIDE], the drawing fitted to the square and centred"""
    w, h = im.size
    s = SIDE / max(w, h)
    w, h = max(1, round(w * s)), max(1, round(h * s))
    im = im.convert("RGBa").resize((w, h), Image.BOX).convert("RGBA")
    out = Image.new("RGBA", (SIDE, SIDE))
    out.paste(im, ((SIDE - w) // 2, (SIDE - h) // 2))
    x = np.asarray(out, np.float32)
    a = x[..., 3] / 255
    y = x[..., :3] @ np.array([0.3, 0.59, 0.11], np.float32)
    return (y - GREY) * a, a


def likeness(one, two):
    """How alike two drawings are, 0..1: the mean of how much of their outlines they share and of how their greys correlate,
    the better one of two sides, within two pixels of shift."""
    (y, a), best = one, 0.0
    y = y - y.mean()
    for v, b in (two, tuple(m[:, ::-1] for m in two)):
        for dx in (-2, 0, 2):
            for dy in (-2, 0, 2):
                w, c = np.roll(v, (dy, dx), (0, 1)), np.roll(b, (dy, dx), (0, 1))
                w = w - w.mean()
                grey = (y * w).sum() / (np.linalg.norm(y) * np.linalg.norm(w) + 1e-6)
                outline = np.minimum(a, c).sum() / (np.maximum(a, c).sum() + 1e-6)
                best = max(best, (max(grey, 0) + outline) / 2)
    return float(best)


def measures(im):
    """(share of the box that is opaque, share of its rim that is, share of what is opaque that has a colour, its mean lightness)"""
    x = np.asarray(im, np.float32)
    a = x[..., 3] / 255
    inner = a[1:-1, 1:-1]
    rim = np.concatenate([inner[0], inner[-1], inner[:, 0], inner[:, -1]])
    solid = a > 0.5
    if not solid.any():
        return 0.0, 0.0, 0.0, 0.0
    p = x[..., :3][solid]
    span = p.max(1) - p.min(1)
    return float((inner > 0.5).mean()), float((rim > 0.9).mean()), float((span > 40).mean()), float(p.mean() / 255)


def choose(drawings, most, alike, alike_of_one):
    """Up to `most` of them, each unlike the others: the first is by the first hand there is, each next the one that is least
    like those chosen, a new hand before a known one. Two of one hand have to differ more: `alike_of_one`."""
    left = sorted(drawings, key=lambda d: (HANDS.index(d.hand), d.key))
    seen = {d.key: canvas(d.image()) for d in left}
    chosen, likest = [], {d.key: 0.0 for d in left}
    while left and len(chosen) < most:
        hands = {d.hand for d in chosen}
        best = left[0] if not chosen else min(left, key=lambda d: likest[d.key] + 0.1 * (d.hand in hands))
        chosen.append(best)
        rest = []
        for d in left:
            if d is best:
                continue
            how = likeness(seen[best.key], seen[d.key])
            likest[d.key] = max(likest[d.key], how)
            one = KIN.get(d.hand, d.hand) == KIN.get(best.hand, best.hand) and d.hand != "openclipart"
            if how < (alike_of_one if one else alike):
                rest.append(d)
        left = rest
    return chosen
