#!/usr/bin/env python3
"""Teach a trained image tower to paint: its gradient with respect to the picture is to point at a finished picture.

    align.py --data DATA --init TOWER --text TEXT --work WORK --minutes 75 [--resume]

TOWER and TEXT are a checkpoint of train.py or the folder of an export, of one joint space. Half-painted pictures x of a
scene x0 (pale, noisy, coarse, and moved on by the tower's own steps, as painting moves them) are scored against the
scene's caption, cos(z(x), t), and the score's gradient is compared with x0 - x, in full and band by band. Averaged over
all scenes of a caption that direction is what a conditional denoiser estimates, so the tower becomes one, with the score
as its energy. (That such gradients are worth training for: Ganz, Kawar, Elad, "Do Perceptually Aligned Gradients Imply
Robustness?", 2022.) A contrastive loss on finished pictures keeps what the tower knows. The captions' embeddings are the
student's, which is what painting aims at. Writes WORK/image.pt, and WORK/captions.pt once.
"""

import argparse
import copy
import math
import os
import random
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from checkpoint import Texts, image_part, load
from generate import COMMON, lowpass, unit
from model import CLIP
from synth import Synth, augment
from train import ema_update, optimizers, rate, sow

# how often scenes with a concept of this group are shown, beside 1 for animals, food, places, things
GROUPS = {"game": 0.03, "flatcolor": 0.1, "people-body": 0.25, "smileys-emotion": 0.5, "symbols": 0.1, "flags": 0.0}
BANDS = {8: 1.0, 16: 1.0, 32: 0.6, 64: 0.3}


class Scenes:
    """Specs with their captions' embeddings, drawn by group of concept."""

    def __init__(self, a):
        self.synth = Synth(a.data, a.device, bank=a.bank)
        self.easy = a.easy
        texts = Texts(a.text, a.device)
        path = f"{a.work}/captions.pt"
        if os.path.exists(path):
            T = torch.load(path, weights_only=False, map_location=a.device)
        else:
            spec, captions = self.synth.scenes(a.scenes, 5)
            distinct = sorted(set(captions))
            index = {c: i for i, c in enumerate(distinct)}
            T = dict(spec=spec, cap=torch.tensor([index[c] for c in captions]), emb=texts.encode(distinct))
            T["names"] = texts.encode([c["name"] for c in self.synth.concepts])
            torch.save(T, path)
        self.spec, self.cap, self.emb = T["spec"], T["cap"], T["emb"]
        self.common = texts.encode(COMMON).mean(0)
        group = np.array([c["group"] for c in self.synth.concepts] + [""])
        w = np.array([GROUPS.get(g, 1.0) for g in group])
        one, two = self.spec[:, 0], self.spec[:, 1]
        w = w[one] * np.where(two >= 0, 0.4 * w[two], 1.0) * np.where(one < 0, 0.6, 1.0)
        self.cdf = np.cumsum(w / w.sum())
        bank = np.where(~np.isin(group[:-1], ["game", "flags"]))[0]
        self.names = T["names"][bank]
        self.place = torch.full((len(group) - 1,), -1)
        self.place[bank] = torch.arange(len(bank))

    def draw(self, n, views=1):
        """n scenes, so many renderings of each and their mirror images: indices (n), pictures (n, 2 views, 3, S, S)"""
        i = np.searchsorted(self.cdf, np.random.rand(n)).clip(max=len(self.spec) - 1)
        x = [self.synth.render(self.spec[i], easy=random.random() < self.easy)[0] for _ in range(views)]
        x = torch.stack(x, 1)
        return i, torch.cat([x, x.flip(-1)], 1)

    def text(self, i):
        return self.emb[self.cap[i]]

    def name(self, i):
        """Where a picture of one thing has a name in the bank: (mask, place in the bank)."""
        one = torch.as_tensor(self.spec[i, 0]).long()
        at = self.place[one.clamp(min=0)]
        named = (one >= 0) & (at >= 0) & (torch.as_tensor(self.spec[i, 1]) < 0)
        return named, at[named]


def empty(n, S):
    """n empty canvases: a grey or tinted ground with noise of all scales."""
    y = 0.5 + 0.05 * torch.randn(n, 1, 1, 1) + 0.05 * torch.randn(n, 3, 1, 1)
    for c in (4, 8, 16, 32, 64):
        layer = torch.randn(n, 3, c, c)
        if c != S:
            layer = F.interpolate(layer, (S, S), mode="bicubic", align_corners=False)
        y = y + 0.08 * torch.rand(n, 1, 1, 1) * layer
    return y


def begun(x0):
    """Pictures between an empty canvas and x0, and which of them show so little that they may still become anything."""
    n, S = len(x0), x0.shape[-1]
    soft = F.interpolate(
        F.adaptive_avg_pool2d(x0, random.choice([8, 16, 32])), (S, S), mode="bicubic", align_corners=False
    )
    aim = torch.where(torch.rand(n, 1, 1, 1) < 0.4, soft, x0)
    done = torch.rand(n, 1, 1, 1) ** 1.5
    done = torch.where(torch.rand(n, 1, 1, 1) < 0.25, torch.zeros_like(done), done)
    y = empty(n, S)
    x = y + (aim - y) * done * 0.9 + 0.06 * torch.rand(n, 1, 1, 1) * torch.randn_like(x0)
    return x.clamp(0, 1), done.flatten() < 0.15


class Canvases:
    """A batch of pictures being painted, each begun anew after a number of the tower's steps."""

    def __init__(self, scenes, a):
        self.scenes, self.views_each, self.oldest, self.rate = scenes, a.views, a.age, a.rate
        self.scene, self.views = scenes.draw(a.batch, a.views)
        self.aim = self.views[:, 0].clone()
        self.x, self.free = begun(self.aim)
        self.velocity, self.age = torch.zeros_like(self.x), torch.randint(0, a.age, (a.batch,))

    def renew(self):
        k = (self.age >= self.oldest).nonzero()[:, 0]
        if len(k):
            self.scene[k.cpu().numpy()], self.views[k] = self.scenes.draw(len(k), self.views_each)
            self.aim[k] = self.views[k, 0]
            self.x[k], self.free[k] = begun(self.aim[k])
            self.velocity[k], self.age[k] = 0, 0

    @torch.no_grad()
    def way(self, g, mask):
        """From every canvas to its aim. One that is still free aims at the rendering that gradient g is nearest to, so
        that the tower is not asked for the mean of all poses, which is a blur."""
        k = self.free.nonzero()[:, 0]
        if len(k):
            ways = (self.views[k] - self.x[k, None]).flatten(2)
            own = (lowpass(g[k]) * mask[k]).flatten(1)[:, None]
            self.aim[k] = self.views[k, F.cosine_similarity(own, ways, dim=-1).argmax(1)]
        return (self.aim - self.x) * mask

    @torch.no_grad()
    def step(self, g, mask):
        """On by the tower's own gradient, as painting goes on."""
        self.velocity = self.velocity * (1 - 0.4 * mask) + 0.4 * mask * unit(lowpass(g))
        rate = self.rate * (0.3 + 1.4 * torch.rand(len(g), 1, 1, 1))
        self.x = (self.x + rate * self.velocity).clamp(0, 1)
        self.age += 1


def bands(x):
    """[the part of x that so many cells a side show and the next coarser band does not]"""
    out, last = [], 0
    for c in BANDS:
        y = x if c == x.shape[-1] else F.interpolate(F.adaptive_avg_pool2d(x, c), x.shape[-2:], mode="bilinear")
        out.append(y - last)
        last = y
    return out


def likeness(g, d):
    """Cosine of gradient and direction, (n): in full, and [band by band]."""
    cos = lambda a, b: F.cosine_similarity(a.flatten(1), b.flatten(1), dim=1, eps=1e-12)
    return cos(g, d), [cos(a, b) for a, b in zip(bands(g), bands(d))]


def see(v, keep, n, side, device):
    """Show a transformer a share of the patches, and (n,1,side,side) which pixels those are; a ResNet sees all."""
    v.keep, v.kept = keep, None
    if keep == 1 or not hasattr(v, "embeddings"):
        return torch.ones(n, 1, side, side)
    v.kept = v.draw(n, device)
    cells = int((v.embeddings.position_embedding.weight.shape[0] - 1) ** 0.5)
    mask = torch.zeros(n, cells * cells).scatter_(1, v.kept - 1, 1.0).view(n, 1, cells, cells)
    return mask.repeat_interleave(side // cells, 2).repeat_interleave(side // cells, 3)


def align_loss(m, canvases, keep):
    """(loss, the score's gradient, mask, what to report)"""
    c, n = canvases, len(canvases.x)
    mask = see(m.vision_model, keep, n, c.x.shape[-1], c.x.device)
    centre = torch.where(torch.rand(n, 1) < 0.7, 0.5, 0.0)
    t = F.normalize(c.scenes.text(c.scene) - centre * c.scenes.common, dim=-1)
    x = c.x.clone().requires_grad_(True)
    (g,) = torch.autograd.grad((m.image(x) * t).sum(), x, create_graph=True)
    g = g.float()
    d = c.way(g, mask)
    full, per = likeness(g, d)
    loss = (1 - full) + sum(w * (1 - p) for w, p in zip(BANDS.values(), per)) / sum(BANDS.values())
    # a picture that is done has nowhere to go
    far = (d.flatten(1).norm(dim=1) / d[0].numel() ** 0.5 / 0.05).clamp(max=1)
    report = dict(align=full.mean(), **{f"b{k}": p.mean() for k, p in zip(BANDS, per)})
    if c.free.any():
        report["free"] = full[c.free].mean()
    return (loss * far).mean(), g.detach(), mask, report


def know_loss(m, scales, canvases, n, ac):
    """Finished pictures, and a third as many half-painted ones, find their captions and names."""
    c = canvases
    i, x = c.scenes.draw(n)
    x = torch.cat([augment(x[:, 0], 0.7), c.x[: n // 3]])
    i = np.concatenate([i, c.scene[: n // 3]])
    m.vision_model.kept = None
    with ac:
        z = m.image(x)
    t = c.scenes.text(i)
    logits = scales[0].exp() * z @ t.T
    target = 0.8 * torch.eye(len(x)) + 0.2 * F.softmax((t @ t.T) / 0.07, -1)
    caption = -(target * F.log_softmax(logits, -1)).sum(-1).mean() - (target * F.log_softmax(logits.T, -1)).sum(-1).mean()
    named, at = c.scenes.name(i)
    logits = scales[1].exp() * z[named] @ c.scenes.names.T
    name = F.cross_entropy(logits, at, label_smoothing=0.1)
    right = (logits.argmax(-1) == at).float().mean()
    return 0.5 * caption + 0.5 * name, dict(con=0.5 * caption, name=name, top1=right)


def train(a):
    sow(a.seed)
    scenes = Scenes(a)
    z = load(a.init)
    m = CLIP(z["cfg"]).to(a.device)
    m.load_state_dict(image_part(z["model"]), strict=False)
    mods = [m.vision_model, m.visual_projection]
    hidden, muon, opt = optimizers(m.vision_model, mods, a.lr)
    scales = nn.Parameter(torch.tensor([math.log(14.0), math.log(20.0)]))
    opt.add_param_group(dict(params=[scales], weight_decay=0))
    mean = copy.deepcopy(m)
    step, used, path = 0, 0.0, f"{a.work}/image.pt"
    if a.resume and os.path.exists(path):
        q = torch.load(path, weights_only=False, map_location=a.device)
        m.load_state_dict(q["raw"])
        mean.load_state_dict(q["model"])
        opt.load_state_dict(q["opt"])
        muon.load_state_dict(q["muon"])
        scales.data.copy_(q["ls"])
        step, used = q["step"], q["used"]
    m.eval()  # batch norms keep their statistics: what is painted is scored one picture at a time

    def save():
        state = dict(cfg=z["cfg"], model=mean.state_dict(), raw=m.state_dict(), opt=opt.state_dict())
        torch.save(dict(**state, muon=muon.state_dict(), ls=scales.data, step=step, used=used), path + ".part")
        os.replace(path + ".part", path)

    canvases = Canvases(scenes, a)
    ac = torch.autocast(a.device.split(":")[0], torch.bfloat16, enabled=a.bf16)
    budget, base, first, t0, hist = a.minutes * 60, used, step, time.time(), {}
    while step < a.steps if a.steps else used < budget:
        prog = step / a.steps if a.steps else used / budget
        lr = rate(a, step, prog)
        for group in opt.param_groups + muon.param_groups:
            group["lr"] = lr
        canvases.renew()
        opt.zero_grad(set_to_none=True)
        for p in hidden:
            p.grad = None
        with sdpa_kernel(SDPBackend.MATH), ac:  # the fused kernels have no second derivative
            loss, g, mask, report = align_loss(m, canvases, a.keep if prog < a.keep_frac else 1.0)
            loss.backward()
        loss, more = know_loss(m, scales, canvases, a.clean, ac)
        (a.clean_w * loss).backward()
        torch.nn.utils.clip_grad_norm_([p for md in mods for p in md.parameters()], 1.0)
        opt.step()
        muon.step()
        ema_update(mean, m, min(a.ema, (step + 1) / (step + 20)))
        canvases.step(g, mask)
        step += 1
        used = base + time.time() - t0
        for k, v in {**report, **more}.items():
            hist[k] = 0.97 * hist.get(k, float(v.detach())) + 0.03 * float(v.detach())
        if step % a.log == 0:
            said = " ".join(f"{k} {v:.3f}" for k, v in hist.items())
            each = (used - base) / (step - first) * 1e3
            print(f"step {step} {used:.0f}s lr {lr:.1e} {said} {each:.0f} ms/step", flush=True)
        if step % a.save_every == 0:
            save()
    save()


if __name__ == "__main__":
    ap = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    for n in ("data", "init", "text", "work"):
        ap.add_argument("--" + n, required=True)
    ap.add_argument("--minutes", type=float, default=75, help="length of the schedule")
    ap.add_argument("--steps", type=int, default=0, help="length of the schedule in steps instead")
    ap.add_argument("--resume", action="store_true", help="go on in the same schedule from WORK/image.pt")
    ap.add_argument("--batch", type=int, default=64, help="canvases")
    ap.add_argument("--clean", type=int, default=48, help="finished pictures a step")
    ap.add_argument("--clean-w", type=float, default=0.3)
    ap.add_argument("--lr", type=float, default=1e-3)
    ap.add_argument("--warmup", type=int, default=30)
    ap.add_argument("--ema", type=float, default=0.99)
    ap.add_argument("--age", type=int, default=12, help="own steps after which a canvas is begun anew")
    ap.add_argument("--rate", type=float, default=0.05, help="root mean square of an own step, on average")
    ap.add_argument("--views", type=int, default=3, help="renderings that a free canvas may become, beside their mirror images")
    ap.add_argument("--easy", type=float, default=0.7, help="share of batches that show things large and upright")
    ap.add_argument("--keep", type=float, default=1.0, help="share of the patches that a transformer sees")
    ap.add_argument("--keep-frac", type=float, default=0.8, help="in this share of the run; then all")
    ap.add_argument("--bank", type=int, default=160)
    ap.add_argument("--scenes", type=int, default=60000)
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--bf16", action="store_true")
    ap.add_argument("--threads", type=int, default=0)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--log", type=int, default=50)
    ap.add_argument("--save-every", type=int, default=100)
    a = ap.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    torch.set_default_device(a.device)
    os.makedirs(a.work, exist_ok=True)
    train(a)
