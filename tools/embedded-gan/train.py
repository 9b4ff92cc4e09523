#!/usr/bin/env python3
"""Trains the GAN of places: generator and discriminators in turn, on pictures of pictures.py.

    train.py --pictures places.npy --work RUN --minutes 100 [--bf16]

Writes RUN/state.pt every few minutes and starts again from it, and RUN/sheet-STEP.png: samples of the averaged generator. Minutes
are of the processor, those of all calls together; the learning rate falls over the last third of them.
"""

import argparse
import copy
import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from fastgan import LATENTS, Discriminator, Features, Generator


def batch(pictures, n, g):
    x = pictures[np.sort(g.choice(len(pictures), n, replace=False))]
    x = np.where(g.random((n, 1, 1, 1)) < 0.5, x[..., ::-1], x)
    return torch.from_numpy(x).float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def moved(x, shift):
    """Pictures shifted by up to an eighth, each by its own; beyond the edge their last row goes on."""
    p = x.shape[-1] // 8
    padded = F.pad(x, (p, p, p, p), mode="replicate")
    return torch.stack([q[:, a : a + x.shape[-1], b : b + x.shape[-1]] for q, (a, b) in zip(padded, shift)]).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def sheet(generator, path, rows=8, columns=12, seed=3, truncation=1.0):
    z = truncation * torch.randn(rows * columns, LATENTS, generator=torch.Generator().manual_seed(seed))
    x = torch.cat([generator(q) for q in z.split(24)])
    x = x.add(1).mul(127.5).round().clamp(0, 255).byte().numpy().reshape(rows, columns, 3, 64, 64)
    Image.fromarray(np.ascontiguousarray(x.transpose(0, 3, 1, 4, 2).reshape(rows * 64, columns * 64, 3))).save(path)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--pictures", required=True)
    ap.add_argument("--work", required=True)
    ap.add_argument("--minutes", type=float, required=True)
    ap.add_argument("--batch", type=int, default=24)
    ap.add_argument("--lr", type=float, default=5e-4)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--every", type=int, default=250, help="steps between two sheets")
    ap.add_argument("--bf16", action="store_true")
    a = ap.parse_args()
    os.makedirs(a.work, exist_ok=True)
    torch.manual_seed(a.seed)
    pictures = np.load(a.pictures, mmap_mode="r")
    features = Features().to(memory_format=torch.channels_last)
    generator, critic = Generator().to(memory_format=torch.channels_last), Discriminator(features)
    shown = copy.deepcopy(generator).eval()
    one = torch.optim.Adam(generator.parameters(), lr=a.lr, betas=(0.0, 0.99))
    two = torch.optim.Adam(critic.parameters(), lr=a.lr, betas=(0.0, 0.99))
    step, spent, path = 0, 0.0, f"{a.work}/state.pt"
    if os.path.exists(path):
        z = torch.load(path)
        for m, k in ((generator, "generator"), (critic, "critic"), (shown, "shown"), (one, "one"), (two, "two")):
            m.load_state_dict(z[k])
        step, spent = z["step"], z["spent"]

    def save():
        parts = dict(generator=generator, critic=critic, shown=shown, one=one, two=two)
        torch.save({k: m.state_dict() for k, m in parts.items()} | dict(step=step, spent=spent), path + ".part")
        os.replace(path + ".part", path)

    def seen(x):
        """The logits of pictures, computed in half the bits where that is asked for."""
        with torch.autocast("cpu", torch.bfloat16, enabled=a.bf16):
            return critic(x, features(x))

    saved, last = time.time(), time.process_time()
    sums = torch.zeros(3)
    while spent < a.minutes * 60:
        rate = a.lr * min(1, (step + 1) / 100) * min(1.0, 0.02 + 3 * (1 - spent / a.minutes / 60))
        for group in one.param_groups + two.param_groups:
            group["lr"] = rate
        g = np.random.default_rng([a.seed, step])
        torch.manual_seed(a.seed * 1_000_003 + step)
        real = batch(pictures, a.batch, g)
        with torch.autocast("cpu", torch.bfloat16, enabled=a.bf16):
            fake = generator(torch.randn(a.batch, LATENTS)).float()
        shift = g.integers(0, 17, (2 * a.batch, 2))
        both = seen(moved(torch.cat([real, fake.detach()]), shift))
        loss = F.relu(1 - both[: a.batch]).mean() + F.relu(1 + both[a.batch :]).mean()
        two.zero_grad(), loss.backward(), two.step()
        # the same pictures, seen by the discriminators as they now are
        critic.requires_grad_(False)
        fooled = -seen(moved(fake, shift[a.batch :])).mean()
        one.zero_grad(), fooled.backward(), one.step()
        critic.requires_grad_(True)
        step += 1
        keep = min(0.998, step / (step + 10))
        with torch.no_grad():
            for (k, v), w in zip(generator.state_dict().items(), shown.state_dict().values()):
                w.lerp_(v, 1 - keep) if w.is_floating_point() else w.copy_(v)
        sums += torch.tensor([loss.item(), fooled.item(), (both[: a.batch].mean() - both[a.batch :].mean()).item()])
        now = time.process_time()
        spent, last = spent + now - last, now
        if step % 50 == 0:
            print("{}  loss {:.3f}  fooled {:.3f}  apart {:.3f}  {:.0f} s".format(step, *(sums / 50).tolist(), spent), flush=True)
            sums.zero_()
        if step % a.every == 0:
            sheet(shown, f"{a.work}/sheet-{step:06}.png")
        if time.time() - saved > 150:
            save()
            saved = time.time()
    save()
    sheet(shown, f"{a.work}/sheet.png")


if __name__ == "__main__":
    main()
