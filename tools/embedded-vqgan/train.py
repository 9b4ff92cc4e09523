#!/usr/bin/env python3
"""Trains the embedded VQGAN in three stages, each resumable, each going on from the one before.

    train.py continuous --pictures pictures.npy --work RUN --steps 1500     an autoencoder, nothing quantised
    train.py quantised  --pictures pictures.npy --work RUN --steps 3000     codebook from k-means, then moving averages
    train.py critic     --pictures pictures.npy --work RUN --steps 1000     a patch discriminator sharpens the decoder

Each writes RUN/STAGE.pt every few minutes and starts again from it; the same call goes on where it stopped. What a
step sees depends on the seed and the step alone.
"""

import argparse
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

from model import Codebook, Critic, Tower, network

STAGES = ["continuous", "quantised", "critic"]


def batch(pictures, n, step, seed, side=64):
    """n crops in -1..=1: as they are, of whole pictures, or of parts enlarged; flipped, channels in any order."""
    g = np.random.default_rng([seed, step])
    full = pictures.shape[-1]
    span = int(g.choice([side, side, full, side * 3 // 4]))
    rows = []
    for i in g.integers(len(pictures), size=n):
        y, x = g.integers(full - span + 1, size=2)
        p = pictures[i, :, y : y + span, x : x + span]
        p = p[:, :, ::-1] if g.random() < 0.5 else p
        rows.append(p[g.permutation(3)] if g.random() < 0.3 else p)
    x = torch.from_numpy(np.ascontiguousarray(np.stack(rows))).float() / 127.5 - 1
    if span != side:
        x = F.interpolate(x, (side, side), mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
    return x.contiguous(memory_format=torch.channels_last)


def likeness(tower, x, y, bf16):
    """L1, and the distance of the tower's features, each for the batch."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        fx, fy = tower.features(x), tower.features(y)
    return (x - y).abs().mean(), sum((a - b).float().pow(2).sum(1).mean() for a, b in zip(fx, fy))


@torch.no_grad()
def unit_latents(m, z):
    """Folds a scale and a shift into the two 1x1 convolutions around z, so that each channel has mean 0 and variance 1."""
    mu, sd = z.mean((0, 2, 3)), z.std((0, 2, 3))
    back = m.post_quant_conv.weight[:, :, 0, 0]
    m.post_quant_conv.bias.add_(back @ mu)
    m.post_quant_conv.weight.mul_(sd[None, :, None, None])
    m.quant_conv.bias.sub_(mu).div_(sd)
    m.quant_conv.weight.div_(sd[:, None, None, None])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("stage", choices=STAGES)
    ap.add_argument("--pictures", required=True)
    ap.add_argument("--work", required=True)
    ap.add_argument("--steps", type=int, required=True)
    ap.add_argument("--batch", type=int, default=16)
    ap.add_argument("--lr", type=float)
    ap.add_argument("--perceptual", type=float, default=0.15)
    ap.add_argument("--adversarial", type=float, default=0.4, help="length of the critic's gradient, the rest's being 1")
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--bf16", action="store_true")
    ap.add_argument("--stop-min", type=float, default=1e9, help="stop after so many minutes; the same call goes on")
    a = ap.parse_args()
    os.makedirs(a.work, exist_ok=True)
    torch.manual_seed(a.seed)
    pictures = np.load(a.pictures, mmap_mode="r")
    m, tower, book, critic = network(), Tower(), Codebook(2048, 8), Critic()
    lr = a.lr or dict(continuous=1.5e-3, quantised=8e-4, critic=3e-4)[a.stage]
    parts = [m.encoder, m.quant_conv, m.decoder, m.post_quant_conv]
    if a.stage == "critic":
        parts = parts[2:]  # the codes stay as they are
    params = [p for q in parts for p in q.parameters()]
    opt = torch.optim.Adam(params, lr=lr, betas=(0.9, 0.99))
    opt_critic = torch.optim.Adam(critic.parameters(), lr=4e-4, betas=(0.5, 0.99))
    average = {k: v.clone() for k, v in m.state_dict().items()}
    step, log = 0, []
    own, before = f"{a.work}/{a.stage}.pt", STAGES.index(a.stage) - 1
    if os.path.exists(own):
        z = torch.load(own)
        m.load_state_dict(z["model"]), book.load_state_dict(z["book"]), critic.load_state_dict(z["critic"])
        opt.load_state_dict(z["opt"]), opt_critic.load_state_dict(z["opt_critic"])
        average, step, log = z["average"], z["step"], z["log"]
    elif before >= 0:
        z = torch.load(f"{a.work}/{STAGES[before]}.pt")
        m.load_state_dict(z["average"]), book.load_state_dict(z["book"])
        if a.stage == "quantised":
            with torch.no_grad():
                code = lambda k: m.quant_conv(m.encoder(batch(pictures, 64, k, a.seed + 1)))
                unit_latents(m, torch.cat([code(k) for k in range(12)]))
                book.start(torch.cat([code(k).permute(0, 2, 3, 1).flatten(0, 2) for k in range(12, 28)]))
        average = {k: v.clone() for k, v in m.state_dict().items()}

    def save():
        z = dict(model=m.state_dict(), average=average, book=book.state_dict(), critic=critic.state_dict(), step=step)
        torch.save(z | dict(opt=opt.state_dict(), opt_critic=opt_critic.state_dict(), log=log), own + ".part")
        os.replace(own + ".part", own)

    t0 = saved = time.time()
    sums, reborn = torch.zeros(4), 0
    while step < a.steps:
        t = step / a.steps
        for group in opt.param_groups:
            group["lr"] = lr * min(1, (step + 1) / 50) * (0.05 + 0.95 * (0.5 + 0.5 * math.cos(math.pi * max(0, t - 0.3) / 0.7)))
        torch.manual_seed(a.seed * 1_000_003 + step)
        x = batch(pictures, a.batch, step, a.seed)
        with torch.autocast("cpu", torch.bfloat16, enabled=a.bf16), torch.set_grad_enabled(a.stage != "critic"):
            z = m.quant_conv(m.encoder(x)).float()
        commit = 0
        if a.stage == "continuous":
            commit = 1e-3 * z.pow(2).mean()
            q = z + 0.05 * torch.randn_like(z)
        else:
            code, flat, i = book(z)
            if a.stage == "quantised":
                commit = 0.1 * (z - code).pow(2).mean()
                reborn += book.update(flat, i)
            q = z + (code - z).detach()
        with torch.autocast("cpu", torch.bfloat16, enabled=a.bf16):
            y = m.decoder(m.post_quant_conv(q)).float()
        # the losses pull on the picture; one pull goes back through the network
        leaf = y.detach().requires_grad_(True)
        l1, seen = likeness(tower, x, leaf, a.bf16)
        (pull,) = torch.autograd.grad(l1 + a.perceptual * seen, leaf)
        fooled = torch.zeros(())
        if a.stage == "critic":
            critic.requires_grad_(False)
            fooled = -critic(leaf).mean()
            (push,) = torch.autograd.grad(fooled, leaf)
            ramp = min(1, step / 200)
            pull = pull + a.adversarial * ramp * push * pull.norm() / (push.norm() + 1e-12)
            critic.requires_grad_(True)
            both = critic(torch.cat([x, y.detach()]))
            hinge = F.relu(1 - both[: len(x)]).mean() + F.relu(1 + both[len(x) :]).mean()
            opt_critic.zero_grad(), hinge.backward(), opt_critic.step()
        opt.zero_grad()
        ((y * pull).sum() + commit).backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        step += 1
        keep = min(0.995, step / (step + 10))
        with torch.no_grad():
            for k, v in m.state_dict().items():
                average[k].lerp_(v, 1 - keep)
        sums += torch.tensor([float(l1), float(seen), float(commit), float(fooled)])
        if step % 50 == 0 or step == a.steps:
            n = 50 if step % 50 == 0 else step % 50
            log.append([step, *(sums / n).tolist()])
            said = "L1 {:.4f}  features {:.4f}  commit {:.4f}  fooled {:.3f}".format(*(sums / n).tolist())
            print(f"{a.stage} {step}  {said}  reborn {reborn}  {time.time() - t0:.0f} s", flush=True)
            sums, reborn = torch.zeros(4), 0
        if time.time() - saved > 150:
            save()
            saved = time.time()
        if time.time() - t0 > a.stop_min * 60:
            break
    save()


if __name__ == "__main__":
    main()
