#!/usr/bin/env python3
"""Train the embedded CLIP. Three stages; each reads and writes files under --work.

    train.py embed --data DATA --work WORK --minilm PATH     captions -> the frozen teacher's embeddings (text.pt)
    train.py image --data DATA --work WORK --minutes 70      image tower and projection P of the teacher (image.pt)
    train.py text  --data DATA --work WORK --minutes 11      small text tower distilled to P(teacher) (text_tower.pt)

`image` goes on in its own schedule with --resume; --init starts a new schedule from a checkpoint or an export, and --P
takes over (and freezes) a projection, so that the new tower shares the joint space of the old ones.
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

from checkpoint import image_part, load, projection
from generate import lowpass
from model import CLIP, MiniLM, make_config
from synth import CN, NAT, STYLES, Synth, art, augment, clutter, fade

BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def attr_phrases():
    return dict(
        style=[p for _, p in STYLES],
        nat=[p for _, p in NAT],
        col=[[f"a {c} background", f"on a {c} background"] for c in CN],
        tint=[[f"{c}", f"a {c} thing", f"something {c}"] for c in CN],
    )


def embed(a):
    s = Synth(a.data, "cpu", bank=2)
    t = MiniLM(a.minilm, a.device)
    spec, caps = s.scenes(a.scenes, 1)
    vspec, vcaps = s.scenes(3000, 2, held=True)
    names = [c["name"] for c in s.concepts]
    rng = random.Random(3)
    words = sorted(w for w in t.tok.get_vocab() if w.isascii() and w.isalpha() and len(w) > 2)
    tags = sorted({x for c in s.concepts for x in c["tags"]})
    emo = [c["name"] for c in s.concepts if c["group"] not in ("game", "flatcolor")]
    frames = ["a painting of {}", "a photo of {}", "{} at night", "{} in the rain", "a beautiful {}", "portrait of {}"]
    frames += ["{}, digital art", "a dream of {}"]
    ph = []
    for n in emo:
        ph.append("a photo of " + art(n))
        ph.append(art(rng.choice(CN) + " " + n))
        ph.append(f"{rng.choice(rng.choice(NAT)[1])} with {art(n)}")
        ph.append(f"{art(rng.choice(rng.choice(STYLES)[1]))} of {art(n)}")
    ph += [f"{art(rng.choice(words))} and {art(rng.choice(words))}" for _ in range(2000)]
    ph += [rng.choice(CN) + " " + rng.choice(words) for _ in range(3000)]
    ph += [rng.choice(frames).format(art(rng.choice(words))) for _ in range(5000)]
    ph += [x for _, p in NAT + STYLES for x in p]
    extra = words + tags + ph
    t0 = time.time()
    out = dict(spec=spec, caps=caps, names=names, extra=extra, vspec=vspec, vcaps=vcaps)
    out["name_emb"] = t.encode(names)
    print("names", time.time() - t0, flush=True)
    out["attr"] = {
        k: F.normalize(torch.stack([t.encode(p).float().mean(0) for p in v]), dim=-1).half()
        for k, v in attr_phrases().items()
    }
    uniq = sorted(set(caps))
    ix = {c: i for i, c in enumerate(uniq)}
    out["vcap_emb"] = t.encode(vcaps)
    out["cap_emb"] = t.encode(uniq, log=True)[[ix[c] for c in caps]]
    print("captions", len(uniq), time.time() - t0, flush=True)
    out["extra_emb"] = t.encode(extra)
    print("extra", len(extra), time.time() - t0, flush=True)
    torch.save(out, f"{a.work}/text.pt")


def ema_update(e, m, k):
    with torch.no_grad():
        for p, q in zip(e.parameters(), m.parameters()):
            p.lerp_(q, 1 - k)
        for p, q in zip(e.buffers(), m.buffers()):
            p.copy_(q)


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal (Newton-Schulz, fp32, matrices of one shape in one batch), for the layers' matrices.
    Keller Jordan, "Muon: An optimizer for hidden layers in neural networks", 2024."""

    def __init__(self, params, lr, wd=0.02, mom=0.95, ns=5):
        super().__init__(params, dict(lr=lr, wd=wd, mom=mom, ns=ns))

    @torch.no_grad()
    def step(self):
        for g in self.param_groups:
            by = {}
            for p in g["params"]:
                if p.grad is not None:
                    by.setdefault(p.flatten(1).shape, []).append(p)
            for sh, ps in by.items():
                us = []
                for p in ps:
                    gr = p.grad.flatten(1)
                    b = self.state[p].setdefault("b", torch.zeros_like(gr))
                    b.lerp_(gr, 1 - g["mom"])
                    us.append(gr.lerp(b, g["mom"]))
                X = torch.stack(us).float()
                tr = sh[0] > sh[1]
                X = X.mT if tr else X
                X = X / (X.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
                for _ in range(g["ns"]):
                    A = X @ X.mT
                    X = 3.4445 * X + (-4.7750 * A + 2.0315 * A @ A) @ X
                X = (X.mT if tr else X) * 0.2 * max(sh) ** 0.5  # the update's size as AdamW's
                for p, x in zip(ps, X):
                    p.mul_(1 - g["lr"] * g["wd"]).add_(x.view(p.shape), alpha=-g["lr"])


def opt_for(mods, lr, wd=0.05):
    named = [(n, p) for m in mods for n, p in m.named_parameters() if p.requires_grad]
    decayed = [p for n, p in named if p.dim() >= 2 and "embed" not in n]
    rest = [p for n, p in named if not (p.dim() >= 2 and "embed" not in n)]
    groups = [dict(params=decayed, weight_decay=wd), dict(params=rest, weight_decay=0)]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), eps=1e-6)


def optimizers(vision, mods, lr, share=1.0):
    """(the image tower's matrices, Muon for them at so much of lr, AdamW for the rest of mods); without a share, AdamW
    for all."""
    hidden = [p for n, p in vision.named_parameters() if p.dim() in (2, 4) and "embed" not in n] if share else []
    muon = Muon(hidden, lr * share) if hidden else None
    for p in hidden:
        p.requires_grad_(False)
    opt = opt_for(mods, lr)
    for p in hidden:
        p.requires_grad_(True)
    return hidden, muon, opt


def rate(a, step, prog):
    """The learning rate: up over the warm-up, then down half a cosine."""
    return a.lr * min(1, (step + 1) / a.warmup) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(prog, 1))))


def sow(seed):
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def train_image(a):
    sow(a.seed)
    dev = a.device
    T = torch.load(f"{a.work}/text.pt", weights_only=False)
    s = Synth(a.data, dev, bank=a.bank)
    cfg = make_config(vh=a.vh, vl=a.vl, patch=a.patch, th=a.th, tl=a.tl, vocab=a.vocab, proj=a.proj)
    if a.rn:
        cfg["vision_config"].update(rn_layers=[int(c) for c in a.rn.split(",")], rn_width=a.rn_width)
    m = CLIP(cfg).to(dev)
    P = nn.Linear(384, a.proj, bias=False).to(dev)
    nn.init.orthogonal_(P.weight)
    if a.P:
        P.load_state_dict({"weight": projection(a.P)})
        P.requires_grad_(False)
    spec, cap = T["spec"], T["cap_emb"].to(dev)
    names = T["name_emb"].float().to(dev)
    att = {k: v.float().to(dev) for k, v in T["attr"].items()}
    N = len(spec)
    grp = np.array([c["group"] for c in s.concepts] + [""])
    drop = a.drop.split(",") if a.drop else []
    gw = {"game": a.game_w, "people-body": 0.5, "symbols": 0.5, "flags": 0.4, "flatcolor": 0.5}
    gw |= {g: 0.0 for g in drop}
    w = np.array([gw.get(g, 1.0) for g in grp])[spec[:, 0]]
    w = w * (~np.isin(grp, drop))[spec[:, 1]]
    cdf_all = np.cumsum(w / w.sum())
    we = w * ((spec[:, 7] < 0) & (spec[:, 1] < 0) & (spec[:, 0] >= 0) & (spec[:, 3] <= 1))
    cdf_easy = np.cumsum(we / we.sum())
    # the bank of names that a picture is told apart by; single-colour game icons are in captions only
    inbank = torch.as_tensor(np.where(~np.isin(grp[:-1], ["game"] + drop))[0], device=dev)
    tobank = torch.full((len(grp) - 1,), -1, device=dev)
    tobank[inbank] = torch.arange(len(inbank), device=dev)
    params = [m.vision_model, m.visual_projection]
    hid, muon, opt = optimizers(m.vision_model, params + [P], a.lr, a.muon)
    opt.add_param_group(dict(params=[m.logit_scale], weight_decay=0))
    ls_bank = nn.Parameter(torch.tensor(math.log(a.bank_scale), device=dev))
    opt.add_param_group(dict(params=[ls_bank], weight_decay=0))
    if a.init:
        m.load_state_dict(image_part(load(a.init)["model"]), strict=False)
    em, eP = copy.deepcopy(m), copy.deepcopy(P)
    step, used = 0, 0.0
    if a.resume and os.path.exists(f"{a.work}/image.pt"):
        z = torch.load(f"{a.work}/image.pt", weights_only=False)
        m.load_state_dict(z["raw"])
        P.load_state_dict(z["rawP"])
        em.load_state_dict(z["model"])
        eP.load_state_dict(z["P"])
        opt.load_state_dict(z["opt"])
        if muon and z.get("muon"):
            muon.load_state_dict(z["muon"])
        ls_bank.data.copy_(z["ls_bank"])
        step, used = z["step"], z["used"]
    ac = torch.autocast(dev.split(":")[0], torch.bfloat16, enabled=a.bf16)
    budget, t0, tl, hist = a.minutes * 60, time.time(), 0.0, {}
    saved_clean = used > budget * (1 - a.adv_frac)

    def loss_of(x, idx, sp):
        with ac:
            z = m.image(x)
        losses = {}
        if len(x) > len(idx):  # the rest shows nothing that has a name: every name as likely as any other
            zo, z = z[len(idx) :], z[: len(idx)]
            kb = ls_bank.exp().clamp(max=40)
            for b in (names[inbank], att["nat"]):
                lp = F.log_softmax(kb * zo @ F.normalize(P(b), dim=-1).T, -1)
                losses["none"] = losses.get("none", 0) - (lp.mean(-1) + math.log(len(b))).mean() * len(zo) / len(x)
            x = x[: len(idx)]
        t = cap[idx].float()
        tp = F.normalize(P(t), dim=-1)
        k = m.logit_scale.exp().clamp(max=60)
        lg = k * z @ tp.T
        with torch.no_grad():
            sim = t @ t.T
            tgt = 0.75 * torch.eye(len(x), device=dev) + 0.25 * F.softmax(sim / 0.05, -1)
        losses["cap"] = 0.5 * (
            -(tgt * F.log_softmax(lg, -1)).sum(-1).mean() - (tgt * F.log_softmax(lg.T, -1)).sum(-1).mean()
        )
        kb = ls_bank.exp().clamp(max=40)
        c1, c2, bt, cola, nat, st, tint = (sp[:, i] for i in (0, 1, 3, 4, 6, 7, 8))
        o = (c1 >= 0) & (tobank[c1.clamp(min=0)] >= 0)
        if o.any():
            nb = F.normalize(P(names[inbank]), dim=-1)
            lp = F.log_softmax(kb * z[o] @ nb.T, -1)
            with torch.no_grad():
                b1, b2 = tobank[c1[o]], torch.where(c2[o] >= 0, tobank[c2[o].clamp(min=0)], -1)
                soft = F.softmax(names[c1[o]] @ names[inbank].T / 0.05, -1)
                g1 = torch.zeros_like(soft).scatter_(1, b1[:, None], 1.0)
                two = (b2 >= 0).float()[:, None]
                g2 = torch.zeros_like(soft).scatter_(1, b2.clamp(min=0)[:, None], 1.0)
                g1 = 0.8 * (g1 * (1 - 0.45 * two) + 0.45 * two * g2) + 0.2 * soft
            losses["name"] = -(g1 * lp).sum(-1).mean() * o.float().mean()
        for nm, sel, lab in (
            ("nat", nat >= 0, nat),
            ("style", st >= 0, st),
            ("tint", tint >= 0, tint),
            ("col", bt == 0, cola),
        ):
            if sel.any():
                b = F.normalize(P(att[nm]), dim=-1)
                losses[nm] = F.cross_entropy(kb * z[sel] @ b.T, lab[sel]) * sel.float().mean()
        weights = dict(cap=1.0, name=a.name_w, nat=0.6, style=0.6, tint=0.6, col=0.3, none=a.none_w)
        return sum(weights[k] * v for k, v in losses.items()), losses

    def save(name):
        torch.save(
            dict(
                cfg=cfg,
                model=em.state_dict(),
                P=eP.state_dict(),
                raw=m.state_dict(),
                rawP=P.state_dict(),
                opt=opt.state_dict(),
                muon=muon.state_dict() if muon else None,
                ls_bank=ls_bank.data,
                step=step,
                used=used,
            ),
            f"{a.work}/{name}",
        )

    def pick(cdf, n):
        return np.searchsorted(cdf, np.random.rand(n)).clip(max=N - 1)

    stop = t0 + a.stop_min * 60 if a.stop_min else math.inf
    while used < budget and (a.steps == 0 or step < a.steps) and time.time() < stop:
        prog = used / budget if not a.steps else step / a.steps
        adv = prog > 1 - a.adv_frac
        half = prog < a.keep_frac or adv and prog < 1 - a.adv_frac * (1 - a.adv_keep_frac)
        v = m.vision_model
        v.keep = a.keep if half else 1.0
        v.kept = v.draw(a.batch, dev) if adv and v.keep < 1 else None  # both passes of a step see the same patches
        if adv and not saved_clean:
            save("clean.pt")
            saved_clean = True
            P.requires_grad_(not a.freeze_p and not a.P)
        lr = rate(a, step, prog)
        for g in opt.param_groups:
            g["lr"] = lr
        if muon:
            muon.param_groups[0]["lr"] = lr * a.muon
        # curriculum: first mostly single large things on plain grounds, then everything
        easy = prog < a.easy_frac
        no = int(a.batch * a.none) if adv else 0
        ne = int(a.batch * (0.7 if easy else a.easy))
        idx = np.concatenate([pick(cdf_easy, ne), pick(cdf_all, a.batch - no - ne)])
        sp_np = spec[idx]
        with torch.no_grad():
            x, _, _ = s.render(sp_np, easy=easy)
            x = augment(x, 0.3 if easy else 1.0)
            if no:
                x = torch.cat([x, clutter(x, no)])
            x = fade(x, a.fade)
        sp = torch.as_tensor(sp_np, device=dev).long()
        ti = torch.as_tensor(idx, device=dev)
        opt.zero_grad(set_to_none=True)
        for p in hid:
            p.grad = None
        if adv:
            # one-step adversarial training with a random start; the start's own gradient is used too ("clean" share)
            ramp = min(1.0, a.ramp + (1 - a.ramp) * (prog - (1 - a.adv_frac)) / (0.3 * a.adv_frac))
            linf = random.random() < a.linf
            low = not linf and random.random() < a.low
            if linf:
                eps = a.eps_inf / 255 * ramp
                d0 = (torch.rand_like(x) * 2 - 1) * eps
            else:
                radius = a.eps_min + (1 - a.eps_min) * torch.rand(len(x), 1, 1, 1, device=dev)
                eps = a.eps_2 * ramp * radius * (1.25 if low else 1.0)
                d0 = torch.randn_like(x)
                if low:
                    d0 = lowpass(d0)
                d0 = d0 / d0.flatten(1).norm(dim=1)[:, None, None, None] * eps * 0.5
            xs = (x + d0).clamp(0, 1).requires_grad_(True)
            l0, _ = loss_of(xs, ti, sp)
            (a.clean_w * l0).backward()
            g = xs.grad
            with torch.no_grad():
                if linf:
                    d = (d0 + 1.25 * eps * g.sign()).clamp(-eps, eps)
                else:
                    if low:
                        g = lowpass(g)
                    d = d0 + eps * g / (g.flatten(1).norm(dim=1)[:, None, None, None] + 1e-12)
                    n = d.flatten(1).norm(dim=1)[:, None, None, None]
                    d = d * (eps / torch.maximum(n, torch.as_tensor(eps, device=dev)))
                xa = (x + d).clamp(0, 1)
            loss, parts = loss_of(xa, ti, sp)
            ((1 - a.clean_w) * loss).backward()
            parts = dict(parts, clean=l0.detach())
        else:
            loss, parts = loss_of(x, ti, sp)
            loss.backward()
        torch.nn.utils.clip_grad_norm_([p for md in params + [P] for p in md.parameters()], 1.0)
        opt.step()
        if muon:
            muon.step()
        k = min(a.ema, (step + 1) / (step + 20))
        ema_update(em, m, k)
        ema_update(eP, P, k)
        step += 1
        used += time.time() - t0 - tl
        tl = time.time() - t0
        for q, v in parts.items():
            if dev == "cpu" or step % 10 == 0:
                v = float(v.detach())
                hist[q] = 0.98 * hist.get(q, v) + 0.02 * v
        if step % a.log == 0:
            parts = " ".join(f"{q} {v:.3f}" for q, v in hist.items())
            head = f"step {step} {used:.0f}s prog {prog:.2f} {'adv' if adv else 'std'} lr {lr:.1e}"
            print(f"{head} {parts} scale {m.logit_scale.exp():.1f} {used / step * 1e3:.0f} ms/step", flush=True)
        if step % a.save_every == 0:
            save("image.pt")
    save("image.pt")
    if a.adv_frac == 0:
        save("clean.pt")


def make_tokenizer(texts, vocab, ctx):
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tok = Tokenizer(models.BPE(unk_token=EOS, continuing_subword_prefix="", end_of_word_suffix="</w>"))
    tok.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), behavior="removed", invert=True
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tok.decoder = decoders.ByteLevel()
    tr = trainers.BpeTrainer(
        vocab_size=vocab - 2,
        special_tokens=[],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tok.train_from_iterator(texts, tr)
    n = tok.get_vocab_size()
    tok.add_special_tokens([BOS, EOS])
    tok.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}", special_tokens=[(BOS, n), (EOS, n + 1)]
    )
    tok.enable_truncation(ctx)
    return tok


def train_text(a):
    torch.manual_seed(a.seed)
    dev = a.device
    T = torch.load(f"{a.work}/text.pt", weights_only=False)
    z = torch.load(f"{a.work}/{a.ckpt}", weights_only=False)
    cfg = z["cfg"]
    W = z["P"]["weight"].to(dev)
    texts = list(T["caps"]) + T["extra"] + T["names"]
    emb = torch.cat([T["cap_emb"], T["extra_emb"], T["name_emb"]]).to(dev)
    ne, nc, nn_ = len(T["extra"]), len(T["caps"]), len(T["names"])
    # extra words and names count more in the tokenizer's corpus so that common words stay whole
    if a.resume:
        from tokenizers import Tokenizer

        old = torch.load(f"{a.work}/text_tower.pt", weights_only=False, map_location=dev)
        tok = Tokenizer.from_str(old["tokenizer"])
    else:
        tok = make_tokenizer(list(T["caps"]) + T["extra"] * 3 + T["names"] * 8, a.vocab, 32)
    cfg["text_config"].update(
        vocab_size=tok.get_vocab_size(),
        bos_token_id=tok.token_to_id(BOS),
        eos_token_id=tok.token_to_id(EOS),
        pad_token_id=tok.token_to_id(EOS),
        hidden_size=a.th,
        intermediate_size=4 * a.th,
        num_hidden_layers=a.tl,
        num_attention_heads=a.th // 32,
    )
    eos = tok.token_to_id(EOS)
    ids = [e.ids for e in tok.encode_batch(texts)]
    L = np.array([len(i) for i in ids])
    A = np.full((len(ids), 32), eos, np.int32)
    for i, r in enumerate(ids):
        A[i, : len(r)] = r
    A = torch.from_numpy(A).long().to(dev)
    m = CLIP(cfg).to(dev)
    if a.resume:  # the weights only: a new schedule starts from them
        m.load_state_dict(old["model"])
    mods = [m.text_model, m.text_projection]
    opt = opt_for(mods, a.lr, 0.01)
    em = copy.deepcopy(m)
    w = np.concatenate([np.full(nc, 0.5 / nc), np.full(ne, 0.35 / ne), np.full(nn_, 0.15 / nn_)])
    cdf = np.cumsum(w / w.sum())
    with torch.no_grad():
        bank = F.normalize(
            torch.cat([T["name_emb"].float().to(dev)] + [v.float().to(dev) for v in T["attr"].values()]) @ W.T, dim=-1
        )
    budget, t0, step, hist = a.minutes * 60, time.time(), 0, {}
    while time.time() - t0 < budget and (a.steps == 0 or step < a.steps):
        prog = (time.time() - t0) / budget if not a.steps else step / a.steps
        lr = rate(a, step, prog)
        for g in opt.param_groups:
            g["lr"] = lr
        i = np.searchsorted(cdf, np.random.rand(a.batch)).clip(max=len(texts) - 1)
        n = int(min(32, L[i].max()))
        with torch.no_grad():
            t = F.normalize(emb[torch.as_tensor(i, device=dev)].float() @ W.T, dim=-1)
            bi = torch.randint(0, len(bank), (512,), device=dev)
            q = F.softmax(15 * t @ bank[bi].T, -1)
        with torch.autocast(dev.split(":")[0], torch.bfloat16, enabled=a.bf16):
            y = m.text(A[torch.as_tensor(i, device=dev), :n])
        cos = (1 - (y * t).sum(-1)).mean()
        kd = -(q * F.log_softmax(15 * y @ bank[bi].T, -1)).sum(-1).mean()
        nce = F.cross_entropy(20 * y @ t.T, torch.arange(len(i), device=dev))
        loss = 4 * cos + 0.5 * kd + 0.3 * nce
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for md in mods for p in md.parameters()], 1.0)
        opt.step()
        step += 1
        ema_update(em, m, min(0.998, step / (step + 20)))
        for k, v in (("cos", cos), ("kd", kd), ("nce", nce)):
            v = float(v.detach())
            hist[k] = 0.98 * hist.get(k, v) + 0.02 * v
        if step % a.log == 0:
            parts = " ".join(f"{k} {v:.4f}" for k, v in hist.items())
            print(f"text step {step} {time.time() - t0:.0f}s {parts}", flush=True)
    torch.save(dict(cfg=cfg, model=em.state_dict(), tokenizer=tok.to_str()), f"{a.work}/text_tower.pt")


if __name__ == "__main__":
    ap = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    ap.add_argument("stage", choices=["embed", "image", "text"])
    ap.add_argument("--data", required=True)
    ap.add_argument("--work", required=True)
    ap.add_argument("--minilm")
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--bf16", action="store_true")
    ap.add_argument("--threads", type=int, default=0)
    ap.add_argument("--scenes", type=int, default=60000)
    ap.add_argument("--minutes", type=float, default=30)
    ap.add_argument("--steps", type=int, default=0)
    ap.add_argument("--batch", type=int, default=128)
    ap.add_argument("--lr", type=float, default=1e-3)
    ap.add_argument("--warmup", type=int, default=150)
    ap.add_argument("--vh", type=int, default=192)
    ap.add_argument("--vl", type=int, default=6)
    ap.add_argument("--patch", type=int, default=8)
    ap.add_argument("--th", type=int, default=192)
    ap.add_argument("--tl", type=int, default=3)
    ap.add_argument("--vocab", type=int, default=8192)
    ap.add_argument("--proj", type=int, default=256)
    ap.add_argument("--adv-frac", type=float, default=0.45)
    ap.add_argument("--eps-inf", type=float, default=6.0)
    ap.add_argument("--eps-2", type=float, default=2.0)
    ap.add_argument("--clean-w", type=float, default=0.35)
    ap.add_argument("--freeze-p", action="store_true")
    ap.add_argument("--bank", type=int, default=160)
    ap.add_argument(
        "--keep",
        type=float,
        default=1.0,
        help="share of the patches seen early in the run (--keep-frac) and in its adversarial phase (--adv-keep-frac)",
    )
    ap.add_argument("--keep-frac", type=float, default=0.35)
    ap.add_argument("--adv-keep-frac", type=float, default=0.0)
    ap.add_argument("--easy-frac", type=float, default=0.35)
    ap.add_argument("--game-w", type=float, default=0.3)
    ap.add_argument("--name-w", type=float, default=1.0)
    ap.add_argument("--ckpt", default="image.pt", help="text stage: which image checkpoint's P to distil to")
    ap.add_argument(
        "--stop-min",
        type=float,
        default=0,
        help="end this call after so many minutes and save; --resume goes on in the same schedule",
    )
    ap.add_argument(
        "--muon", type=float, default=1.0, help="Muon's share of --lr for the layers' matrices; 0: AdamW for all"
    )
    ap.add_argument("--ema", type=float, default=0.998, help="0.994 for runs of a few thousand steps")
    ap.add_argument("--rn", default="")
    ap.add_argument("--rn-width", type=int, default=24)
    ap.add_argument("--P", default="")
    ap.add_argument(
        "--init", default="", help="checkpoint whose image tower the run starts from, with a new optimiser and schedule"
    )
    ap.add_argument("--drop", default="", help="groups of concepts to leave out, e.g. flags,symbols")
    ap.add_argument("--bank-scale", type=float, default=12.0)
    ap.add_argument(
        "--none",
        type=float,
        default=0.0,
        help="share of an adversarial batch that shows nothing with a name (noise, shuffled tiles)",
    )
    ap.add_argument("--none-w", type=float, default=0.5)
    ap.add_argument(
        "--fade",
        type=float,
        default=0.0,
        help="share of pictures low-passed, faded towards grey and noisy, as half-painted ones are",
    )
    ap.add_argument(
        "--easy", type=float, default=0.15, help="share of single large things on plain grounds after the easy part"
    )
    ap.add_argument("--linf", type=float, default=0.5, help="share of adversarial steps under L-inf, the rest under L2")
    ap.add_argument("--low", type=float, default=0.0, help="share of L2 steps whose attack is low-passed")
    ap.add_argument(
        "--eps-min",
        type=float,
        default=1.0,
        help="each picture's L2 radius is drawn from this share of --eps-2 up to all of it",
    )
    ap.add_argument("--ramp", type=float, default=0.0)
    ap.add_argument(
        "--resume",
        action="store_true",
        help="image: go on in the same schedule; text: a new schedule from WORK/text_tower.pt",
    )
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--log", type=int, default=50)
    ap.add_argument("--save-every", type=int, default=400)
    a = ap.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    os.makedirs(a.work, exist_ok=True)
    torch.set_float32_matmul_precision("high")
    {"embed": embed, "image": train_image, "text": train_text}[a.stage](a)
