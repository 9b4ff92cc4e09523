#!/usr/bin/env python3
"""The test that counts: pictures by gradient ascent on the score of a prompt over pixels.

    generate.py --text TEXT --row NAME=TOWER[+TOWER...] [--row ...] --out sheet.png [--seed 0,1] [--prompts "a|b|c"]

TEXT and TOWER are a checkpoint of train.py or the folder of an export. A row of the sheet per --row and seed, a column
per prompt. Several towers of one joint space guide together: each one's gradient is scaled to a root mean square of 1,
then they are summed. Prints how similar the pictures are to their prompts, to each tower of the sheet.
"""

import argparse
import math
import time

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from checkpoint import Texts, image_tower

PROMPTS = [
    "a red apple",
    "sunset over the sea",
    "a cat",
    "a green tree on a blue background",
    "a starry night",
    "a rocket in space",
    "a yellow flower",
    "a heart",
    "a fish underwater",
    "a pencil sketch of a house",
    "a butterfly",
    "a pizza",
    "a watercolor painting of a sailboat",
    "a green dragon",
    "a house in the snow",
    "a volcano",
]
COMMON = ["a " + q for q in "cat dog house car tree face person flower tool sign symbol fish bird".split()]
BANDS = {8: 0.3, 16: 0.5, 32: 0.7, 64: 0.5}


def cutouts(img, n, S, noise, lo):
    """img (P,3,H,W) -> (P*n,3,S,S): random resized affine crops, reflected at the borders, with noise"""
    P = img.shape[0]
    N = P * n
    sc = lo + (1.05 - lo) * torch.rand(N)
    lim = (1 - sc).clamp(min=0.0) + 0.05
    tx, ty = (torch.rand(N) * 2 - 1) * lim, (torch.rand(N) * 2 - 1) * lim
    an = torch.randn(N) * 0.08
    c, s = sc * an.cos(), sc * an.sin()
    th = torch.stack([torch.stack([c, -s, tx], 1), torch.stack([s, c, ty], 1)], 1)
    grid = F.affine_grid(th, (N, 3, S, S), align_corners=False)
    x = F.grid_sample(img.repeat_interleave(n, 0), grid, align_corners=False, padding_mode="reflection")
    x = x * (1 + 0.1 * torch.randn(N, 1, 1, 1)) + 0.04 * torch.randn(N, 1, 1, 1)
    return (x + torch.randn_like(x) * noise).clamp(0, 1)


def lowpass(g, bands=BANDS):
    """The sum over bands {cells: weight} of weight * the gradient averaged to so many cells a side and brought back."""
    H = g.shape[-1]
    out = 0
    for cells, weight in bands.items():
        coarse = g
        if cells != H:
            coarse = F.interpolate(F.adaptive_avg_pool2d(g, cells), (H, H), mode="bicubic", align_corners=False)
        out = out + weight * coarse
    return out


def unit(g):
    return g / (g.pow(2).mean((1, 2, 3), keepdim=True).sqrt() + 1e-12)


def aims(texts, prompts, centre):
    """The prompts' embeddings, away from what all prompts have in common."""
    t = texts.encode(prompts)
    return F.normalize(t - centre * texts.encode(COMMON).mean(0), dim=-1)


def ascend(towers, t, steps=60, n=8, lr=0.05, H=64, noise=0.05, lo=0.7, init=0.03, momentum=0.8, end=0.1, seed=0):
    """Pixels of a flat grey canvas; each picture's gradient is low-passed, scaled to a root mean square of 1, averaged
    with momentum and stepped along. (Adam scales each pixel by itself, so what the prompt does not care about drifts to
    saturated colours; coarse noise at the start is amplified likewise.)"""
    torch.manual_seed(seed)
    P = len(t)
    x = 0.5 + init * torch.randn(P, 3, H, H)
    v = torch.zeros_like(x)
    for i in range(steps):
        x.requires_grad_(True)
        total = 0
        for m in towers:
            z = m.image(cutouts(x, n, m.cfg["vision_config"]["image_size"], noise, lo))
            d = (z - t.repeat_interleave(n, 0)).norm(dim=-1).div(2).arcsin().pow(2).mul(2)
            (g,) = torch.autograd.grad(d.view(P, n).mean(1).sum(), x)
            total = total + unit(g)
        v = momentum * v + (1 - momentum) * unit(lowpass(total))
        rate = lr * (end + (1 - end) * 0.5 * (1 + math.cos(math.pi * i / steps)))
        x = (x.detach() - rate * v).clamp(0, 1)
    return x


@torch.no_grad()
def judge(m, x, t, n=4):
    """Mean cosine of the pictures to their own prompts, and how often that prompt is the nearest."""
    z = m.image(cutouts(x, n, m.cfg["vision_config"]["image_size"], 0.0, 0.9)).view(len(x), n, -1).mean(1)
    sim = F.normalize(z, dim=-1) @ t.T
    return float(sim.diag().mean()), float((sim.argmax(1) == torch.arange(len(x))).float().mean())


def sheet(rows, prompts, path, side=128):
    head = 14
    im = Image.new("RGB", (side * len(prompts), len(rows) * (side + head)), "white")
    draw = ImageDraw.Draw(im)
    for r, (name, pictures) in enumerate(rows):
        for i, x in enumerate(pictures):
            px = Image.fromarray((x.permute(1, 2, 0).clamp(0, 1).numpy() * 255).astype("uint8"))
            im.paste(px.resize((side - 2, side - 2), Image.LANCZOS), (i * side, r * (side + head) + head - 1))
            draw.text((i * side + 2, r * (side + head) + 1), f"{name} {prompts[i]}"[:24], fill="black")
    im.save(path)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--text", required=True)
    ap.add_argument("--row", action="append", required=True)
    ap.add_argument("--out", default="sheet.png")
    ap.add_argument("--prompts", default="|".join(PROMPTS))
    ap.add_argument("--seed", default="0")
    ap.add_argument("--steps", type=int, default=60)
    ap.add_argument("--cutouts", type=int, default=8)
    ap.add_argument("--centre", type=float, default=0.5)
    ap.add_argument("--threads", type=int, default=0)
    a = ap.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    prompts = a.prompts.split("|")
    t = aims(Texts(a.text), prompts, a.centre)
    towers, rows = {}, []
    for row in a.row:
        for path in row.split("=", 1)[1].split("+"):
            towers.setdefault(path, image_tower(path))
    for row in a.row:
        name, paths = row.split("=", 1)
        for seed in map(int, a.seed.split(",")):
            t0 = time.time()
            x = ascend([towers[p] for p in paths.split("+")], t, steps=a.steps, n=a.cutouts, seed=seed)
            rows.append((f"{name} {seed}", x))
            said = ", ".join("{} {:.3f} own best {:.2f}".format(p, *judge(m, x, t)) for p, m in towers.items())
            print(
                f"{name} seed {seed}: {(time.time() - t0) / len(prompts):.1f} s a picture; judged by {said}", flush=True
            )
            sheet(rows, prompts, a.out)


if __name__ == "__main__":
    main()
