#!/usr/bin/env python3
"""Captioned pictures to train on, as latents of the embedded VQGAN, rendered once.

    pictures.py --out RUN [--count 60000] [--seed 1] [--sheet sheet.png]

A thing of the embedded drawings on a plain ground or in a place, in its own colours or in one that the caption names; or a place alone.
RUN/pictures-SEED.pt holds latents [count, 2, 8, 12, 12] in half precision, of each picture and of its mirror image, and for each the number of its
caption; RUN/captions.pt the captions of all, and what the embedded CLIP's text tower makes of them, [captions, 32, 128].
"""

import argparse
import io
import json
import os
import random
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

TOOLS = Path(__file__).resolve().parents[1]
CRATES = TOOLS.parent / "crates"
sys.path[:0] = [str(TOOLS / "embedded-drawings"), str(TOOLS / "embedded-clip")]
import landscapes as land  # noqa: E402
from scenes import PLACES, SCENES  # noqa: E402
from synth import natural  # noqa: E402

SIDE = 96
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
# grounds that a thing may stand in, as a caption says it
GROUNDS = {
    "meadow": "in a meadow", "hills": "in the hills", "flowers": "in a field of flowers", "wheat": "in a wheat field", "snow": "in the snow", "desert": "in the desert",
    "sea": "on the sea", "night": "at night", "space": "in space", "underwater": "under water", "forest": "in a forest", "beach": "on the beach", "sunset": "at sunset",
    "mountains": "in the mountains", "sky": "in the sky", "autumn": "in an autumn forest", "lake": "by a lake", "city": "in a city",
}  # fmt: skip


def art(name):
    return ("an " if name[0].lower() in "aeiou" else "a ") + name


class Bank:
    """The embedded drawings."""

    def __init__(self, folder=CRATES / "embedded-drawings/src"):
        index, blob, at = json.load(open(folder / "index.json")), open(folder / "drawings.bin", "rb").read(), 0
        self.things = []
        for thing in index["things"]:
            drawings = []
            for size in thing["drawings"]:
                drawings.append(Image.open(io.BytesIO(blob[at : at + size])).convert("RGBA"))
                at += size
            self.things.append((thing["names"], drawings))
        common = set(COMMON.split(", "))
        self.weights = [10.0 if names[0] in common else 1.0 for names, _ in self.things]
        if unknown := common - {names[0] for names, _ in self.things}:
            print("not in the bank:", ", ".join(sorted(unknown)))


class Painter:
    def __init__(self, seed):
        self.r, self.seed, self.bank, self.ready = random.Random(seed), seed, Bank(), {}
        torch.manual_seed(seed)
        self.number = 0

    def natural(self, kind):
        if not self.ready.get(kind):
            x = torch.nn.functional.avg_pool2d(natural(kind, 16, 2 * SIDE, "cpu"), 2).clamp(0, 1)
            self.ready[kind] = list((x.permute(0, 2, 3, 1) * 255).round().byte().numpy())
        return Image.fromarray(self.ready[kind].pop())

    def drawn(self, kind):
        scene = land.Scene(f"{self.seed} {self.number}")
        getattr(land, kind)(scene)
        return scene.small(SIDE)

    def place(self, sources):
        """A picture by one of the sources of a line of PLACES that are drawn."""
        kinds, numbers = zip(*(s.split() for s in sources))
        kind = self.r.choices(kinds, [int(n) for n in numbers])[0]
        if kind.endswith("_") or kind not in SCENES:
            return self.drawn(kind.rstrip("_"))
        return self.natural(kind)

    def plain(self, colour):
        """Even or from one brightness to another, near a colour."""
        near = lambda c, k: np.clip(np.array(c) + self.r.uniform(-k, k), 0, 255)
        one, two = near(colour, 15), near(colour, 45 if self.r.random() < 0.4 else 15)
        t = np.linspace(0, 1, SIDE)[:, None, None]
        return Image.fromarray(np.broadcast_to(one + (two - one) * t, (SIDE, SIDE, 3)).round().astype(np.uint8))

    def thing(self):
        """A drawing, its name, and the colour it was given or nothing."""
        r = self.r
        names, drawings = r.choices(self.bank.things, self.bank.weights)[0]
        # the first drawings are the plainest
        image = drawings[min(int(r.random() ** 1.7 * len(drawings)), len(drawings) - 1)]
        name = names[0] if r.random() < 0.75 else r.choice(names)
        if r.random() > 0.2:
            return image, name, None
        colour = r.choice(list(COLOURS))
        return tinted(image, COLOURS[colour]), name, colour

    def paint(self):
        """-> a caption, a picture"""
        self.number += 1
        r = self.r
        if r.random() < 0.25:
            while True:
                sources, names = r.choice(PLACES)
                sources = [s for s in sources.split(", ") if ":" not in s]
                if sources:
                    break
            name = r.choice([n.strip() for n in names.split(",")])
            return (name if r.random() < 0.6 else art(name)), self.place(sources)
        image, name, colour = self.thing()
        text = art(f"{colour} {name}" if colour else name)
        if r.random() < 0.12:
            text = f"{colour} {name}" if colour else name
        kind, chance = None, r.random()
        if chance < 0.3:
            kind, said = r.choice(list(GROUNDS.items()))
            sources = next(s for s, _ in PLACES if any(p.split()[0].rstrip("_") == kind for p in s.split(", ") if ":" not in p))
            ground = self.place([s for s in sources.split(", ") if ":" not in s])
            text = f"{text} {said}"
        elif chance < 0.55:
            said = r.choice([c for c in COLOURS if c != colour])
            ground, text = self.plain(COLOURS[said]), f"{text} on a {said} background"
        else:
            bright = r.uniform(90, 255)
            ground = self.plain([min(255, max(0, bright + r.uniform(-70, 70))) for _ in range(3)])
        k = r.uniform(0.62, 0.9) * SIDE / max(image.size)
        if kind:
            k *= 0.8
        image = image.resize([max(1, round(s * k)) for s in image.size], Image.BICUBIC)
        spare = [SIDE - s for s in image.size]
        x, y = (round(s * min(1, max(0, r.gauss(0.5, 0.15)))) for s in spare)
        if kind and kind not in ("space", "sky", "underwater"):
            y = round(spare[1] * r.uniform(0.75, 0.95))
        ground.paste(image, (x, y), image)
        return text, ground


def tinted(image, colour):
    """The drawing's light and dark in one colour."""
    p = np.asarray(image).astype(np.float32) / 255
    y = p[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32)
    seen = y[p[..., 3] > 0.5]
    low, high = np.quantile(seen, [0.1, 0.95]) if len(seen) else (0, 1)
    t = np.clip((y - low) / (high - low + 0.05), 0, 1)[..., None]
    base = np.array(colour, np.float32) / 255
    dark, light = base * 0.35, base + (1 - base) * 0.45
    rgb = np.where(t < 0.6, dark + (base - dark) * (t / 0.6), base + (light - base) * ((t - 0.6) / 0.4))
    return Image.fromarray((np.concatenate([rgb, p[..., 3:]], -1) * 255).round().astype(np.uint8), "RGBA")


def encoder():
    from diffusers import VQModel
    from safetensors.torch import load_file

    folder = CRATES / "embedded-vqgan/src"
    model = VQModel(**{k: v for k, v in json.load(open(folder / "config.json")).items() if not k.startswith("_")})
    model.load_state_dict({k: v.float() for k, v in load_file(folder / "diffusion_pytorch_model.safetensors").items()})
    return model.eval().requires_grad_(False)


class Text:
    """The embedded CLIP's text tower: the states of all 32 tokens after its last normalisation."""

    def __init__(self, folder=CRATES / "clip/src/embedded"):
        from transformers import CLIPTextModel, PreTrainedTokenizerFast

        self.model = CLIPTextModel.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
        end = "<|endoftext|>"
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{folder}/tokenizer.json", eos_token=end, pad_token=end, unk_token=end)

    @torch.no_grad()
    def __call__(self, texts):
        ids = self.tokenizer(texts, padding="max_length", truncation=True, max_length=32, return_tensors="pt").input_ids
        return torch.cat([self.model(input_ids=i).last_hidden_state for i in ids.split(256)])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--out", required=True)
    ap.add_argument("--count", type=int, default=60000)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--sheet")
    a = ap.parse_args()
    os.makedirs(a.out, exist_ok=True)
    painter, model, t0 = Painter(a.seed), encoder(), time.time()
    path = f"{a.out}/captions.txt"
    captions = {c: i for i, c in enumerate(open(path).read().split("\n"))} if os.path.exists(path) else {"": 0}
    numbers, latents, first = [], [], []
    while len(numbers) < a.count:
        rows = [painter.paint() for _ in range(min(50, a.count - len(numbers)))]
        numbers += [captions.setdefault(text, len(captions)) for text, _ in rows]
        x = torch.from_numpy(np.stack([np.asarray(p)[..., :3] for _, p in rows])).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            z = [model.quant_conv(model.encoder(y.contiguous(memory_format=torch.channels_last))) for y in (x, x.flip(-1))]
        latents.append(torch.stack(z, 1).half())
        if len(first) < 96:
            first += [p for _, p in rows]
            if a.sheet and len(first) >= 96:
                sheet = Image.new("RGB", (12 * SIDE, 8 * SIDE))
                for i, p in enumerate(first[:96]):
                    sheet.paste(p, (i % 12 * SIDE, i // 12 * SIDE))
                sheet.save(a.sheet)
        if len(numbers) % 5000 == 0:
            print(f"{len(numbers)} pictures, {len(captions)} captions, {time.time() - t0:.0f} s", flush=True)
    torch.save(dict(latents=torch.cat(latents), captions=torch.tensor(numbers)), f"{a.out}/pictures-{a.seed}.pt")
    with open(path + ".part", "w") as f:
        f.write("\n".join(captions))
    os.replace(path + ".part", path)
    torch.save(dict(captions=list(captions), states=Text()(list(captions)).half()), f"{a.out}/captions.pt.part")
    os.replace(f"{a.out}/captions.pt.part", f"{a.out}/captions.pt")


if __name__ == "__main__":
    main()
