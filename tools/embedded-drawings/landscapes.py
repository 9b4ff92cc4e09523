"""Landscapes that the procedural scenes have not: drawn by polygons, each one by its own chances."""

import math
import random

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

S = 256  # drawn at, before they are made small
SKIES = [((70, 140, 230), (200, 230, 255)), ((40, 110, 210), (170, 215, 250)), ((120, 180, 240), (235, 240, 250))]
DAWN = [((250, 140, 90), (255, 220, 130)), ((190, 120, 190), (255, 190, 140)), ((110, 130, 210), (255, 200, 150))]
GREENS = [(70, 150, 60), (100, 175, 70), (130, 190, 80), (60, 130, 70), (90, 160, 90)]


def mix(a, b, t):
    return tuple(int(round(x + (y - x) * t)) for x, y in zip(a, b))


class Scene:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def sky(self, colours):
        top, low = self.r.choice(colours)
        t = np.linspace(0, 1, S)[:, None, None]
        x = np.array(top) + (np.array(low) - np.array(top)) * np.broadcast_to(t, (S, S, 1))
        self.im = Image.fromarray(x.round().astype(np.uint8))
        self.d = ImageDraw.Draw(self.im)

    def clouds(self, n=None, colour=(255, 255, 255)):
        r = self.r
        for _ in range(r.randint(1, 3) if n is None else n):
            x, y, w = r.uniform(0, S), r.uniform(12, 75), r.uniform(18, 32)
            for k in range(4):
                cx, h = x + (k - 1.5) * w * 0.7, w * r.uniform(0.5, 0.8)
                self.d.ellipse((cx - h, y - h * 0.7, cx + h, y + h * 0.5), fill=colour)

    def sun(self, x, y, rad, colour=(255, 225, 90)):
        self.d.ellipse((x - rad, y - rad, x + rad, y + rad), fill=colour)

    def ridge(self, base, rough, colour, waves=3, jag=False):
        """Ground below a line about `base`; returns the line's heights."""
        r = self.r
        if jag:
            xs = sorted([0, S] + [r.uniform(0, S) for _ in range(waves * 2)])
            pts = [(x, base + (rough if i % 2 else -rough) * r.uniform(0.5, 1)) for i, x in enumerate(xs)]
            line = np.interp(np.arange(S), *zip(*pts))
        else:
            x = np.arange(S) / S
            parts = [(rough / k) * r.uniform(0.4, 1) * np.sin(2 * math.pi * (k * 0.8 * x + r.random())) for k in range(1, waves + 1)]
            line = base + sum(parts)
        self.d.polygon([(0, S), *enumerate(line), (S, S)], fill=colour)
        return line

    def peaks(self, base, n, height, snow=True):
        r = self.r
        for k in range(n):
            x, h, w = S * (k + r.uniform(0.2, 0.8)) / n, height * r.uniform(0.7, 1.15), S / n * r.uniform(0.6, 0.9)
            c = mix((110, 115, 140), (90, 100, 110), r.random())
            top = (x, base - h)
            self.d.polygon([(x - w, base), top, (x + w, base)], fill=c)
            self.d.polygon([(x, base), top, (x + w, base)], fill=mix(c, (40, 45, 70), 0.35))
            if snow:
                q = 0.3
                edge = [(x - w * q, base - h * (1 - q)), (x - w * q * 0.4, base - h * (1 - q * 0.75)), (x, base - h * (1 - q * 1.1))]
                edge += [(x + w * q * 0.5, base - h * (1 - q * 0.75)), (x + w * q, base - h * (1 - q))]
                self.d.polygon([top, *edge], fill=(250, 250, 255))

    def pine(self, x, y, h, colour, snow=False):
        self.d.rectangle((x - h * 0.04, y - h * 0.2, x + h * 0.04, y), fill=(95, 65, 45))
        for k in range(3):
            w, lo, hi = h * (0.3 - 0.07 * k), y - h * (0.14 + 0.25 * k), y - h * (0.55 + 0.225 * k)
            self.d.polygon([(x - w, lo), (x, hi), (x + w, lo)], fill=colour)
            if snow:
                self.d.polygon([(x - w * 0.55, (lo + hi) / 2 + h * 0.02), (x, hi), (x + w * 0.55, (lo + hi) / 2 + h * 0.02)], fill=(248, 250, 255))

    def round_tree(self, x, y, h, colour):
        r = self.r
        self.d.rectangle((x - h * 0.06, y - h * 0.45, x + h * 0.06, y), fill=(105, 72, 45))
        for _ in range(5):
            cx, cy, w = x + h * r.uniform(-0.2, 0.2), y - h * r.uniform(0.5, 0.8), h * r.uniform(0.16, 0.25)
            self.d.ellipse((cx - w, cy - w, cx + w, cy + w), fill=mix(colour, (20, 60, 20), r.uniform(0, 0.25)))

    def trees(self, n, near, far, snow=False, kinds="pr"):
        r = self.r
        for y in sorted(r.uniform(far, near) for _ in range(n)):
            t = (y - far) / (near - far + 1)
            h = 26 + 70 * t
            x = r.uniform(0, S)
            c = (45 + r.randint(0, 30), 105 + r.randint(0, 40), 55)
            if snow or r.choice(kinds) == "p":
                self.pine(x, y, h, mix(c, (25, 70, 55), 0.5), snow)
            else:
                self.round_tree(x, y, h, c)

    def band(self, points, colour):
        """A band through points (x, y, half its width), smooth."""
        x, y, w = (np.array(v, float) for v in zip(*points))
        t, s = np.linspace(0, 1, len(points)), np.linspace(0, 1, 60)
        u = (1 - np.cos(np.pi * ((s * (len(points) - 1)) % 1))) / 2
        i = np.minimum((s * (len(points) - 1)).astype(int), len(points) - 2)
        u = np.where(s == 1, 1, u)
        X, Y, W = x[i] + (x[i + 1] - x[i]) * u, np.interp(s, t, y), np.interp(s, t, w)
        self.d.polygon([*zip(X - W, Y), *zip((X + W)[::-1], Y[::-1])], fill=colour)

    def water(self, y0, y1, colour, light):
        for y in range(int(y0), int(y1)):
            self.d.line((0, y, S, y), fill=mix(light, colour, (y - y0) / max(1, y1 - y0)))
        for _ in range(40):
            y = self.r.uniform(y0 + 3, y1)
            w, x = 4 + 22 * (y - y0) / (S - y0 + 1), self.r.uniform(0, S)
            self.d.line((x - w, y, x + w, y), fill=mix(light, (255, 255, 255), 0.35), width=2)

    def small(self, side):
        return self.im.filter(ImageFilter.GaussianBlur(0.6)).resize((side, side), Image.BOX)


def hills(s):
    s.sky(SKIES)
    if s.r.random() < 0.5:
        s.sun(s.r.uniform(30, 226), s.r.uniform(25, 60), s.r.uniform(14, 22))
    s.clouds()
    base = s.r.uniform(110, 140)
    for k in range(4):
        s.ridge(base + 32 * k, 22, mix(s.r.choice(GREENS), (190, 215, 230), 0.45 - 0.15 * k))
    if s.r.random() < 0.7:
        s.trees(s.r.randint(2, 6), 235, 190, kinds="r")


def river(s):
    hills_far(s)
    r = s.r
    h = r.uniform(115, 135)
    s.ridge(h, 6, r.choice(GREENS))
    x = r.uniform(90, 170)
    side = r.choice((-1, 1))
    p = [(x, h + 6, 4), (x + side * 45, h + 38, 11), (x - side * 30, h + 78, 24), (128 + side * 20, S + 8, r.uniform(45, 70))]
    s.band([(a, b, w + 4) for a, b, w in p], (200, 190, 140))
    s.band(p, r.choice([(60, 140, 220), (80, 165, 225), (50, 120, 190)]))
    for y in sorted(r.uniform(h + 10, 235) for _ in range(9)):
        t = (y - h) / (S - h)
        x = r.choice((r.uniform(0, 90 - 70 * t), r.uniform(170 + 70 * t, S)))
        s.pine(x, y, 26 + 50 * t, (40, 100, 60)) if r.random() < 0.6 else s.round_tree(x, y, 26 + 45 * t, (60, 130, 60))


def hills_far(s):
    s.sky(SKIES)
    s.clouds()
    base = 135
    if s.r.random() < 0.6:
        s.peaks(base, s.r.randint(2, 4), s.r.uniform(55, 85))
    else:
        s.ridge(s.r.uniform(95, 110), 16, (120, 165, 130))
        s.ridge(s.r.uniform(112, 122), 12, (95, 155, 95))


def lake(s):
    s.sky(SKIES)
    s.clouds()
    y = s.r.randint(125, 145)
    s.peaks(y, s.r.randint(2, 4), s.r.uniform(60, 95))
    s.ridge(y - 8, 5, (55, 115, 70))
    top = s.im.crop((0, 0, S, y)).transpose(Image.FLIP_TOP_BOTTOM).resize((S, S - y))
    s.im.paste(Image.blend(top, Image.new("RGB", top.size, (50, 115, 185)), 0.55), (0, y))
    s.d = ImageDraw.Draw(s.im)
    for _ in range(25):
        x, q = s.r.uniform(0, S), s.r.uniform(y + 6, S)
        s.d.line((x - 14, q, x + 14, q), fill=(150, 195, 230), width=2)
    s.ridge(s.r.uniform(228, 240), 10, s.r.choice(GREENS))
    for _ in range(s.r.randint(1, 4)):
        s.pine(s.r.choice((s.r.uniform(0, 70), s.r.uniform(186, S))), 248, s.r.uniform(80, 130), (35, 90, 60))


def road(s):
    hills_far(s)
    r = s.r
    h = 130
    s.ridge(h, 3, r.choice(GREENS + [(205, 180, 110)]))
    x, bend = r.uniform(100, 156), r.uniform(-40, 40)
    p = [(x, h + 2, 3), (x + bend, h + 45, 20), (128, S + 6, 95)]
    s.band([(a, b, w * 1.12) for a, b, w in p], (225, 220, 200))
    s.band(p, r.choice([(85, 85, 92), (100, 100, 105), (70, 72, 80)]))
    ys = [h + 14, h + 24, h + 36, h + 52, h + 74, h + 102, S]
    for a, b in zip(ys[::2], ys[1::2]):
        f = lambda y: (np.interp(y, [h + 2, h + 45, S + 6], [x, x + bend, 128]), np.interp(y, [h, S], [0.8, 5]))
        (x0, w0), (x1, w1) = f(a), f(b)
        s.d.polygon([(x0 - w0, a), (x0 + w0, a), (x1 + w1, b), (x1 - w1, b)], fill=(250, 240, 200))


def waterfall(s):
    r = s.r
    s.sky(SKIES)
    s.clouds(1)
    top, pool, x, w = r.uniform(55, 85), r.uniform(190, 210), r.uniform(95, 160), r.uniform(20, 36)
    rock = r.choice([(110, 105, 105), (125, 105, 85), (95, 105, 110)])
    s.ridge(top, 9, rock, 4)
    for _ in range(70):
        a, b, k = r.uniform(0, S), r.uniform(top + 12, pool), r.uniform(6, 22)
        s.d.polygon([(a - k, b), (a, b - k * 0.7), (a + k, b + k * 0.2), (a, b + k * 0.6)], fill=mix(rock, r.choice([(50, 50, 55), (165, 160, 150)]), 0.3))
    for k in range(30):
        a = r.choice((r.uniform(0, x - w), r.uniform(x + w, S)))
        q = r.uniform(8, 15)
        s.d.ellipse((a - q, top - q * 0.8, a + q, top + q), fill=mix((60, 130, 60), (30, 90, 45), r.random()))
    s.d.polygon([(x - w * 0.8, top), (x + w * 0.8, top), (x + w * 1.15, pool + 8), (x - w * 1.15, pool + 8)], fill=(225, 240, 252))
    for _ in range(16):
        a = r.uniform(x - w * 0.8, x + w * 0.8)
        s.d.line((a, top + r.uniform(0, 40), x + (a - x) * 1.3, pool - r.uniform(0, 40)), fill=r.choice([(150, 200, 235), (255, 255, 255), (180, 215, 240)]), width=r.randint(3, 6))
    s.d.rectangle((0, pool, S, S), fill=(60, 140, 190))
    for _ in range(12):
        a, b, k = x + r.uniform(-w * 1.5, w * 1.5), pool + r.uniform(-6, 10), r.uniform(8, 16)
        s.d.ellipse((a - k, b - k * 0.6, a + k, b + k * 0.6), fill=(245, 250, 255))
    for _ in range(16):
        a, b = r.uniform(0, S), r.uniform(pool + 14, S)
        s.d.line((a - 18, b, a + 18, b), fill=(140, 195, 225), width=3)
    for e in (0, S):
        for _ in range(7):
            k = r.uniform(12, 26)
            a, b = abs(e - r.uniform(0, 50)), r.uniform(pool - 10, S)
            s.d.ellipse((a - k, b - k, a + k, b + k), fill=mix((60, 140, 60), (25, 85, 45), r.random()))


def snow(s):
    s.sky([((150, 190, 230), (230, 240, 250)), ((120, 165, 215), (245, 235, 235)), ((90, 140, 205), (215, 230, 245))])
    if s.r.random() < 0.5:
        s.peaks(140, s.r.randint(2, 4), 70)
    s.ridge(s.r.uniform(125, 145), 14, (215, 228, 243))
    s.ridge(s.r.uniform(150, 170), 14, (235, 242, 250))
    s.trees(s.r.randint(5, 11), 225, 150, snow=True)
    s.ridge(s.r.uniform(222, 238), 8, (250, 252, 255))


def forest(s):
    s.sky([((130, 190, 150), (190, 220, 170)), ((90, 150, 130), (160, 200, 160)), ((150, 200, 230), (200, 225, 200))])
    r = s.r
    for k in range(3):
        y = 120 + 38 * k
        s.ridge(y, 6, mix((40, 105, 55), (130, 180, 140), 0.5 - 0.25 * k))
        for _ in range(9):
            h = r.uniform(75, 120)
            c = mix((35, 95, 50), (120, 175, 130), 0.5 - 0.25 * k)
            s.pine(r.uniform(0, S), y + 12, h, c) if r.random() < 0.55 else s.round_tree(r.uniform(0, S), y + 12, h, c)
    s.ridge(228, 6, (55, 120, 50))
    for _ in range(3):
        a, w = r.choice((r.uniform(0, 80), r.uniform(176, S))), r.uniform(8, 14)
        s.d.rectangle((a - w, 0, a + w, 240), fill=(80, 58, 42))
    for _ in range(26):
        a, b, k = r.uniform(0, S), r.uniform(-10, 24), r.uniform(14, 26)
        s.d.ellipse((a - k, b - k, a + k, b + k), fill=mix((40, 110, 45), (90, 160, 70), r.random()))


def sea(s):
    s.sky(SKIES)
    s.clouds()
    y = s.r.uniform(95, 140)
    s.water(y, S, s.r.choice([(15, 75, 150), (10, 95, 150), (20, 60, 130)]), s.r.choice([(80, 165, 220), (100, 190, 215)]))


# the sky from top to horizon, the sun, the water
DUSK = [
    ([(60, 30, 100), (190, 60, 100), (250, 130, 60), (255, 205, 90)], (255, 240, 150), (60, 30, 90)),
    ([(30, 40, 100), (130, 60, 130), (240, 100, 80), (255, 180, 90)], (255, 220, 120), (30, 40, 100)),
    ([(150, 30, 50), (225, 70, 40), (250, 140, 40), (255, 215, 80)], (255, 250, 190), (90, 25, 50)),
    ([(90, 110, 190), (220, 150, 180), (255, 180, 120), (255, 225, 150)], (255, 120, 70), (60, 80, 150)),
    ([(20, 20, 60), (80, 30, 90), (200, 60, 70), (255, 150, 60)], (255, 90, 50), (20, 20, 60)),
]


def sunset(s):
    r = s.r
    stops, sun, water = r.choice(DUSK)
    horizon = r.uniform(120, 175)
    t = np.clip(np.arange(S) / horizon, 0, 1) * (len(stops) - 1)
    rows = np.stack([np.interp(t, range(len(stops)), [c[k] for c in stops]) for k in range(3)], -1)
    s.im = Image.fromarray(np.repeat(rows[:, None].round().astype(np.uint8), S, 1))
    s.d = ImageDraw.Draw(s.im)
    for _ in range(r.randint(2, 5)):
        y, x, w = r.uniform(20, horizon - 30), r.uniform(0, S), r.uniform(40, 110)
        lit = mix(stops[-1], stops[1], r.uniform(0.2, 0.8))
        for k in range(3):
            a, b, h = x + r.uniform(-30, 30), y + 5 * k, r.uniform(3, 7)
            s.d.ellipse((a - w * 0.7, b - h, a + w * 0.7, b + h), fill=lit)
    x, rad = r.uniform(60, 196), r.uniform(24, 46)
    y = horizon - rad * r.uniform(-0.2, 1.1)
    for k in range(4, 0, -1):
        s.sun(x, y, rad + 9 * k, mix(sun, stops[2], 0.3 + 0.15 * k))
    s.sun(x, y, rad, sun)
    for row in range(int(horizon), S):
        s.d.line((0, row, S, row), fill=mix(mix(stops[2], water, 0.55), water, (row - horizon) / (S - horizon)))
    for k in range(16):
        q = horizon + 4 + k * (S - horizon) / 16
        w = (0.5 + 0.06 * k) * rad * r.uniform(0.5, 1.3)
        shift = r.uniform(-6, 6)
        s.d.line((x - w + shift, q, x + w + shift, q), fill=mix(sun, stops[2], r.uniform(0, 0.6)), width=r.randint(3, 6))
    kind = r.choice(["none", "hills", "boat", "island", "none"])
    dark = mix(water, (10, 5, 20), 0.6)
    if kind == "hills":
        side = r.choice([0, S])
        for k in range(3):
            s.d.ellipse((side - 90 + 30 * k, horizon - 34 + 9 * k, side + 90 + 30 * k, horizon + 34 - 9 * k), fill=dark)
        s.d.rectangle((0, horizon + 3, S, horizon + 36), fill=mix(stops[2], water, 0.6))
        for k in range(4):
            s.d.line((x - rad * 0.6, horizon + 8 + 8 * k, x + rad * 0.6, horizon + 8 + 8 * k), fill=sun, width=4)
    elif kind == "boat":
        u = x + r.choice([-1, 1]) * r.uniform(40, 70)
        v, m = horizon + r.uniform(6, 20), r.uniform(26, 40)
        s.d.polygon([(u - m * 0.6, v), (u + m * 0.6, v), (u + m * 0.4, v + m * 0.22), (u - m * 0.4, v + m * 0.22)], fill=dark)
        s.d.polygon([(u, v - 3), (u, v - m * 1.3), (u + m * 0.5, v - 3)], fill=dark)
        s.d.polygon([(u - 3, v - 3), (u - 3, v - m), (u - m * 0.4, v - 3)], fill=dark)
    elif kind == "island":
        u, w = r.choice([30, 226]), r.uniform(50, 80)
        s.d.ellipse((u - w, horizon - 14, u + w, horizon + 16), fill=dark)
        s.d.line((u, horizon - 8, u + 10, horizon - 70), fill=dark, width=6)
        for a in (-2.9, -2.3, -1.6, -0.8, -0.2):
            s.d.line((u + 10, horizon - 70, u + 10 + 34 * math.cos(a), horizon - 66 + 20 * math.sin(a)), fill=dark, width=6)


def sunrise(s):
    s.sky(DAWN)
    y, x, rad = s.r.uniform(135, 165), s.r.uniform(70, 186), s.r.uniform(28, 44)
    s.clouds(2, (255, 225, 200))
    s.sun(x, y - rad * s.r.uniform(0, 0.5), rad, (255, 240, 150))
    if s.r.random() < 0.5:
        s.water(y, S, (90, 110, 170), (250, 190, 140))
        for k in range(12):
            q = y + 6 + k * (S - y) / 12
            w = 10 + 2.5 * k * s.r.uniform(0.5, 1.5)
            s.d.line((x - w, q, x + w, q), fill=(255, 235, 170), width=4)
    else:
        for k in range(3):
            s.ridge(y + 6 + 28 * k, 16, mix((110, 90, 120), (45, 75, 55), k / 2))


def city(s):
    s.sky(SKIES)
    s.clouds()
    r = s.r
    for row in range(2):
        x = -r.uniform(0, 20)
        while x < S:
            w, h = r.uniform(24, 44), r.uniform(70, 165) * (1 if row == 0 else 0.7)
            c = r.choice([(120, 140, 165), (150, 150, 160), (170, 140, 120), (100, 125, 150), (185, 175, 160)])
            c = mix(c, (190, 215, 235), 0.45) if row == 0 else c
            s.d.rectangle((x, S - 16 - h, x + w, S), fill=c)
            for a in range(int(x) + 5, int(x + w) - 6, 9):
                for b in range(int(S - 10 - h), S - 20, 13):
                    s.d.rectangle((a, b, a + 5, b + 7), fill=mix(c, (40, 60, 90), 0.5))
            x += w + r.uniform(0, 5)
    s.d.rectangle((0, S - 16, S, S), fill=(90, 95, 100))


def rainbow(s):
    s.sky(SKIES)
    s.clouds(1)
    x, y, rad = s.r.uniform(90, 170), s.r.uniform(170, 210), s.r.uniform(95, 135)
    for k, c in enumerate([(230, 60, 60), (245, 145, 50), (250, 220, 70), (80, 185, 90), (70, 130, 225), (130, 80, 190)]):
        q = rad - 7 * k
        s.d.arc((x - q, y - q, x + q, y + q), 180, 360, fill=c, width=8)
    for k in range(3):
        s.ridge(165 + 26 * k, 16, mix(s.r.choice(GREENS), (40, 100, 50), 0.15 * k))


def moonscape(s):
    s.im = Image.new("RGB", (S, S), (6, 8, 20))
    s.d = ImageDraw.Draw(s.im)
    r = s.r
    for _ in range(70):
        a, b = r.uniform(0, S), r.uniform(0, 160)
        s.d.ellipse((a - 1.5, b - 1.5, a + 1.5, b + 1.5), fill=(255, 255, 240))
    a, b, k = r.uniform(60, 196), r.uniform(45, 75), r.uniform(22, 32)
    s.sun(a, b, k, (60, 120, 210))
    for _ in range(4):
        q = k * 0.35
        u, v = a + r.uniform(-k, k) * 0.5, b + r.uniform(-k, k) * 0.5
        s.d.ellipse((u - q, v - q * 0.6, u + q, v + q * 0.6), fill=r.choice([(90, 165, 90), (240, 245, 250)]))
    s.ridge(150, 14, (120, 120, 125))
    s.ridge(175, 12, (155, 155, 158))
    for _ in range(9):
        u, v = r.uniform(0, S), r.uniform(190, 250)
        w = (v - 160) * r.uniform(0.2, 0.45)
        s.d.ellipse((u - w, v - w * 0.4, u + w, v + w * 0.4), fill=(105, 105, 110))
        s.d.ellipse((u - w * 0.9, v - w * 0.25, u + w * 0.9, v + w * 0.4), fill=(135, 135, 140))


def wheat(s):
    s.sky(SKIES)
    s.clouds()
    r = s.r
    h = r.uniform(120, 145)
    s.ridge(h - 8, 6, (90, 150, 80))
    s.ridge(h, 3, (215, 175, 70))
    for _ in range(900):
        y = h + (S - h) * r.random() ** 0.7
        t = (y - h) / (S - h)
        x = r.uniform(0, S)
        s.d.line((x, y, x + r.uniform(-3, 3), y - 4 - 16 * t), fill=r.choice([(235, 200, 95), (195, 150, 55), (245, 215, 120)]), width=1 + int(2 * t))


def pictures(kind, number, side, seed):
    result = []
    for k in range(number):
        s = Scene(f"{seed} {k}")
        kind(s)
        result.append(s.small(side))
    return result
