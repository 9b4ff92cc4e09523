#!/usr/bin/env python3
"""Trains the embedded VQGAN in three stages, each resumable, each going on from the one before.

    train.py continuous --pictures pictures.npy --work RUN --minutes 50     an autoencoder, nothing quantised
    train.py quantised  --pictures pictures.npy --work RUN --minutes 32     codebook from k-means, then moving averages
    train.py critic     --pictures pictures.npy --work RUN --minutes 10     a patch discriminator sharpens the decoder

Each writes RUN/STAGE.pt every few minutes and starts again from it; the same call goes on where it stopped. The learning
rate follows the time spent, since a shared processor has no fixed speed. What a step sees depends on the seed and the step.
"""

import argparse
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

from model import DEFAULT, Codebook, Critic, Tower, network
from muon import Muon

STAGES = ["continuous", "quantised", "critic"]
# brightness and two axes of colour, the latter counted more: plain L1 lets flat saturated colours turn grey
OPPONENT = torch.tensor([[1, 1, 1], [1.5, 0, -1.5], [-0.87, 1.73, -0.87]]) / torch.tensor([[3.0], [2.0], [3.0]]).sqrt()


def batch(pictures, n, step, seed, side=64):
    """n crops in -1..=1: as they are, of whole pictures, or of parts enlarged; flipped, half of them in other colours."""
    g = np.random.default_rng([seed, step])
    full = pictures.shape[-1]
    span = int(g.choice([side, side, full, side * 3 // 4]))
    rows = []
    for i in g.integers(len(pictures), size=n):
        y, x = g.integers(full - span + 1, size=2)
        p = pictures[i, :, y : y + span, x : x + span]
        p = p[:, :, ::-1] if g.random() < 0.5 else p
        if g.random() < 0.5:
            p = p[g.permutation(3)] ^ np.where(g.random((3, 1, 1)) < 0.3, 255, 0).astype(np.uint8)
        rows.append(p)
    x = torch.from_numpy(np.ascontiguousarray(np.stack(rows))).float() / 127.5 - 1
    if span != side:
        x = F.interpolate(x, (side, side), mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
    return x.contiguous(memory_format=torch.channels_last)


def likeness(tower, x, y, bf16):
    """L1 of colours as they are and of means of 4 and 16 pixels a side; the distance of the tower's features; plain L1."""
    d = torch.einsum("oc,bchw->bohw", OPPONENT, x - y)
    near = sum(F.avg_pool2d(d, k).abs().mean() for k in (1, 4, 16)) / 2
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        fx, fy = tower.features(x), tower.features(y)
    seen = sum((a - b).float().pow(2).sum(1).mean() for a, b in zip(fx, fy))
    return near, seen, (x - y).detach().abs().mean()


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
    ap.add_argument("--minutes", type=float, required=True, help="of this stage, all calls together")
    ap.add_argument("--batch", type=int, default=16)
    ap.add_argument("--lr", type=float)
    ap.add_argument("--perceptual", type=float, default=0.15)
    ap.add_argument("--adversarial", type=float, default=0.4, help="length of the critic's gradient, the rest's being 1")
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--bf16", action="store_true")
    a = ap.parse_args()
    os.makedirs(a.work, exist_ok=True)
    torch.manual_seed(a.seed)
    pictures = np.load(a.pictures, mmap_mode="r")
    m, tower, book, critic = network(), Tower(), Codebook(DEFAULT["num_vq_embeddings"], DEFAULT["vq_embed_dim"]), Critic()
    lr = a.lr or dict(continuous=2.5e-3, quantised=1e-3, critic=3e-4)[a.stage]
    parts = [m.encoder, m.quant_conv, m.decoder, m.post_quant_conv]
    if a.stage == "critic":
        parts = parts[2:]  # the codes stay as they are
    params = [p for q in parts for p in q.parameters()]
    kernels = [p for p in params if p.dim() == 4 and min(p.shape[:2]) > 8]
    others = [p for p in params if all(p is not k for k in kernels)]
    opts = [Muon(kernels, lr=lr), torch.optim.Adam(others, lr=lr, betas=(0.9, 0.99))]
    opt_critic = torch.optim.Adam(critic.parameters(), lr=4e-4, betas=(0.5, 0.99))
    average = {k: v.clone() for k, v in m.state_dict().items()}
    step, spent, log = 0, 0.0, []
    own, before = f"{a.work}/{a.stage}.pt", STAGES.index(a.stage) - 1
    if os.path.exists(own):
        z = torch.load(own)
        m.load_state_dict(z["model"]), book.load_state_dict(z["book"]), critic.load_state_dict(z["critic"])
        for opt, state in zip([*opts, opt_critic], z["opts"]):
            opt.load_state_dict(state)
        average, step, spent, log = z["average"], z["step"], z["spent"], z["log"]
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
        z |= dict(spent=spent, opts=[o.state_dict() for o in [*opts, opt_critic]], log=log)
        torch.save(z, own + ".part")
        os.replace(own + ".part", own)

    last = saved = time.time()
    sums, summed, reborn = torch.zeros(4), 0, 0
    while spent < a.minutes * 60:
        t = spent / a.minutes / 60
        for group in opts[0].param_groups + opts[1].param_groups:
            group["lr"] = lr * min(1, (step + 1) / 50) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * max(0, t - 0.3) / 0.7)))
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
        near, seen, l1 = likeness(tower, x, leaf, a.bf16)
        (pull,) = torch.autograd.grad(near + a.perceptual * seen, leaf)
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
        for opt in opts:
            opt.zero_grad()
        ((y * pull).sum() + commit).backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        for opt in opts:
            opt.step()
        step += 1
        keep = min(0.997, step / (step + 10))
        with torch.no_grad():
            for k, v in m.state_dict().items():
                average[k].lerp_(v, 1 - keep)
        sums += torch.tensor([float(torch.as_tensor(v).detach()) for v in (l1, seen, commit, fooled)])
        summed += 1
        now = time.time()
        spent, last = spent + now - last, now
        if step % 50 == 0:
            log.append([step, *(sums / summed).tolist()])
            said = "L1 {:.4f}  features {:.4f}  commit {:.4f}  fooled {:.3f}".format(*log[-1][1:])
            print(f"{a.stage} {step}  {said}  reborn {reborn}  {spent:.0f} s", flush=True)
            sums, summed, reborn = torch.zeros(4), 0, 0
        if time.time() - saved > 150:
            save()
            saved = time.time()
    save()


if __name__ == "__main__":
    main()
