#!/usr/bin/env python3
"""A tower of prototypes, built rather than trained: its gradient is a whole shape from the first step on.

    prototypes.py --data DATA --text TEXT --out TOWER.pt [--crate FOLDER]

A transformer of one layer that sees the picture, 32 pixels a side, as one patch. The patch embedding is the principal
components of the prototypes: sprites averaged over backgrounds and small shifts, and procedural scenes. The class token
takes the picture over, and each hidden unit of its MLP is one prototype,

    z = sum_k f(beta (cos(x, p_k) - theta)) o_k + linear (M^T x),        f = quick_gelu,

so that the gradient of z . t is a sum of prototypes whose texts o_k are like t: those that the picture already resembles
(f is flat below the threshold theta) and, so that an empty canvas has a gradient too, a linear map M from text to picture,
fitted by ridge regression. o_k are the texts' duals (C + ridge)^-1 t_k, C their covariance, which sets alike texts apart.
The cosine is to the direction in which the picture differs from the mean of all prototypes; a constant part in the layer
norm keeps a nearly empty canvas from counting as much as a picture. Hidden units in pairs, f(a) - f(-a) = a, make the
linear part. Nothing is learned but the components and M; the seed decides which sprites, backgrounds and shifts are drawn.
"""

import argparse
import os
import random

import numpy as np
import torch
import torch.nn.functional as F

from checkpoint import Texts, load, pack
from export import preprocessor, write_json
from generate import COMMON
from model import CLIP, make_config
from synth import CN, NAT, Synth
from train import sow

# groups whose every concept has prototypes, whatever its number of sprites
GROUPS = "animals-nature food-drink travel-places activities objects smileys-emotion shape noto fluent3d twemoji".split()
# of these, a share of the concepts that most sets have, one sprite each
SOME = {"people-body": 0.25, "symbols": 0.6}


def sprites(synth, each):
    """[(concept, sprite)]: of each concept at most so many in colour, of shapes those in one colour."""
    rows = []
    for k, concept in enumerate(synth.concepts):
        group = concept["group"]
        if group not in GROUPS and group not in SOME:
            continue
        own = [s for s in synth.by[k] if not synth.mono[s] or group == "shape"]
        if group in SOME:
            own = own[:1] if len(own) >= 4 and random.random() < SOME[group] else []
        if group == "smileys-emotion":
            own = own[:3]
        rows += [(k, s) for s in own[:each]]
    return rows


def blank(n):
    """Specs of n scenes that show nothing yet."""
    spec = np.full((n, 10), -1, np.int32)
    spec[:, 9] = 1
    return spec


def prototypes(synth, a):
    """(pictures [K,3,side,side] in 0..1, their names)"""

    @torch.no_grad()
    def seen(spec, some):
        return F.adaptive_avg_pool2d(synth.render(spec, sprites=np.array(some), easy=True)[0], a.side)

    rows, pictures = sprites(synth, a.each), []
    for i in range(0, len(rows), 64):
        part, total = rows[i : i + 64], 0
        n = len(part)
        for _ in range(a.mean):
            spec = blank(n)
            spec[:, 0], spec[:, 2] = zip(*part)
            natural = np.random.rand(n) < 0.4
            spec[:, 3] = np.where(natural, 5, 0)
            spec[:, 4] = spec[:, 5] = np.random.randint(0, len(CN), n)
            spec[:, 6] = np.where(natural, np.random.randint(0, len(NAT), n), -1)
            total = total + seen(spec, [s for _, s in part])
        pictures.append(total / a.mean)
    names = [synth.concepts[k]["name"] for k, _ in rows]
    for k, (_, words, *_) in enumerate(NAT):
        for j in range(a.scenes):
            spec = blank(1)
            spec[0, 3], spec[0, 6] = 5, k
            pictures.append(seen(spec, [-1]))
            names.append(words[j % len(words)])
    for k, colour in enumerate(CN):
        for _ in range(3):
            spec = blank(1)
            spec[0, 3], spec[0, 4], spec[0, 5] = 0, k, k
            pictures.append(seen(spec, [-1]))
            names.append(f"a {colour} background")
    return torch.cat(pictures), names


def orthonormal(d, n):
    """n directions of d that a layer norm leaves alone: each at right angles to the mean."""
    q, _ = torch.linalg.qr(torch.cat([torch.ones(d, 1) / d**0.5, torch.randn(d, n)], 1))
    return q[:, 1:]


@torch.no_grad()
def tower(a, pictures, names):
    texts = Texts(a.text)
    common = texts.encode(COMMON).mean(0)
    cfg, K, D = load(a.text)["cfg"], len(pictures), a.width
    J = cfg["projection_dim"]
    cfg["vision_config"] |= make_config(size=a.side, patch=a.side, vh=D, vl=1, proj=J)["vision_config"]
    cfg["vision_config"]["intermediate_size"] = K + 2 * J
    m = CLIP(cfg)

    x = ((pictures - m.mean) / m.std).flatten(1)
    mu = x.mean(0)
    components = torch.linalg.svd(x - mu, full_matrices=False)[2][: D - 2]
    basis, constant = orthonormal(D, D - 1).split([D - 2, 1], 1)  # of the components; beside them
    e = (x - mu) @ components.T
    embed = basis @ components
    t = F.normalize(texts.encode(names) - a.centre * common, dim=-1)
    cov = t.T @ t / K
    dual = torch.linalg.solve(cov + a.ridge * cov.diagonal().mean() * torch.eye(J), t.T).T
    dual = F.normalize(dual, dim=-1)

    v = m.vision_model
    layer, at = v.encoder.layers[0], v.embeddings
    at.patch_embedding.weight.copy_(embed.view(D, 3, a.side, a.side))
    at.position_embedding.weight.zero_()
    at.position_embedding.weight[1] = constant[:, 0] * e.norm(dim=1).mean() * a.floor - embed @ mu
    at.class_embedding.copy_(torch.randn(D))
    # what the residual stream begins with is small beside what the MLP adds to it
    v.pre_layrnorm.weight.fill_(0.05)
    v.pre_layrnorm.bias.zero_()
    attention = layer.self_attn
    for q in (attention.q_proj, attention.k_proj):
        q.weight.mul_(0.1)  # nearly even attention to both tokens; at 0 training could not go on from here
        q.bias.zero_()
    attention.v_proj.weight.copy_(torch.eye(D))
    attention.v_proj.bias.zero_()
    attention.out_proj.weight.copy_(0.1 * torch.eye(D))
    start = v.pre_layrnorm(at.class_embedding)
    attention.out_proj.bias.copy_(-start - 0.05 * layer.layer_norm1(start))  # the class token keeps nothing of its own

    key = F.normalize(e, dim=1)
    out = orthonormal(D, J)
    fit = torch.linalg.solve(t.T @ t + a.fit_ridge * K / J * torch.eye(J), t.T @ key).T
    fit = fit / (fit @ t.T).norm(dim=0).mean()
    linear = (basis @ fit / D**0.5).T
    mlp = layer.mlp
    mlp.fc1.weight.copy_(torch.cat([a.beta * (key @ basis.T) / D**0.5, linear, -linear]))
    mlp.fc1.bias.copy_(torch.cat([torch.full((K,), -a.beta * a.theta), torch.zeros(2 * J)]))
    mlp.fc2.weight.copy_(torch.cat([out @ dual.T / a.beta, a.linear * out, -a.linear * out], 1))
    mlp.fc2.bias.zero_()
    m.visual_projection.weight.copy_(out.T)
    return m


def main():
    ap = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    for n in ("data", "text", "out"):
        ap.add_argument("--" + n, required=True)
    ap.add_argument("--crate", help="also write the float16 weights, config.json and preprocessor_config.json there")
    ap.add_argument("--side", type=int, default=32, help="pixels that the tower sees")
    ap.add_argument("--width", type=int, default=288, help="principal components, and two")
    ap.add_argument("--each", type=int, default=4, help="sprites of a concept")
    ap.add_argument("--mean", type=int, default=16, help="backgrounds that a sprite is averaged over")
    ap.add_argument("--scenes", type=int, default=8, help="pictures of each kind of scene")
    ap.add_argument("--beta", type=float, default=15, help="steepness of a prototype's unit")
    ap.add_argument("--theta", type=float, default=0.3, help="cosine from which on a prototype counts")
    ap.add_argument("--linear", type=float, default=5, help="what the linear part counts")
    ap.add_argument("--fit-ridge", type=float, default=0.2)
    ap.add_argument("--ridge", type=float, default=3)
    ap.add_argument("--floor", type=float, default=0.5, help="the constant, in mean lengths of a prototype")
    ap.add_argument("--centre", type=float, default=0.5)
    ap.add_argument("--bank", type=int, default=60)
    ap.add_argument("--seed", type=int, default=0)
    a = ap.parse_args()
    torch.set_num_threads(1)  # sums in one order: the same file on every run
    sow(a.seed)
    synth = Synth(a.data, bank=a.bank)
    m = tower(a, *prototypes(synth, a))
    torch.save(dict(cfg=m.cfg, model=m.state_dict()), a.out + ".part")
    os.replace(a.out + ".part", a.out)
    if a.crate:
        pack(a.out, f"{a.crate}/model.safetensors")
        write_json(m.cfg, f"{a.crate}/config.json")
        write_json(preprocessor(a.side), f"{a.crate}/preprocessor_config.json")


if __name__ == "__main__":
    main()
