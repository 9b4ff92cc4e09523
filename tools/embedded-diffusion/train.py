#!/usr/bin/env python3
"""Trains the embedded diffusion model: text to the latents of the embedded VQGAN, in the layout of diffusers.

    train.py --places places.pt --work WORK --minutes 90 [--bf16] [--batch 64] [--device cpu|cuda] [--start average.safetensors]

WORK/state.pt is written every few minutes, and a later call goes on from it; minutes are those of all calls together, of the processor
or, on a GPU, of the clock, and the learning rate falls over the last 60 % of them. WORK/average.safetensors has the averaged weights in half
precision, WORK/latest.safetensors the last ones, WORK/sheet.png samples.
"""

import argparse
import copy
import math
import os
import sys
import time

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from safetensors.torch import load_file, save_file

from compose import Composer
from parts import SCALE, SIDE, TOOLS, Text, vqgan

sys.path.append(str(TOOLS / "embedded-vqgan"))
from muon import Muon  # noqa: E402

MODEL = dict(
    sample_size=12,
    in_channels=8,
    out_channels=8,
    down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    block_out_channels=(96, 160),
    layers_per_block=1,
    cross_attention_dim=128,
    attention_head_dim=4,  # the number of heads
    norm_num_groups=16,
)
# velocities are predicted well at every noise level, also by a small network (Salimans and Ho 2022)
SCHEDULE = dict(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=False)
PROMPTS = [
    "a cat", "a red apple", "a blue butterfly", "a green car", "a sunset over the sea", "a snowy mountain", "a castle", "a sailboat on the sea",
    "a purple heart on a yellow background", "a house in the snow", "a rocket in space", "a horse in a meadow", "an owl at night", "a yellow flower", "a forest", "a lighthouse",
    "a dog", "a teapot", "a guitar", "a mushroom", "an elephant and a ball", "a red car beside a blue house", "three apples", "a bird on a chair",
]  # fmt: skip


class Pool:
    """Latents and the states of their captions, composed at the start; the oldest give way to new ones."""

    def __init__(self, composer, text, vae, size, device):
        self.composer, self.text, self.vae, self.device = composer, text, vae, device
        self.latents = torch.empty(size, 8, SIDE // 8, SIDE // 8, dtype=torch.float16, device=device)
        self.states = torch.empty(size, 32, 128, dtype=torch.float16, device=device)
        self.nothing = text([""])
        self.at = self.filled = 0

    @torch.no_grad()
    def add(self, n):
        texts, pictures = self.composer.paint(n)
        x = (pictures * 2 - 1).to(memory_format=torch.channels_last)
        with torch.autocast(self.device, torch.bfloat16):
            z = self.vae.quant_conv(self.vae.encoder(x))
        at = (self.at + torch.arange(n, device=self.device)) % len(self.latents)
        self.latents[at], self.states[at] = z.half() * SCALE, self.text(texts).half()
        self.at = (self.at + n) % len(self.latents)
        self.filled = min(self.filled + n, len(self.latents))

    def batch(self, n, g, without=0.1):
        """Latents [n, 8, side, side] and the states of their captions, some of an empty one."""
        rows = torch.randint(self.filled, (n,), generator=g, device=self.device)
        empty = torch.rand(n, 1, 1, generator=g, device=self.device) < without
        return self.latents[rows].float(), torch.where(empty, self.nothing, self.states[rows].float())


class Noise:
    def __init__(self, device):
        kept = DDPMScheduler(**SCHEDULE).alphas_cumprod.to(device)[:, None, None, None]
        self.signal, self.noise, self.device = kept.sqrt(), (1 - kept).sqrt(), device

    def __call__(self, x, g):
        """Noisy latents, their timesteps, and the velocities to predict."""
        t = torch.randint(1000, (len(x),), generator=g, device=self.device)
        e = torch.randn(x.shape, generator=g, device=self.device)
        return self.signal[t] * x + self.noise[t] * e, t, self.signal[t] * e - self.noise[t] * x


@torch.no_grad()
def sheet(unet, vae, text, path, device, guidance=4.0, steps=25, rows=4):
    schedule = DDIMScheduler(**SCHEDULE)
    schedule.set_timesteps(steps)
    states, nothing = text(PROMPTS), text([""])
    columns = []
    for row in range(rows):
        x = torch.randn(len(PROMPTS), 8, 12, 12, generator=torch.Generator().manual_seed(row)).to(device)
        for t in schedule.timesteps:
            one = unet(x, t.to(device), states).sample
            two = unet(x, t.to(device), nothing.expand(len(PROMPTS), -1, -1)).sample
            x = schedule.step(two + guidance * (one - two), t, x).prev_sample
        columns.append(torch.cat([vae.decoder(vae.post_quant_conv(z / SCALE)) for z in x.split(8)]))
    x = torch.stack(columns).add(1).mul(127.5).round().clamp(0, 255).byte().cpu()
    x = x.permute(0, 3, 1, 4, 2).reshape(rows * SIDE, len(PROMPTS) * SIDE, 3)
    Image.fromarray(x.numpy()).save(path)


def in_8_bits(name, weight):
    """As it is embedded: matrices and convolutions in 8 bits, the first, the last and those of the time in 16."""
    small = weight.dim() > 1 and not name.startswith(("conv_in", "conv_out", "time_emb"))
    return weight.to(torch.float8_e4m3fn) if small else weight.half()


@torch.no_grad()
def held_out(unet, pool, noise, device):
    """The loss on pictures that no step sees."""
    total, g = 0.0, torch.Generator(device).manual_seed(0)
    for _ in range(8):
        x, states = pool.batch(512, g, without=0.0)
        noisy, t, velocity = noise(x, g)
        total += F.mse_loss(unet(noisy, t, states).sample, velocity).item() / 8
    return total


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--places", required=True)
    ap.add_argument("--work", required=True)
    ap.add_argument("--minutes", type=float, required=True)
    ap.add_argument("--start", help="weights to start from")
    ap.add_argument("--batch", type=int, default=64)
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--pool", type=int, default=20000, help="pictures at a time")
    ap.add_argument("--pool-seconds", type=float, default=1e9, help="that composing the first of them may take")
    ap.add_argument("--fresh", type=int, default=4, help="of 100 pictures that a step sees, how many are composed anew")
    ap.add_argument("--every", type=int, default=1000, help="steps between two sheets")
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--bf16", action="store_true")
    ap.add_argument("--no-state", action="store_true", help="write weights only")
    a = ap.parse_args()
    os.makedirs(a.work, exist_ok=True)
    torch.manual_seed(a.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    dev, began = a.device, time.time()
    clock = time.process_time if dev == "cpu" else time.time
    text, vae, noise = Text(dev), vqgan().to(dev, memory_format=torch.channels_last), Noise(dev)
    unet = UNet2DConditionModel(**MODEL).to(dev)
    if a.start:
        unet.load_state_dict({k: v.float() for k, v in load_file(a.start, device=dev).items()})
    if dev == "cpu":
        # the gradient of PyTorch's fused attention takes half of a step there
        unet.set_attn_processor(AttnProcessor())
    average = copy.deepcopy(unet).eval().requires_grad_(False)
    matrices = [p for k, p in unet.named_parameters() if p.dim() > 1 and not k.startswith(("conv_in", "conv_out", "time_emb"))]
    chosen = {id(p) for p in matrices}
    others = [p for p in unet.parameters() if id(p) not in chosen]
    opts = [Muon(matrices, lr=a.lr, decay=0.01), torch.optim.AdamW(others, lr=a.lr, betas=(0.9, 0.99), weight_decay=0.01)]
    step, spent, path = 0, 0.0, f"{a.work}/state.pt"
    if os.path.exists(path):
        z = torch.load(path, map_location=dev)
        unet.load_state_dict(z["unet"]), average.load_state_dict(z["average"])
        for opt, state in zip(opts, z["opts"]):
            opt.load_state_dict(state)
        step, spent = z["step"], z["spent"]

    def save():
        for name, model in (("average", average), ("latest", unet)):
            weights = {k: v.detach().half().cpu().contiguous() for k, v in model.state_dict().items()}
            save_file(weights, f"{a.work}/{name}.safetensors.part")
            os.replace(f"{a.work}/{name}.safetensors.part", f"{a.work}/{name}.safetensors")
        if not a.no_state:
            z = dict(unet=unet.state_dict(), average=average.state_dict(), opts=[o.state_dict() for o in opts], step=step, spent=spent)
            torch.save(z, path + ".part")
            os.replace(path + ".part", path)

    unseen = Pool(Composer(a.places, 1_000_003, dev), text, vae, 4096, dev)
    pool = Pool(Composer(a.places, a.seed * 1_000_003 + step, dev), text, vae, a.pool, dev)
    for _ in range(8):
        unseen.add(512)
    t0, part = time.time(), min(512, a.pool)
    while pool.filled < a.pool and time.time() - t0 < a.pool_seconds:
        pool.add(part)
    print(f"{sum(p.numel() for p in unet.parameters()) / 1e6:.2f} million weights, {pool.filled} pictures in {time.time() - t0:.0f} s", flush=True)
    g = torch.Generator(dev).manual_seed(a.seed * 1_000_003 + step)
    saved, last, started, first = time.time(), clock(), time.time(), step
    total, due = torch.zeros((), device=dev), 0.0
    while spent < 60 * a.minutes:
        done = spent / 60 / a.minutes
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = a.lr * min(1, (step + 1) / 100) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * max(0, done - 0.4) / 0.6)))
        x, states = pool.batch(a.batch, g)
        noisy, t, velocity = noise(x, g)
        with torch.autocast(dev, torch.bfloat16, enabled=a.bf16):
            loss = F.mse_loss(unet(noisy, t, states).sample.float(), velocity)
        for opt in opts:
            opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        for opt in opts:
            opt.step()
        step += 1
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(unet.parameters()), 1 - min(0.999, (1 + step) / (10 + step)))
            total += loss.detach()
        due += a.batch * a.fresh / 100
        if due >= part:
            pool.add(part)
            due -= part
        if step % 100 == 0:
            mean = total.item() / 100
            total.zero_()
            print(f"{step} loss {mean:.4f} {spent / 60:.2f} min {(step - first) * a.batch / (time.time() - started):.0f} a second", flush=True)
        now = clock()
        spent, last = spent + now - last, now
        if step % a.every == 0:
            sheet(average, vae, text, f"{a.work}/sheet.png", dev)
        if time.time() - saved > (180 if dev == "cpu" else 60):
            save()
            saved = time.time()
    save()
    print(f"{step} steps, held out {held_out(average, unseen, noise, dev):.4f}", end=" ", flush=True)
    average.load_state_dict({k: in_8_bits(k, v).float() for k, v in average.state_dict().items()})
    print(f"in 8 bits {held_out(average, unseen, noise, dev):.4f}; {time.time() - began:.0f} s in all", flush=True)
    sheet(average, vae, text, f"{a.work}/sheet.png", dev)


if __name__ == "__main__":
    main()
