#!/usr/bin/env python3
"""Captioned pictures to train on, composed on the device: things of the embedded drawings on plain grounds and in places.

    compose.py --places places.pt --sheet sheet.png

A thing, in its own colours or in one that the caption names; two things, one beside, on or under the other; two to four of one thing;
or a place alone.
"""

import argparse
import io
import json
import math
import random
import sys

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from parts import CRATES, SIDE, TOOLS

sys.path[:0] = [str(TOOLS / "embedded-drawings"), str(TOOLS / "embedded-clip")]
from scenes import PLACES  # noqa: E402

# of a drawing in the bank
ATLAS = 64
COLOURS = dict(
    red=(220, 30, 30), orange=(245, 140, 20), yellow=(250, 215, 30), green=(40, 160, 60), blue=(40, 90, 220), purple=(130, 50, 180),
    pink=(245, 130, 180), brown=(120, 75, 40), black=(25, 25, 28), white=(245, 245, 245), grey=(128, 128, 128), turquoise=(40, 190, 190),
)
# what most people ask for first; drawn more often than the others
COMMON = """cat, dog, horse, cow, pig, sheep, elephant, giraffe, lion, tiger, bear, panda, rabbit, mouse, fox, wolf, monkey, deer, unicorn, chicken,
rooster, bird, owl, duck, swan, flamingo, peacock, parrot, penguin, eagle, frog, turtle, crocodile, snake, dragon, dinosaur, fish, tropical fish, shark, whale,
dolphin, octopus, jellyfish, crab, snail, butterfly, bee, ladybug, spider, tree, pine tree, palm tree, cactus, flower, rose, tulip, sunflower, leaf, mushroom,
apple, pear, orange, lemon, banana, grapes, watermelon, strawberry, cherry, pineapple, tomato, carrot, corn, pumpkin, bread, cheese, egg, hamburger, pizza,
ice cream, doughnut, cookie, cake, birthday cake, cup of coffee, teapot, wine glass, beer, bottle, sun, moon, star, planet, earth, cloud, rainbow, snowflake,
snowman, lightning bolt, fire, volcano, car, taxi, bus, truck, tractor, bicycle, motorcycle, train, steam train, airplane, helicopter, hot air balloon, rocket,
flying saucer, sailboat, boat, ship, submarine, anchor, house, barn, castle, tower, lighthouse, windmill, church, pyramid, tent, chair, table, bed, door,
lamp, candle, light bulb, clock, umbrella, key, lock, bell, balloon, gift, hammer, axe, scissors, pencil, book, telescope, skull, robot, computer, telephone,
television, camera, sword, shield, crown, gem, ring, guitar, violin, piano, trumpet, drum, teddy bear, kite, soccer ball, hat, glasses, shirt, dress, shoe, boot,
man, woman, astronaut, pirate, knight, king, queen, clown, santa claus, angel, witch, wizard, mermaid, ghost, alien, christmas tree, heart, eye, hand, smiley""".replace("\n", " ")
# how much more often
OFTEN = 4.0
# grounds that a thing may stand in, as a caption says it: a source of PLACES, the words, and where things stand
GROUNDS = {
    "meadow": ("in a meadow", True), "hills": ("in the hills", True), "flowers": ("in a field of flowers", True), "wheat": ("in a wheat field", True),
    "snow": ("in the snow", True), "desert": ("in the desert", True), "sea": ("on the sea", True), "night": ("at night", True), "space": ("in space", False),
    "underwater": ("under water", False), "forest": ("in a forest", True), "beach": ("on the beach", True), "sunset": ("at sunset", True),
    "mountains": ("in the mountains", True), "sky": ("in the sky", False), "autumn": ("in an autumn forest", True), "lake": ("by a lake", True),
    "city": ("in a city", True), "grass": ("on the grass", True),
}  # fmt: skip
STYLES = ["a drawing of", "a picture of", "an illustration of", "a painting of", "an oil painting of", "a watercolor of", "a photo of", "a sketch of"]
NUMBERS = {2: "two", 3: "three", 4: "four"}
SAME = set("fish sheep deer bison salmon".split())
PAIRS = set("glasses sunglasses goggles scissors pants shorts underpants headphones binoculars pliers shears skis maracas bagpipes chopsticks pencils toys".split())
IRREGULAR = dict(leaf="leaves", knife="knives", wolf="wolves", goose="geese", mouse="mice", foot="feet", tooth="teeth", child="children", ox="oxen")


def art(name):
    if name.split()[-1] in PAIRS:
        return name
    return ("an " if name[0].lower() in "aeiou" else "a ") + name


def plural(name):
    last = name.split()[-1]
    if last in IRREGULAR:
        return name[: -len(last)] + IRREGULAR[last]
    if last in SAME or last.endswith("s") and not last.endswith("ss"):
        return name
    if last.endswith(("ch", "sh", "x", "ss", "z")):
        return name + "es"
    if last.endswith("y") and last[-2:-1] not in tuple("aeiou"):
        return name[:-1] + "ies"
    if last.endswith("man") and last != "talisman":
        return name[:-3] + "men"
    return name + "s"


class Bank:
    """The embedded drawings on the device, each centred in a square that its longer side fills, colours multiplied by opacity."""

    def __init__(self, device, folder=CRATES / "embedded-drawings/src"):
        index, blob, at = json.load(open(folder / "index.json")), open(folder / "drawings.bin", "rb").read(), 0
        pictures, extents, ranges, self.things, self.first = [], [], [], [], []
        for thing in index["things"]:
            self.first.append(len(pictures))
            for size in thing["drawings"]:
                image = Image.open(io.BytesIO(blob[at : at + size])).convert("RGBA")
                at += size
                k = ATLAS / max(image.size)
                w, h = (max(1, round(s * k)) for s in image.size)
                if k != 1:
                    image = image.resize((w, h), Image.BICUBIC)
                square = np.zeros((ATLAS, ATLAS, 4), np.uint8)
                x, y = (ATLAS - w) // 2, (ATLAS - h) // 2
                p = np.asarray(image)
                square[y : y + h, x : x + w] = np.concatenate([(p[..., :3] * (p[..., 3:] / 255.0)).round().astype(np.uint8), p[..., 3:]], -1)
                luma = p[..., :3] @ np.array([0.299, 0.587, 0.114]) / 255
                seen = luma[p[..., 3] > 128]
                ranges.append(np.quantile(seen, [0.1, 0.95]) if len(seen) else (0, 1))
                pictures.append(square)
                extents.append((w / ATLAS, h / ATLAS))
            self.things.append((thing["names"], len(thing["drawings"])))
        self.atlas = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous().to(device)
        self.ranges = torch.tensor(np.array(ranges), dtype=torch.float32, device=device)
        self.extents = extents
        common = set(COMMON.split(", "))
        self.weights = np.cumsum([OFTEN if names[0] in common else 1.0 for names, _ in self.things]).tolist()
        if unknown := common - {names[0] for names, _ in self.things}:
            print("not in the bank:", ", ".join(sorted(unknown)))


class Composer:
    def __init__(self, places, seed=1, device="cpu"):
        self.r, self.device, self.bank = random.Random(seed), device, Bank(device)
        self.g = torch.Generator(device).manual_seed(seed)
        z = torch.load(places)
        self.places = torch.from_numpy(np.stack([np.asarray(Image.open(io.BytesIO(f))) for f in z["files"]])).permute(0, 3, 1, 2).contiguous().to(device)
        self.by_line = {}
        for i, line in enumerate(z["lines"]):
            self.by_line.setdefault(line, []).append(i)
        self.lines = sorted(self.by_line)
        self.names = {i: [n.strip() for n in PLACES[i][1].split(",")] for i in self.lines}
        has = lambda i, kind: any(p.split()[0].rstrip("_") == kind for p in PLACES[i][0].split(", ") if ":" not in p)
        self.grounds = [(next(i for i in self.lines if has(i, kind)), said, stands) for kind, (said, stands) in GROUNDS.items()]
        self.colours = torch.tensor(list(COLOURS.values()), dtype=torch.float32, device=device) / 255

    def thing(self, coloured=0.25):
        """Numbers of a thing, of one of its drawings, and of its colour or -1; and what a caption calls it."""
        r = self.r
        k = r.choices(range(len(self.bank.things)), cum_weights=self.bank.weights)[0]
        names, _ = self.bank.things[k]
        name = names[0] if r.random() < 0.75 else r.choice(names)
        colour = r.randrange(len(COLOURS)) if r.random() < coloured else -1
        if colour >= 0:
            name = f"{list(COLOURS)[colour]} {name}"
        return k, self.drawing(k), colour, name

    def drawing(self, k):
        n = self.bank.things[k][1]
        # the first drawings are the plainest
        return self.bank.first[k] + min(int(self.r.random() ** 1.5 * n), n - 1)

    def inside(self, drawing, size, x, y):
        """A centre near x, y where the drawing does not leave the picture; from 0 to 1."""
        w, h = (size * e / 2 for e in self.bank.extents[drawing])
        return min(max(x, w), 1 - w) if w < 0.5 else 0.5, min(max(y, h), 1 - h) if h < 0.5 else 0.5

    def ground(self, colours, in_places=0.3, said=0.25):
        """Number of a place or -1, number of a colour or -1, the words for it, whether things stand on its ground."""
        r, chance = self.r, self.r.random()
        if chance < in_places:
            line, words, stands = r.choice(self.grounds)
            return r.choice(self.by_line[line]), -1, " " + words, stands
        if chance < in_places + said:
            colour = r.choice([c for c in range(len(COLOURS)) if c not in colours])
            name = list(COLOURS)[colour]
            words = r.choices([f" on a {name} background", f" on {name}", f" on a {name} field", f" on a {name} ground"], (6, 1, 1, 1))[0]
            return -1, colour, words.replace("a orange", "an orange"), False
        return -1, -1, "", False

    def one(self):
        r = self.r
        _, drawing, colour, name = self.thing()
        place, ground, words, stands = self.ground([colour])
        size = r.uniform(0.62, 0.92) * (0.8 if place >= 0 else 1)
        low = 1 - size * self.bank.extents[drawing][1] / 2
        x, y = self.inside(drawing, size, r.gauss(0.5, 0.08), low - (1 - size) * r.uniform(0.02, 0.25) if stands else r.gauss(0.5, 0.06))
        text = art(name) if r.random() < 0.88 else name
        return text + words, place, ground, [(drawing, colour, size, x, y)]

    def two(self):
        r = self.r
        (_, d1, c1, n1), (_, d2, c2, n2) = self.thing(0.3), self.thing(0.3)
        place, ground, words, stands = self.ground([c1, c2])
        e1, e2 = self.bank.extents[d1], self.bank.extents[d2]
        if r.random() < 0.75:
            link = r.choices([" and ", " beside ", " next to ", " with "], (5, 1, 1, 1))[0]
            s1, s2 = r.uniform(0.42, 0.54), r.uniform(0.42, 0.54)
            # both fill their halves better where they are tall
            s1, s2 = (min(s * 1.35, 0.52 / e[0], 0.9) if e[0] < 0.7 else s for s, e in ((s1, e1), (s2, e2)))
            y1, y2 = r.gauss(0.5, 0.06), r.gauss(0.5, 0.06)
            if stands:
                floor = r.uniform(0.82, 0.97)
                y1, y2 = floor - s1 * e1[1] / 2, floor - s2 * e2[1] / 2
            x1, x2 = (0.26, 0.74) if r.random() < 0.8 else (0.74, 0.26)
            x1, x2 = x1 + r.gauss(0, 0.02), x2 + r.gauss(0, 0.02)
        else:
            over = r.random() < 0.7
            link = r.choice([" on ", " on ", " on top of ", " over ", " above "] if over else [" under ", " below ", " beneath "])
            s1, s2 = r.uniform(0.4, 0.52), r.uniform(0.45, 0.6)
            s1, s2 = (min(s * 1.2, 0.5 / e[1], 0.9) if e[1] < 0.7 else s for s, e in ((s1, e1), (s2, e2)))
            s1, s2 = min(s1, 0.5 / e1[1]), min(s2, 0.5 / e2[1])
            x1 = r.gauss(0.5, 0.06)
            x2 = x1 + r.gauss(0, 0.03)
            upper, lower = ((s1, e1), (s2, e2)) if over else ((s2, e2), (s1, e1))
            total = upper[0] * upper[1][1] + lower[0] * lower[1][1]
            top = (1 - total) * r.uniform(0.3, 0.7)
            yu, yl = top + upper[0] * upper[1][1] / 2, top + total - lower[0] * lower[1][1] / 2
            y1, y2 = (yu, yl) if over else (yl, yu)
        a = (d1, c1, s1, *self.inside(d1, s1, x1, y1))
        b = (d2, c2, s2, *self.inside(d2, s2, x2, y2))
        return art(n1) + link + art(n2) + words, place, ground, [b, a]

    def several(self):
        r = self.r
        number = r.choices((2, 3, 4), (5, 4, 2))[0]
        k, drawing, colour, name = self.thing()
        place, ground, words, stands = self.ground([colour])
        cells = {2: [(0.26, 0.5), (0.74, 0.5)], 3: [(0.26, 0.28), (0.74, 0.28), (0.5, 0.74)], 4: [(0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)]}[number]
        if number == 3 and r.random() < 0.5:
            cells = [(0.18, 0.5), (0.5, 0.5), (0.82, 0.5)]
        row = len({y for _, y in cells}) == 1
        size = r.uniform(0.42, 0.5) if number < 4 else r.uniform(0.38, 0.46)
        if row:
            size = min(0.31 if number == 3 else 0.48, 0.9) / self.bank.extents[drawing][0]
            size = min(size, 0.85)
        same, layers = r.random() < 0.7, []
        for x, y in cells:
            d = drawing if same else self.drawing(k)
            s = size if same or not row else min(size, (0.31 if number == 3 else 0.48) / self.bank.extents[d][0])
            layers.append((d, colour, s, *self.inside(d, s, x + r.gauss(0, 0.015), (y + 0.2 if stands and row else y) + r.gauss(0, 0.02))))
        return f"{NUMBERS[number]} {plural(name)}{words}", place, ground, layers

    def place(self):
        r = self.r
        line = r.choice(self.lines)
        name = r.choice(self.names[line])
        return (name if r.random() < 0.6 else art(name)), r.choice(self.by_line[line]), -1, []

    @torch.no_grad()
    def paint(self, n):
        """-> n captions, pictures [n, 3, 96, 96] from 0 to 1, both in random order"""
        r = self.r
        kinds = r.choices([self.place, self.one, self.two, self.several], (18, 57, 18, 7), k=n)
        rows = [kind() for kind in kinds]
        texts = [f"{r.choice(STYLES)} {t}" if r.random() < 0.08 else t for t, *_ in rows]
        pictures = self.grounded(rows)
        for layer in range(max(len(layers) for *_, layers in rows)):
            which = [i for i, (*_, layers) in enumerate(rows) if len(layers) > layer]
            at = torch.tensor(which, device=self.device)
            pictures[at] = self.laid(pictures[at], [rows[i][3][layer] for i in which])
        return texts, F.avg_pool2d(pictures, 2)

    def random(self, n, k):
        return torch.rand(n, k, generator=self.g, device=self.device)

    def grounded(self, rows):
        """Grounds at twice the size: plain ones go from one colour to another, places are cut out and mirrored at random."""
        n, side = len(rows), 2 * SIDE
        colour = torch.tensor([g for _, _, g, _ in rows], device=self.device)
        bright = 0.35 + 0.65 * self.random(n, 1)
        unsaid = (bright + 0.27 * (2 * self.random(n, 3) - 1)).clamp(0, 1)
        base = torch.where(colour[:, None] >= 0, self.colours[colour.clamp_min(0)], unsaid)
        near = lambda k: (base + k * (2 * self.random(n, 3) - 1)).clamp(0, 1)
        one, two = near(0.06), near(0.06)
        two = torch.where(self.random(n, 1) < 0.4, near(0.18), two)
        t = torch.linspace(0, 1, side, device=self.device)[None, None, :, None]
        pictures = (one[..., None, None] + (two - one)[..., None, None] * t).expand(n, 3, side, side).contiguous()
        which = [i for i, (_, place, _, _) in enumerate(rows) if place >= 0]
        if which:
            at = torch.tensor(which, device=self.device)
            x = self.places[torch.tensor([rows[i][1] for i in which], device=self.device)].float() / 255
            k = 0.82 + 0.18 * self.random(len(which), 1)
            shift = (2 * self.random(len(which), 2) - 1) * (1 - k)
            flip = (self.random(len(which), 1) < 0.5).float() * 2 - 1
            zero = torch.zeros_like(k)
            theta = torch.stack([torch.cat([k * flip, zero, shift[:, :1]], 1), torch.cat([zero, k, shift[:, 1:]], 1)], 1)
            grid = F.affine_grid(theta, (len(which), 3, side, side), align_corners=False)
            pictures[at] = F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return pictures

    def laid(self, under, layers):
        n, side = len(layers), 2 * SIDE
        number, colour = (torch.tensor([layer[i] for layer in layers], device=self.device) for i in range(2))
        size, x, y = torch.tensor([layer[2:] for layer in layers], dtype=torch.float32, device=self.device).T
        angle = 0.1 * torch.randn(n, generator=self.g, device=self.device).clamp(-2, 2)
        flip = (self.random(n, 1)[:, 0] < 0.5).float() * 2 - 1
        cos, sin = angle.cos() / size, angle.sin() / size
        cx, cy = 2 * x - 1, 2 * y - 1
        theta = torch.stack(
            [torch.stack([flip * cos, flip * sin, -flip * (cos * cx + sin * cy)], 1), torch.stack([-sin, cos, sin * cx - cos * cy], 1)], 1
        )
        grid = F.affine_grid(theta, (n, 4, side, side), align_corners=False)
        p = F.grid_sample(self.bank.atlas[number].float() / 255, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        rgb, opacity = p[:, :3], p[:, 3:]
        tinted = self.tinted(rgb, opacity, number, self.colours[colour.clamp_min(0)])
        rgb = torch.where((colour >= 0)[:, None, None, None], tinted, rgb)
        return (rgb + under * (1 - opacity)).clamp(0, 1)

    def tinted(self, rgb, opacity, number, colour):
        """The drawing's light and dark in one colour."""
        low, high = self.bank.ranges[number].T[..., None, None, None]
        luma = (rgb * torch.tensor([0.299, 0.587, 0.114], device=self.device)[:, None, None]).sum(1, keepdim=True) / opacity.clamp_min(1e-3)
        t = ((luma - low) / (high - low + 0.05)).clamp(0, 1)
        base = colour[..., None, None]
        dark, light = base * 0.35, base + (1 - base) * 0.45
        return opacity * torch.where(t < 0.6, dark + (base - dark) * (t / 0.6), base + (light - base) * ((t - 0.6) / 0.4))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--places", required=True)
    ap.add_argument("--sheet", required=True)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    texts, x = Composer(a.places, a.seed).paint(96)
    x = (x * 255).round().byte().view(8, 12, 3, SIDE, SIDE).permute(0, 3, 1, 4, 2).reshape(8 * SIDE, 12 * SIDE, 3)
    Image.fromarray(x.numpy()).save(a.sheet)
    for i in range(8):
        print(" | ".join(texts[12 * i : 12 * i + 12]))


if __name__ == "__main__":
    main()
