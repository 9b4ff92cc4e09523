"""Captioned scenes out of sprites and procedural backgrounds, rendered in batches with torch (CPU or CUDA)."""

import io
import json
import math
import random

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

COL = dict(
    red=(214, 34, 36),
    orange=(245, 134, 24),
    yellow=(250, 213, 40),
    green=(46, 160, 60),
    blue=(36, 94, 210),
    purple=(124, 50, 168),
    pink=(246, 130, 180),
    brown=(122, 76, 42),
    black=(16, 16, 18),
    white=(248, 248, 248),
    gray=(132, 132, 134),
    cyan=(60, 205, 220),
    navy=(18, 30, 84),
    gold=(212, 166, 44),
)
CN = list(COL)
CALT = dict(
    gray=["gray", "grey"],
    cyan=["cyan", "turquoise", "teal"],
    navy=["navy blue", "dark blue"],
    gold=["gold", "golden"],
    red=["red", "bright red", "crimson"],
    purple=["purple", "violet"],
    blue=["blue", "blue", "bright blue"],
    green=["green", "bright green"],
)
CRGB = torch.tensor([COL[c] for c in CN], dtype=torch.float32) / 255
HELD = "emojione"
STYLES = [
    ("pixel art", ["pixel art", "8-bit pixel art", "pixelated image"]),
    ("watercolor", ["watercolor painting", "watercolor", "soft watercolor painting"]),
    ("oil painting", ["oil painting", "thick oil painting", "painting"]),
    ("pencil sketch", ["pencil sketch", "pencil drawing", "sketch"]),
    ("line drawing", ["line drawing", "black and white line drawing", "ink outline drawing"]),
    ("silhouette", ["silhouette", "black silhouette"]),
    ("black and white photo", ["black and white photo", "grayscale photo", "monochrome picture"]),
    ("neon", ["neon sign", "neon glow", "glowing neon lights"]),
    ("pastel", ["pastel drawing", "soft pastel picture"]),
    ("dark", ["dark picture", "dark moody image"]),
]
SN = [s for s, _ in STYLES]
NAT = [
    (
        "sunset_sea",
        ["a sunset over the sea", "sunset over the ocean", "an orange sunset", "the sun setting over the water"],
    ),
    ("meadow", ["a blue sky over a green meadow", "a green field under a blue sky", "a meadow", "a sunny landscape"]),
    ("sky", ["a blue sky with white clouds", "clouds in the sky", "a cloudy sky"]),
    ("night", ["a starry night", "a night sky full of stars", "stars in the night sky"]),
    ("space", ["outer space", "a galaxy", "a nebula in space", "space with stars"]),
    ("snow", ["a snowy landscape", "snow", "snowfall in winter"]),
    ("desert", ["a desert", "sand dunes", "a sandy desert under a hot sun"]),
    ("underwater", ["underwater", "under the sea", "deep blue water with bubbles"]),
    ("forest", ["a forest", "a dark green forest with trees", "the woods"]),
    ("grass", ["grass", "a green lawn"]),
    ("mountains", ["mountains", "snowy mountains", "a mountain landscape"]),
    ("city", ["a city at night", "a city skyline at night", "skyscrapers with lit windows"]),
    ("fire", ["fire", "flames", "a burning fire"]),
    ("brick", ["a brick wall", "red bricks"]),
    ("wood", ["a wooden table", "wooden planks"]),
    ("autumn", ["an autumn forest", "orange autumn leaves"]),
    ("beach", ["a beach", "a sandy beach by the sea"]),
    ("ocean", ["ocean waves", "the sea", "blue water"]),
    ("rainbow", ["a rainbow in the sky", "a rainbow"]),
    ("storm", ["a stormy sky with lightning", "dark storm clouds"]),
    ("moon", ["a full moon at night", "a moonlit night"]),
    ("paper", ["old paper", "parchment"]),
    ("flowers", ["a field of flowers", "colorful flowers in the grass"]),
    ("dusk", ["a pink and purple sky at dusk", "a pink sunrise sky"]),
]
PREP = dict(
    sunset_sea="at",
    meadow="in",
    sky="in",
    night="under",
    space="in",
    snow="in",
    desert="in",
    underwater="",
    forest="in",
    grass="on",
    mountains="in front of",
    city="in",
    fire="in",
    brick="in front of",
    wood="on",
    autumn="in",
    beach="on",
    ocean="in",
    rainbow="with",
    storm="under",
    moon="under",
    paper="on",
    flowers="in",
    dusk="under",
)
SHAPES = [
    "circle",
    "square",
    "triangle",
    "star",
    "diamond",
    "ring",
    "cross",
    "hexagon",
    "crescent",
    "heart shape",
    "arrow shape",
    "oval",
]


# ---------------------------------------------------------------- procedural backgrounds
def noise(n, S, cells, dev):
    return F.interpolate(torch.rand(n, 1, cells, cells, device=dev), (S, S), mode="bicubic", align_corners=True)[
        :, 0
    ].clamp(0, 1)


def fbm(n, S, dev, base=3, octs=4, gain=0.5):
    o, a, t = 0, 1.0, 0
    for i in range(octs):
        c = min(base * 2**i, S)
        o = o + a * noise(n, S, c, dev)
        t += a
        a *= gain
    return o / t


def _c(n, dev, lo, hi):
    lo, hi = torch.tensor(lo, device=dev) / 255.0, torch.tensor(hi, device=dev) / 255.0
    return (lo + (hi - lo) * torch.rand(n, 1, device=dev) + 0.06 * torch.randn(n, 3, device=dev)).clamp(0, 1)[
        :, :, None, None
    ]


def mix(a, b, m):
    return a + (b - a) * m[:, None]


def natural(kind, n, S, dev):
    yy, xx = torch.meshgrid(torch.linspace(0, 1, S, device=dev), torch.linspace(0, 1, S, device=dev), indexing="ij")
    yy, xx = yy.expand(n, S, S), xx.expand(n, S, S)
    r = lambda a=0.0, b=1.0: a + (b - a) * torch.rand(n, 1, 1, device=dev)
    C = lambda lo, hi=None: _c(n, dev, lo, hi or lo)
    sg = lambda x, k=40.0: torch.sigmoid(x * k)

    def hills(h, amp, cells):
        line = F.interpolate(torch.rand(n, 1, cells, device=dev), S, mode="linear", align_corners=True)
        return h + amp * (line - 0.5)  # (n,1,S) ridge height

    def stars(p):
        s = (torch.rand(n, S, S, device=dev) < p).float() * torch.rand(n, S, S, device=dev).sqrt()
        return (s + 0.35 * F.avg_pool2d(s[:, None], 3, 1, 1)[:, 0] * 3).clamp(0, 1)

    def disk(cx, cy, rad, soft=30.0):
        return sg(rad - ((xx - cx) ** 2 + (yy - cy) ** 2).sqrt(), soft)

    W = torch.ones(n, 3, 1, 1, device=dev)
    if kind in ("sunset_sea", "dusk"):
        h = r(0.5, 0.75)
        top, low = (
            (C((60, 40, 120), (240, 120, 60)), C((255, 170, 60), (255, 120, 40)))
            if kind == "sunset_sea"
            else (C((110, 70, 170), (150, 90, 190)), C((255, 150, 180), (255, 190, 190)))
        )
        img = mix(top, low, (yy / h).clamp(0, 1))
        img = mix(img, low + 0.15, 0.6 * fbm(n, S, dev) ** 2 * 1.5)
        if kind == "sunset_sea":
            cx, cy = r(0.2, 0.8), h - r(-0.03, 0.25)
            sun = disk(cx, cy, r(0.07, 0.16))
            img = mix(img, C((255, 240, 150), (255, 220, 100)), sun)
            img = mix(img, C((255, 220, 120)), 0.5 * torch.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) * 12))
            wave = (
                fbm(n, S, dev, 4, 4)[:, :, :].mul(0.5)
                + 0.5 * torch.sin(yy * r(60, 120) + 6 * noise(n, S, 5, dev)) * 0.5
            )
            sea = mix(
                C((60, 40, 90), (30, 60, 120)),
                C((255, 150, 70)),
                (torch.exp(-(((xx - cx) * 4) ** 2)) * (0.4 + 0.6 * wave)).clamp(0, 1),
            )
            img = torch.where((yy > h)[:, None], sea, img)
    elif kind in ("meadow", "sky", "rainbow", "flowers", "snow", "mountains", "desert", "beach"):
        sky = mix(C((50, 120, 220), (110, 180, 250)), C((190, 225, 255)), yy)
        cl = sg(fbm(n, S, dev, 3, 4) - r(0.45, 0.6), 12.0)
        sky = mix(sky, W, cl * r(0.3 if kind != "sky" else 0.8, 1.0))
        img = sky
        if kind in ("meadow", "flowers"):
            h = hills(r(0.4, 0.7) if kind == "meadow" else r(0.1, 0.45), 0.2, 4)
            gr = mix(C((40, 130, 40), (90, 180, 60)), C((140, 200, 80)), fbm(n, S, dev, 8, 3))
            if kind == "flowers":
                for _ in range(3):
                    m = F.max_pool2d((torch.rand(n, 1, S, S, device=dev) < 0.012).float(), 3, 1, 1)[:, 0]
                    gr = mix(
                        gr,
                        CRGB.to(dev)[torch.randint(0, 7, (n,), device=dev)][:, :, None, None].expand(-1, -1, 1, 1),
                        m,
                    )
            img = mix(sky, gr, sg(yy - h))
        elif kind == "snow":
            sky = mix(C((150, 180, 210), (200, 215, 235)), W, yy)
            img = mix(sky, mix(W * 0.97, C((200, 215, 240)), fbm(n, S, dev)), sg(yy - hills(r(0.4, 0.75), 0.25, 4)))
            img = mix(img, W, stars(0.02))
        elif kind == "desert":
            sky = mix(C((90, 160, 230), (250, 190, 120)), C((250, 225, 180)), yy)
            du = mix(
                C((225, 170, 90), (240, 200, 130)),
                C((180, 120, 60)),
                (0.5 + 0.5 * torch.sin(yy * r(14, 30) + 5 * fbm(n, S, dev, 2, 2))) * 0.7,
            )
            img = mix(sky, du, sg(yy - hills(r(0.35, 0.65), 0.2, 4)))
            img = mix(img, C((255, 240, 190)), disk(r(), r(0.0, 0.25), r(0.05, 0.1)))
        elif kind == "beach":
            h = r(0.3, 0.5)
            h2 = hills(r(0.6, 0.75), 0.15, 4)
            img = mix(img, mix(C((20, 110, 190)), C((60, 190, 210)), (yy - h) * 3), (yy > h).float())
            img = mix(img, mix(C((235, 210, 150)), C((215, 185, 120)), torch.rand(n, S, S, device=dev)), sg(yy - h2))
            img = mix(img, W, torch.exp(-(((yy - h2) * 40) ** 2)) * 0.8)
        elif kind == "mountains":
            for k in range(2):
                h = hills(r(0.3, 0.5) + 0.18 * k, 0.5 - 0.15 * k, 7)
                rock = mix(C((90, 100, 130), (110, 110, 120)) * (1 - 0.25 * k), C((60, 65, 80)), fbm(n, S, dev, 6, 3))
                rock = mix(
                    rock,
                    W,
                    sg(h.expand(-1, S, -1) + 0.12 - yy + 0.1 * (fbm(n, S, dev, 8, 2) - 0.5), 60.0) * (1.0 - 0.6 * k),
                )
                img = mix(img, rock, sg(yy - h, 80.0))
            img = mix(img, C((60, 120, 60)), sg(yy - r(0.8, 0.95), 30.0))
        elif kind == "rainbow":
            rad = ((xx - r(0.3, 0.7)) ** 2 + (yy - r(0.9, 1.2)) ** 2).sqrt()
            t = (rad - r(0.5, 0.7)) / r(0.15, 0.28)
            hue = torch.stack([(1.5 - (4 * t * 1.15 - k).abs()).clamp(0, 1) for k in (3.9, 2.4, 0.9)], 1)
            img = img + (hue - img) * (((t > 0) & (t < 1)).float() * 0.85)[:, None]
    elif kind in ("night", "space", "moon", "city"):
        img = (
            mix(C((6, 10, 40), (20, 30, 80)), C((30, 40, 110), (60, 60, 140)), yy * r(0.3, 1))
            if kind != "space"
            else C((4, 4, 14)).expand(n, 3, S, S)
        )
        if kind == "space":
            for _ in range(2):
                img = mix(img, C((90, 30, 140), (30, 90, 170)), 0.9 * sg(fbm(n, S, dev, 3, 4) - 0.58, 14.0))
        img = mix(img, W, stars(0.02 if kind != "city" else 0.004) * (1 if kind != "moon" else 0.6))
        if kind == "moon":
            cx, cy, rd = r(0.2, 0.8), r(0.15, 0.6), r(0.1, 0.25)
            img = mix(img, C((250, 245, 215)) * 1.0, disk(cx, cy, rd) * (0.8 + 0.2 * fbm(n, S, dev, 6, 2)))
        if kind == "city":
            nb = 9
            hts = torch.repeat_interleave(torch.rand(n, 1, nb, device=dev) * 0.5 + 0.25, S // nb + 1, 2)[:, :, :S]
            b = (yy > hts).float()
            img = mix(img, C((20, 20, 35), (45, 45, 60)), b)
            win = torch.repeat_interleave(
                torch.repeat_interleave((torch.rand(n, S // 4 + 1, S // 4 + 1, device=dev) < 0.4).float(), 4, 1), 4, 2
            )[:, :S, :S]
            ii = torch.arange(S, device=dev) % 4
            win = win * (ii[:, None] > 0) * (ii[:, None] < 3) * (ii[None] > 0) * (ii[None] < 3)
            img = mix(img, C((255, 220, 110)), win * b)
    elif kind in ("underwater", "ocean"):
        img = mix(
            C((60, 190, 220), (40, 150, 210)),
            C((4, 40, 100), (0, 60, 110)),
            yy if kind == "underwater" else (0.5 + 0.5 * torch.sin(yy * r(25, 60) + 8 * fbm(n, S, dev, 3, 3))),
        )
        if kind == "underwater":
            rays = (
                (0.5 + 0.5 * torch.sin((xx + r(-0.4, 0.4) * yy) * r(14, 30) + 3 * noise(n, S, 3, dev)))
                * (1 - yy)
                * 0.35
            )
            img = mix(img, W, rays)
            bub = F.max_pool2d((torch.rand(n, 1, S, S, device=dev) < 0.002).float(), 3, 1, 1)[:, 0]
            img = mix(img, C((200, 240, 255)), bub * 0.7)
        else:
            img = mix(img, W, sg(fbm(n, S, dev, 5, 4) - r(0.62, 0.72), 25.0) * 0.9)
    elif kind in ("forest", "autumn"):
        a, b = (
            (C((10, 50, 20), (30, 80, 30)), C((60, 140, 50), (100, 170, 70)))
            if kind == "forest"
            else (C((190, 80, 20), (220, 120, 20)), C((240, 190, 50), (200, 40, 30)))
        )
        img = mix(a, b, (fbm(n, S, dev, 8, 4) * 2.2 - 0.6).clamp(0, 1))
        tr = sg(noise(n, S, 14, dev)[:, :1].expand(-1, S, -1) - 0.62, 30.0)
        img = mix(img, C((50, 32, 20), (80, 55, 35)), tr * sg(yy - r(0.0, 0.5), 10.0) * 0.9)
    elif kind == "grass":
        bl = F.interpolate(torch.rand(n, 1, 10, S, device=dev), (S, S), mode="bilinear")[:, 0]
        img = mix(C((20, 100, 30)), C((120, 200, 70)), bl)
    elif kind == "fire":
        f = fbm(n, S, dev, 5, 4) * 1.3 - (1 - yy) * r(0.5, 0.9) + 0.1
        img = mix(mix(C((20, 4, 4)), C((225, 50, 10)), sg(f, 12.0)), C((255, 220, 70)), sg(f - 0.28, 12.0))
    elif kind == "brick":
        nb = r(6, 10)
        row = (yy * nb).floor()
        u, v = (xx * nb / 2 + 0.5 * (row % 2)) % 1, (yy * nb) % 1
        br = mix(C((150, 60, 45), (185, 85, 60)), C((120, 45, 35)), fbm(n, S, dev, 10, 3))
        img = mix(br, C((205, 195, 185)), ((u < 0.06) | (v < 0.12)).float())
    elif kind == "wood":
        g = 0.5 + 0.5 * torch.sin(
            yy * r(20, 60) + 5 * F.interpolate(torch.rand(n, 1, 12, 3, device=dev), (S, S), mode="bicubic")[:, 0]
        )
        img = mix(C((150, 98, 52), (190, 130, 75)), C((105, 64, 30)), g * 0.7)
        img = mix(img, C((60, 36, 18)), (((yy * r(3, 6)) % 1) < 0.05).float())
    elif kind == "storm":
        img = mix(C((40, 44, 58), (60, 60, 75)), C((120, 125, 140)), (fbm(n, S, dev, 3, 5) * 2 - 0.5).clamp(0, 1))
        path = r(0.2, 0.8) + (F.interpolate(torch.randn(n, 1, 9, device=dev), S, mode="linear") * 0.06).transpose(1, 2)
        img = mix(img, C((240, 240, 255)), (torch.exp(-(((xx - path) * S / 1.5) ** 2))))
    else:  # paper
        img = mix(
            C((225, 200, 150), (240, 225, 190)), C((190, 155, 100)), (fbm(n, S, dev, 4, 5) * 1.4 - 0.4).clamp(0, 1)
        )
    return img.clamp(0, 1)


class Synth:
    def __init__(self, data, device="cpu", size=64, bank=160):
        self.dev, self.S = device, size
        z = np.load(data + "/sprites.npz")
        self.meta = json.load(open(data + "/meta.json"))
        self.sets = self.meta["sets"]
        self.concepts = self.meta["concepts"]
        px = int(z["px"])
        self.px = px
        blob, offs = z["blob"], z["offs"]
        cid, sid = list(z["cid"]), list(z["sid"])
        n = len(cid)
        spr = np.zeros((n + len(SHAPES), 4, px, px), np.uint8)
        for i in range(n):
            im = np.asarray(Image.open(io.BytesIO(blob[offs[i] : offs[i + 1]].tobytes())).convert("RGBA")).transpose(
                2, 0, 1
            )
            al = im[3:4].astype(np.uint16)
            spr[i, :3] = (im[:3] * al // 255).astype(np.uint8)  # premultiplied
            spr[i, 3] = im[3]
        shape_set = len(self.sets)
        self.sets = self.sets + [dict(key="shape", style=["shape", "simple shape"], mono=1)]
        for k, nm in enumerate(SHAPES):
            self.concepts.append(
                dict(id=len(self.concepts), name=nm, tags=["shape"], group="shape", sub="shape", sets=["shape"])
            )
            spr[n + k, 3] = np.asarray(draw_shape(nm, px))
            cid.append(len(self.concepts) - 1)
            sid.append(shape_set)
        self.cid, self.sid = np.array(cid), np.array(sid)
        self.mono = np.array([self.sets[i]["mono"] for i in self.sid], bool)
        self.spr = torch.from_numpy(spr).to(device)
        self.domcol = dominant(spr, self.mono)
        self.nc = len(self.concepts)
        held = [i for i, t in enumerate(self.sets) if t["key"] == HELD][0]
        self.held_sprites = np.where(self.sid == held)[0]
        self.by = [[] for _ in range(self.nc)]
        for i in range(len(self.cid)):
            if self.sid[i] != held:
                self.by[self.cid[i]].append(i)
        gw = {
            "animals-nature": 2.0,
            "food-drink": 1.8,
            "travel-places": 1.8,
            "activities": 1.5,
            "objects": 1.5,
            "smileys-emotion": 0.7,
            "people-body": 0.3,
            "symbols": 0.5,
            "flags": 0.4,
            "flatcolor": 0.3,
            "game": 0.12,
            "shape": 4.0,
        }
        w = np.array([gw.get(c["group"], 0.25) * (1 if self.by[i] else 0) for i, c in enumerate(self.concepts)])
        w *= np.array(
            [
                min(1.0, 0.4 + 0.12 * len(b)) if c["group"] not in ("game", "flatcolor", "shape") else 1
                for b, c in zip(self.by, self.concepts)
            ]
        )
        self.w = w / w.sum()
        rng = random.Random(1234)
        cand = [i for i, c in enumerate(self.concepts) if HELD in c["sets"] and len(c["sets"]) >= 5]
        self.held_concepts = set(rng.sample(cand, 150))  # never composed with scenery, colours or styles in training
        self.bank = torch.stack(
            [
                torch.cat([(natural(k, min(40, bank - j), 80, device) * 255).byte() for j in range(0, bank, 40)])
                for k, _ in NAT
            ]
        )
        yy, xx = torch.meshgrid(
            torch.linspace(-1, 1, size, device=device), torch.linspace(-1, 1, size, device=device), indexing="ij"
        )
        self.xx, self.yy = xx, yy

    # ------------------------------------------------------------ scenes: integer specs + captions
    def scenes(self, n, seed, held=False):
        rng = random.Random(seed)
        nr = np.random.default_rng(seed)
        picks = nr.choice(self.nc, size=(n, 2), p=self.w)
        spec, caps = np.full((n, 10), -1, np.int32), []
        # columns: c1 c2 sprite1 bgtype(0 plain 1 gradient 2 stripes 3 checker 4 dots 5 natural)
        # cola colb nat style tint visiblebg
        hc = sorted(self.held_concepts)
        for i in range(n):
            u = rng.random()
            c1, c2 = picks[i]
            if held:
                c1 = rng.choice(hc)
                u = 0.1
            row = spec[i]
            comp = held or c1 not in self.held_concepts
            bt = rng.choices([0, 1, 2, 3, 4, 5], [0.36, 0.1, 0.04, 0.03, 0.03, 0.44])[0]
            if u >= 0.84 and bt < 5 and rng.random() < 0.6:
                bt = 5
            a, b = rng.sample(range(len(CN)), 2)
            if bt == 0 and rng.random() < 0.35:
                a = CN.index(rng.choice(["white", "white", "black", "gray"]))
            if not comp:
                bt, a = 0, CN.index(rng.choice(["white", "black", "gray"]))
            row[3], row[4], row[5] = bt, a, b
            cw = lambda k: rng.choice(CALT.get(CN[k], [CN[k]]))
            if bt == 5:
                k = rng.randrange(len(NAT))
                row[6] = k
                bgp = rng.choice(NAT[k][1])
                pre = PREP[NAT[k][0]]
                on = (pre + " " + bgp).strip()
            else:
                bgp = [
                    f"a {cw(a)} background",
                    f"a {cw(a)} and {cw(b)} gradient",
                    f"{cw(a)} and {cw(b)} stripes",
                    f"a {cw(a)} and {cw(b)} checkerboard",
                    f"{cw(a)} dots on {cw(b)}",
                ][bt]
                on = "on " + bgp if bt != 0 or rng.random() < 0.8 else "on " + cw(a)
            st = rng.randrange(len(STYLES)) if comp and rng.random() < 0.22 else -1
            row[7] = st
            sw = rng.choice(STYLES[st][1]) if st >= 0 else None
            if u >= 0.84:  # background only
                cap = (
                    rng.choice([bgp, bgp, f"a photo of {bgp}", f"a painting of {bgp}", f"a picture of {bgp}"])
                    if sw is None
                    else f"{art(sw)} of {bgp}"
                )
                caps.append(cap)
                row[9] = 1
                continue

            def subj(c, spr, tint):
                C = self.concepts[c]
                nm = C["name"]
                if C["tags"] and rng.random() < 0.15:
                    nm = rng.choice(C["tags"])
                elif nm.endswith(" face") and rng.random() < 0.4:
                    nm = nm[:-5]
                col = None
                if tint >= 0:
                    col = cw(tint) if rng.random() < 0.85 else None
                elif spr >= 0 and self.domcol[spr] >= 0 and comp:
                    d = CN[self.domcol[spr]]
                    col = d if d not in nm else None
                return f"{col} {nm}" if col else nm

            row[0] = c1
            tint, spr = -1, -1
            monoc = self.mono[self.by[c1]].all() if self.by[c1] else False
            if monoc:
                tint = rng.choice([8, 8, 8, 9, 10] + list(range(len(CN))))
                spr = rng.choice(self.by[c1])
                if tint == a and bt == 0:
                    tint = (tint + 3) % len(CN)
            elif comp and rng.random() < 0.10:
                tint = rng.randrange(len(CN))
                if tint == a and bt == 0:
                    tint = (tint + 3) % len(CN)
            elif comp and rng.random() < 0.35 and self.by[c1]:
                spr = rng.choice(self.by[c1])
            if held:
                spr = rng.choice([j for j in self.held_sprites if self.cid[j] == c1])
            row[2], row[8] = spr, tint
            A = subj(c1, spr, tint)
            setw = rng.choice(self.sets[self.sid[spr]]["style"]) if spr >= 0 and rng.random() < 0.4 else None
            if u < 0.70:
                what = art(A)
                if not comp:
                    caps.append(
                        rng.choice([A, A, what, f"a picture of {what}", f"a photo of {what}", f"an icon of {what}"])
                    )
                    continue
                v = rng.random()
                if sw and v < 0.8:
                    cap = f"{art(sw)} of {what}" + (f" {on}" if rng.random() < 0.4 else "")
                elif setw and v < 0.8:
                    cap = f"{art(setw)} of {what}" + (f" {on}" if rng.random() < 0.4 else "")
                elif v < 0.25:
                    cap = A
                elif v < 0.38:
                    cap = what
                elif v < 0.52:
                    cap = rng.choice(
                        [
                            "a photo of {}",
                            "a picture of {}",
                            "an image of {}",
                            "an icon of {}",
                            "a drawing of {}",
                            "{}, digital art",
                            "a close-up of {}",
                        ]
                    ).format(what)
                elif v < 0.85:
                    cap = f"{what} {on}"
                elif v < 0.95:
                    cap = rng.choice([f"a painting of {bgp} with {what}", f"{bgp} with {what}"])
                else:
                    cap = f"{A}, {bgp}"
            else:
                if c2 == c1 or c2 in self.held_concepts or not self.by[c2]:
                    c2 = int(nr.choice(self.nc, p=self.w))
                    while c2 in self.held_concepts:
                        c2 = int(nr.choice(self.nc, p=self.w))
                row[1] = c2
                B = subj(c2, -1, -1)
                cap = rng.choice(
                    [f"{A} and {B}", f"{art(A)} and {art(B)}", f"{art(A)} with {art(B)}", f"{art(A)} next to {art(B)}"]
                ) + (f" {on}" if rng.random() < 0.4 else "")
                if sw and rng.random() < 0.7:
                    cap = f"{art(sw)} of {cap}"
            caps.append(cap)
            row[9] = 1
        return spec, caps

    # ------------------------------------------------------------ rendering
    def place(self, spr, scale, cx, cy, ang, flip):
        """sprites (B,4,px,px) float premultiplied -> (B,4,S,S)"""
        small = scale < 0.5
        if small.any():
            k = small.nonzero()[:, 0]
            spr = spr.index_copy(
                0, k, F.interpolate(F.avg_pool2d(spr[k], 2), spr.shape[-1], mode="bilinear", align_corners=False)
            )
        c, sn = torch.cos(ang) / scale, torch.sin(ang) / scale
        th = torch.stack(
            [
                torch.stack([c * flip, sn * flip, -(c * cx + sn * cy) * flip], 1),
                torch.stack([-sn, c, sn * cx - c * cy], 1),
            ],
            1,
        )
        return F.grid_sample(
            spr, F.affine_grid(th, (len(spr), 4, self.S, self.S), align_corners=False), align_corners=False
        )

    def render(self, spec, sprites=None, easy=False):
        """spec (B,10) int array -> images (B,3,S,S) in 0..1, concept targets"""
        B, dev, S = len(spec), self.dev, self.S
        sp = torch.as_tensor(spec, device=dev).long()
        R = lambda a=0.0, b=1.0: a + (b - a) * torch.rand(B, device=dev)
        jit = lambda c: (c + 0.05 * torch.randn(B, 3, device=dev)).clamp(0, 1)
        crgb = CRGB.to(dev)
        A, Bc = jit(crgb[sp[:, 4].clamp(min=0)])[:, :, None, None], jit(crgb[sp[:, 5].clamp(min=0)])[:, :, None, None]
        bt = sp[:, 3]
        ang = R(0, 2 * math.pi)[:, None, None]
        u = self.xx * torch.cos(ang) + self.yy * torch.sin(ang)
        v = -self.xx * torch.sin(ang) + self.yy * torch.cos(ang)
        f = R(2, 6)[:, None, None]
        ck = ((u * f).floor() + (v * f).floor()) % 2
        dt = ((((u * f) % 1 - 0.5) ** 2 + ((v * f) % 1 - 0.5) ** 2) > 0.08).float()
        stripes = ((u * f) % 1 > 0.5).float()
        m = torch.zeros_like(u)
        for kind, pattern in enumerate(((u * 0.6 + 0.5).clamp(0, 1), stripes, ck, dt), 1):
            m = torch.where((bt == kind)[:, None, None], pattern, m)
        img = A + (Bc - A) * m[:, None]
        nt = (bt == 5).nonzero()[:, 0]
        if len(nt):
            bk = self.bank[sp[nt, 6], torch.randint(0, self.bank.shape[1], (len(nt),), device=dev)].float() / 255
            sc = 0.75 + 0.25 * torch.rand(len(nt), device=dev)
            fl = (torch.rand(len(nt), device=dev) < 0.5).float() * 2 - 1
            z0 = torch.zeros_like(sc)
            tx, ty = ((torch.rand(len(nt), device=dev) * 2 - 1) * (1 - sc) for _ in range(2))
            th = torch.stack([torch.stack([sc * fl, z0, tx], 1), torch.stack([z0, sc, ty], 1)], 1)
            grid = F.affine_grid(th, (len(nt), 3, S, S), align_corners=False)
            img = img.index_copy(0, nt, F.grid_sample(bk, grid, align_corners=False, padding_mode="border"))
        two = sp[:, 1] >= 0
        style = sp[:, 7]
        if sprites is None:
            drawn = lambda r: int(r[2]) if r[2] >= 0 else random.choice(self.by[r[0]])
            i1 = np.array([drawn(r) if r[0] >= 0 else -1 for r in spec])
        else:
            i1 = np.asarray(sprites)
        i2 = np.array([random.choice(self.by[r[1]]) if r[1] >= 0 else -1 for r in spec])
        for layer, idx in ((2, i2), (1, i1)):
            k = torch.as_tensor(np.where(idx >= 0)[0], device=dev)
            if not len(k):
                continue
            n = len(k)
            ii = idx[idx >= 0]
            px = self.spr[torch.as_tensor(ii, device=dev)].float() / 255
            q = lambda a, b: a + (b - a) * torch.rand(n, device=dev)
            tw = two[k]
            scale = torch.where(tw, q(0.32, 0.6), q(0.75, 1.0) if easy else q(0.42, 1.15))
            lim = (1.05 - scale).clamp(min=0.05)
            cx, cy = q(-1, 1) * lim, q(-1, 1) * lim
            side = 1.0 if layer == 1 else -1.0
            cx = torch.where(tw, side * q(0.25, 0.6), cx * (0.5 if easy else 1))
            an = torch.randn(n, device=dev) * (0.05 if easy else 0.25)
            fl = (torch.rand(n, device=dev) < 0.5).float() * 2 - 1
            mono = torch.as_tensor(self.mono[ii], device=dev)
            tint = sp[k, 8]
            if layer == 2:
                tint = torch.where(mono, torch.randint(0, len(CN), (n,), device=dev), torch.full((n,), -1, device=dev))
            tint = torch.where(mono & (tint < 0), torch.full_like(tint, 8), tint)
            tm = tint >= 0
            if tm.any():
                kk = tm.nonzero()[:, 0]
                p = px[kk]
                al = p[:, 3:4]
                lum = (p[:, :3] / al.clamp(min=1e-3)).mean(1, keepdim=True)
                lum = torch.where(mono[kk][:, None, None, None], torch.full_like(lum, 0.5), lum)
                c = (crgb[tint[kk]] + 0.05 * torch.randn(len(kk), 3, device=dev)).clamp(0, 1)[:, :, None, None]
                t = torch.where(lum < 0.5, c * (0.35 + 1.3 * lum), c + (1 - c) * (lum - 0.5) * 0.9)
                px = px.index_copy(0, kk, torch.cat([t.clamp(0, 1) * al, al], 1))
            sil = style[k] == 5
            if sil.any():
                kk = sil.nonzero()[:, 0]
                px = px.index_copy(0, kk, torch.cat([0.05 * px[kk][:, 3:].expand(-1, 3, -1, -1), px[kk][:, 3:]], 1))
            o = self.place(px, scale, cx, cy, an, fl)
            base = img[k]
            if sil.any():
                base = torch.where(sil[:, None, None, None], 0.45 + 0.55 * base, base)
            if not easy:  # drop shadow under some
                sh = (torch.rand(n, device=dev) < 0.25).float()[:, None, None, None] * 0.35
                base = base * (1 - sh * torch.roll(F.avg_pool2d(o[:, 3:], 5, 1, 2), (3, 2), (2, 3)))
            img = img.index_copy(0, k, base * (1 - o[:, 3:]) + o[:, :3])
        return self.stylise(img.clamp(0, 1), style), i1, i2

    def stylise(self, img, style):
        S, dev = self.S, self.dev
        lumw = torch.tensor([0.3, 0.59, 0.11], device=dev).view(1, 3, 1, 1)

        def edges(x):
            g = F.avg_pool2d(F.pad((x * lumw).sum(1, keepdim=True), (1, 1, 1, 1), mode="replicate"), 3, 1)
            g = F.pad(g, (1, 1, 1, 1), mode="replicate")
            return (
                (g[:, :, 1:-1, 2:] - g[:, :, 1:-1, :-2]) ** 2 + (g[:, :, 2:, 1:-1] - g[:, :, :-2, 1:-1]) ** 2
            ).sqrt()

        for k, nm in enumerate(SN):
            ix = (style == k).nonzero()[:, 0]
            if not len(ix) or nm == "silhouette":
                continue
            x = img[ix]
            n = len(ix)
            if nm == "pixel art":
                c = random.choice([12, 16, 20, 24])
                y = F.interpolate(F.adaptive_avg_pool2d(x, c), S, mode="nearest")
                y = (y * 6).round() / 6
            elif nm in ("watercolor", "oil painting"):
                a = 0.07 if nm == "watercolor" else 0.1
                d = (torch.stack([fbm(n, S, dev, 8, 2), fbm(n, S, dev, 8, 2)], -1) - 0.5) * 2 * a
                g = torch.stack([self.xx, self.yy], -1)[None] + d
                y = F.grid_sample(F.avg_pool2d(x, 3, 1, 1), g, align_corners=False, padding_mode="border")
                if nm == "watercolor":
                    y = 1 - (1 - y) * (0.45 + 0.55 * fbm(n, S, dev, 4, 4))[:, None] * 0.85
                else:
                    y = (y * 5).round() / 5 + 0.16 * (noise(n, S, 28, dev) - 0.5)[:, None]
            elif nm == "pencil sketch":
                e = edges(x)
                y = (
                    0.95
                    - 2.2 * e
                    - 0.18 * (1 - (x * lumw).sum(1, keepdim=True)) * noise(n, S, 48, dev)[:, None]
                    + 0.03 * torch.randn(n, 1, S, S, device=dev)
                ).expand(-1, 3, -1, -1)
            elif nm == "line drawing":
                y = (1 - torch.sigmoid((edges(x) - 0.14) * 40)).expand(-1, 3, -1, -1)
            elif nm == "black and white photo":
                y = ((x * lumw).sum(1, keepdim=True) * 1.15 - 0.07 + 0.03 * torch.randn(n, 1, S, S, device=dev)).expand(
                    -1, 3, -1, -1
                )
            elif nm == "neon":
                e = (edges(x) * 3).clamp(0, 1)
                e = (e + 1.2 * F.avg_pool2d(e, 5, 1, 2)).clamp(0, 1.3)
                c = torch.tensor(
                    [[1, 0.2, 0.8], [0.2, 0.9, 1], [0.4, 1, 0.3], [1, 0.6, 0.1], [0.7, 0.3, 1]], device=dev
                )[torch.randint(0, 5, (n,), device=dev)][:, :, None, None]
                y = 0.06 * x + e * (0.6 * c + 0.4 * (x / x.amax(1, keepdim=True).clamp(min=0.1)))
            elif nm == "pastel":
                y = 0.5 * x + 0.5 * (x * 0.3 + 0.68)
            else:
                y = x * 0.35
            img = img.index_copy(0, ix, y.clamp(0, 1))
        return img


def augment(x, strong=1.0):
    """colour jitter, crop/affine, blur, noise, cutout on (B,3,S,S)"""
    B, _, S, _ = x.shape
    dev = x.device
    R = lambda a, b: a + (b - a) * torch.rand(B, 1, 1, 1, device=dev)
    sc = torch.where(R(0, 1) < 0.5, R(0.65, 1.1), torch.ones(B, 1, 1, 1, device=dev)).flatten()
    an = torch.randn(B, device=dev) * 0.1 * strong
    lim = (1 - sc).abs() + 0.08
    tx, ty = (torch.rand(B, device=dev) * 2 - 1) * lim, (torch.rand(B, device=dev) * 2 - 1) * lim
    asp = 1 + 0.12 * torch.randn(B, device=dev).clamp(-2, 2) * strong
    c, s = sc * an.cos(), sc * an.sin()
    th = torch.stack([torch.stack([c * asp, -s, tx], 1), torch.stack([s, c, ty], 1)], 1)
    grid = F.affine_grid(th, x.shape, align_corners=False)
    x = F.grid_sample(x, grid, align_corners=False, padding_mode="reflection")
    x = x * R(0.8, 1.2) + R(-0.08, 0.08)
    mu = x.mean((1, 2, 3), keepdim=True)
    x = mu + (x - mu) * R(0.7, 1.2)
    g = x.mean(1, keepdim=True)
    x = g + (x - g) * R(0.7, 1.3)
    bl = (torch.rand(B, device=dev) < 0.25).nonzero()[:, 0]
    if len(bl):
        x = x.index_copy(0, bl, F.avg_pool2d(F.pad(x[bl], (1, 1, 1, 1), mode="replicate"), 3, 1))
    x = x + torch.randn_like(x) * (R(0, 0.1) * (R(0, 1) < 0.6)) * strong
    cut = torch.rand(B, 1, 1, device=dev) < 0.3
    cx, cy, w = (torch.rand(B, 1, 1, device=dev) * S for _ in range(3))
    ar = torch.arange(S, device=dev)
    mk = cut & ((ar[None, None, :] - cx).abs() < w * 0.2 + 2) & ((ar[None, :, None] - cy).abs() < w * 0.2 + 2)
    return torch.where(mk[:, None], torch.rand(B, 3, 1, 1, device=dev), x).clamp(0, 1)


def fade(x, share):
    """A share of the pictures made to look half-painted: coarse, pale on grey, noisy."""
    B, _, S, _ = x.shape
    dev = x.device
    for c in (8, 16, 32):
        k = (torch.rand(B, device=dev) < share * 0.2).nonzero()[:, 0]
        if len(k):
            y = F.interpolate(F.adaptive_avg_pool2d(x[k], c), (S, S), mode="bicubic", align_corners=False)
            x = x.index_copy(0, k, y.clamp(0, 1))
    on = (torch.rand(B, 1, 1, 1, device=dev) < share).float()
    a = 1 - on * 0.8 * torch.rand(B, 1, 1, 1, device=dev)
    g = 0.5 + 0.1 * torch.randn(B, 3, 1, 1, device=dev) * (torch.rand(B, 1, 1, 1, device=dev) < 0.5)
    return (g + (x - g) * a + torch.randn_like(x) * on * 0.12 * torch.rand(B, 1, 1, 1, device=dev)).clamp(0, 1)


def clutter(x, n):
    """n pictures of nothing: half of them noise of all scales and colours, half tiles of x shuffled."""
    S, dev = x.shape[-1], x.device
    h = n // 2
    y = 0.5 + 0.2 * torch.randn(h, 3, 1, 1, device=dev)
    for c in (2, 4, 8, 16, 32, 64):
        layer = F.interpolate(torch.randn(h, 3, c, c, device=dev), (S, S), mode="bicubic", align_corners=False)
        y = y + 0.12 * torch.randn(h, 3, 1, 1, device=dev) * layer
    y = y.clamp(0, 1)
    t = random.choice([4, 8])
    z = x[torch.randperm(len(x), device=dev)[: n - h]]
    z = z.view(n - h, 3, t, S // t, t, S // t).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    z = z.gather(1, torch.rand(n - h, t * t, device=dev).argsort(1)[:, :, None, None, None].expand_as(z))
    z = z.view(n - h, t, t, 3, S // t, S // t).permute(0, 3, 1, 4, 2, 5).reshape(n - h, 3, S, S)
    return torch.cat([y, z])


def art(p):
    if p.split(" ")[0] in ("a", "an", "the") or p.endswith("s") and not p.endswith("ss") and not p.endswith("us"):
        return p
    return ("an " if p[0] in "aeiou" else "a ") + p


def draw_shape(nm, px):
    im = Image.new("L", (px * 4, px * 4))
    d = ImageDraw.Draw(im)
    P = px * 4
    c = P / 2
    R = P * 0.48
    pol = lambda k, r=R, o=-math.pi / 2: [
        (c + r * math.cos(o + 2 * math.pi * i / k), c + r * math.sin(o + 2 * math.pi * i / k)) for i in range(k)
    ]
    if nm == "circle":
        d.ellipse((c - R, c - R, c + R, c + R), fill=255)
    elif nm == "oval":
        d.ellipse((c - R, c - R * 0.6, c + R, c + R * 0.6), fill=255)
    elif nm == "square":
        d.rectangle((c - R * 0.9, c - R * 0.9, c + R * 0.9, c + R * 0.9), fill=255)
    elif nm == "triangle":
        d.polygon(pol(3), fill=255)
    elif nm == "star":
        a, b = pol(5), pol(5, R * 0.42, -math.pi / 2 + math.pi / 5)
        d.polygon([p for q in zip(a, b) for p in q], fill=255)
    elif nm == "diamond":
        d.polygon(pol(4), fill=255)
    elif nm == "hexagon":
        d.polygon(pol(6), fill=255)
    elif nm == "ring":
        d.ellipse((c - R, c - R, c + R, c + R), fill=255)
        d.ellipse((c - R * 0.6, c - R * 0.6, c + R * 0.6, c + R * 0.6), fill=0)
    elif nm == "cross":
        d.rectangle((c - R, c - R * 0.3, c + R, c + R * 0.3), fill=255)
        d.rectangle((c - R * 0.3, c - R, c + R * 0.3, c + R), fill=255)
    elif nm == "crescent":
        d.ellipse((c - R, c - R, c + R, c + R), fill=255)
        d.ellipse((c - R * 0.4, c - R, c + R * 1.6, c + R), fill=0)
    elif nm == "heart shape":
        d.polygon(
            [
                (
                    c + R * (16 * math.sin(t) ** 3) / 17,
                    c - R * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 17,
                )
                for t in np.linspace(0, 2 * math.pi, 80)
            ],
            fill=255,
        )
    else:
        d.polygon(
            [
                (c - R, c - R * 0.25),
                (c, c - R * 0.25),
                (c, c - R * 0.7),
                (c + R, c),
                (c, c + R * 0.7),
                (c, c + R * 0.25),
                (c - R, c + R * 0.25),
            ],
            fill=255,
        )
    return im.resize((px, px), Image.LANCZOS)


def dominant(spr, mono):
    """index of the named colour that covers most of a sprite's opaque part, or -1"""
    out = np.full(len(spr), -1)
    for i in range(len(spr)):
        if mono[i]:
            continue
        a = spr[i, 3, ::3, ::3]
        m = a > 200
        if m.sum() < 20:
            continue
        p = spr[i, :3, ::3, ::3][:, m].T / 255.0
        mx, mn = p.max(1), p.min(1)
        d = mx - mn
        sat = d / np.maximum(mx, 1e-6)
        r, g, b = p.T
        h = (
            np.where(
                mx == r,
                ((g - b) / np.maximum(d, 1e-6)) % 6,
                np.where(mx == g, (b - r) / np.maximum(d, 1e-6) + 2, (r - g) / np.maximum(d, 1e-6) + 4),
            )
            * 60
        )
        lab = np.full(len(p), CN.index("gray"))
        for lo, hi, nm in (
            (0, 14, "red"),
            (14, 42, "orange"),
            (42, 68, "yellow"),
            (68, 165, "green"),
            (165, 192, "cyan"),
            (192, 255, "blue"),
            (255, 292, "purple"),
            (292, 343, "pink"),
            (343, 361, "red"),
        ):
            lab[(h >= lo) & (h < hi)] = CN.index(nm)
        lab[(h >= 8) & (h < 45) & (mx < 0.68)] = CN.index("brown")
        lab[((h >= 330) | (h < 14)) & (sat < 0.5) & (mx > 0.8)] = CN.index("pink")
        lab[sat < 0.14] = CN.index("gray")
        lab[(sat < 0.12) & (mx > 0.82)] = CN.index("white")
        lab[mx < 0.24] = CN.index("black")
        c = np.bincount(lab, minlength=len(CN))
        if c.max() > 0.55 * len(p):
            out[i] = c.argmax()
    return out
