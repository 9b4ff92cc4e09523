#!/usr/bin/env python3
"""Trains the embedded diffusion model: text to the latents of the embedded VQGAN, in the layout of diffusers.

    train.py --data RUN --work WORK --minutes 90 [--bf16] [--batch 64] [--device cpu|cuda]

RUN is what pictures.py wrote. WORK/state.pt is written every few minutes, and a later call goes on from it; minutes are of the
processor, those of all calls together, and the learning rate falls over the last half of them. WORK/model is a pipeline (`unet/`, `scheduler/`, `vae/`, `text_encoder/`, `tokenizer/`)
with the averaged weights in half precision, which `generator: { kind: diffusion, model: WORK/model }` reads. WORK/sheet-STEP.png are samples.
"""

import argparse
import copy
import glob
import json
import math
import os
import shutil
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import AttnProcessor
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DConditionModel
from PIL import Image

from pictures import CRATES, TOOLS, Text, encoder

sys.path.append(str(TOOLS / "embedded-vqgan"))
from muon import Muon  # noqa: E402

MODEL = dict(
    sample_size=12,
    in_channels=8,
    out_channels=8,
    down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    block_out_channels=(64, 112),
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
]  # fmt: skip


# what makes latents of about unit variance
SCALE = 0.385


class Data:
    def __init__(self, folder):
        parts = [torch.load(p) for p in sorted(glob.glob(f"{folder}/pictures-*.pt"))]
        self.latents = torch.cat([p["latents"] for p in parts])
        self.numbers = torch.cat([p["captions"] for p in parts])
        self.states = torch.load(f"{folder}/captions.pt")["states"]

    def batch(self, n, g, nothing=0.1):
        """Latents [n, 8, side, side] and the states of their captions, of a tenth those of an empty one."""
        rows = torch.randint(len(self.latents), (n,), generator=g)
        x = self.latents[rows, torch.randint(2, (n,), generator=g)].float() * SCALE
        captions = self.numbers[rows].masked_fill(torch.rand(n, generator=g) < nothing, 0)
        return x, self.states[captions].float()


@torch.no_grad()
def sheet(unet, vae, text, path, guidance=3.0, steps=25, rows=4):
    schedule = DDIMScheduler(**SCHEDULE)
    schedule.set_timesteps(steps)
    states, nothing = text(PROMPTS), text([""])
    columns = []
    for row in range(rows):
        x = torch.randn(len(PROMPTS), 8, 12, 12, generator=torch.Generator().manual_seed(row))
        for t in schedule.timesteps:
            one = unet(x, t, states).sample
            two = unet(x, t, nothing.expand(len(PROMPTS), -1, -1)).sample
            x = schedule.step(two + guidance * (one - two), t, x).prev_sample
        columns.append(torch.cat([vae.decoder(vae.post_quant_conv(z / SCALE)) for z in x.split(8)]))
    x = torch.stack(columns).add(1).mul(127.5).round().clamp(0, 255).byte()
    x = x.permute(0, 3, 1, 4, 2).reshape(rows * 96, len(PROMPTS) * 96, 3)
    Image.fromarray(x.numpy()).save(path)


def export(weights, work):
    folder = Path(work) / "model"
    unet = UNet2DConditionModel(**MODEL)
    unet.load_state_dict(weights)
    unet.half().save_pretrained(folder / "unet")
    os.makedirs(folder / "scheduler", exist_ok=True)
    (folder / "scheduler/scheduler_config.json").write_text(
        json.dumps(dict(_class_name="DDPMScheduler", num_train_timesteps=1000, **SCHEDULE), indent=2) + "\n"
    )
    for name, source in (("vae", "embedded-vqgan/src"), ("text_encoder", "clip/src/embedded")):
        os.makedirs(folder / name, exist_ok=True)
        for f in (CRATES / source).glob("*.json"):
            shutil.copy(f, folder / name)
            if name == "vae":
                config = json.loads(f.read_text()) | dict(scaling_factor=SCALE)
                (folder / name / f.name).write_text(json.dumps(config, indent=2) + "\n")
        for f in (CRATES / source).glob("*.safetensors"):
            shutil.copy(f, folder / name)
    os.makedirs(folder / "tokenizer", exist_ok=True)
    shutil.copy(CRATES / "clip/src/embedded/tokenizer.json", folder / "tokenizer")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", required=True)
    ap.add_argument("--work", required=True)
    ap.add_argument("--minutes", type=float, required=True)
    ap.add_argument("--batch", type=int, default=64)
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--every", type=int, default=1000, help="steps between two sheets")
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--bf16", action="store_true")
    a = ap.parse_args()
    os.makedirs(a.work, exist_ok=True)
    torch.manual_seed(a.seed)
    data, text, vae = Data(a.data), Text(), encoder()
    unet = UNet2DConditionModel(**MODEL).to(a.device)
    if a.device == "cpu":
        # the gradient of PyTorch's fused attention takes half of a step there
        unet.set_attn_processor(AttnProcessor())
    average = copy.deepcopy(unet).eval().requires_grad_(False)
    print(f"{sum(p.numel() for p in unet.parameters()) / 1e6:.2f} million weights, {len(data.latents)} pictures", flush=True)
    matrices = [p for k, p in unet.named_parameters() if p.dim() > 1 and not k.startswith(("conv_in", "conv_out", "time_emb"))]
    chosen = {id(p) for p in matrices}
    others = [p for p in unet.parameters() if id(p) not in chosen]
    opts = [Muon(matrices, lr=a.lr, decay=0.01), torch.optim.AdamW(others, lr=a.lr, betas=(0.9, 0.99), weight_decay=0.01)]
    schedule = DDPMScheduler(**SCHEDULE)
    signal = schedule.alphas_cumprod.sqrt()[:, None, None, None], (1 - schedule.alphas_cumprod).sqrt()[:, None, None, None]
    step, spent, path = 0, 0.0, f"{a.work}/state.pt"
    if os.path.exists(path):
        z = torch.load(path, map_location=a.device)
        unet.load_state_dict(z["unet"]), average.load_state_dict(z["average"])
        for opt, state in zip(opts, z["opts"]):
            opt.load_state_dict(state)
        step, spent = z["step"], z["spent"]

    def save():
        z = dict(unet=unet.state_dict(), average=average.state_dict(), opts=[o.state_dict() for o in opts], step=step, spent=spent)
        torch.save(z, path + ".part")
        os.replace(path + ".part", path)

    saved, last = time.time(), time.process_time()
    total = 0.0
    while spent < 60 * a.minutes:
        done = spent / 60 / a.minutes
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = a.lr * min(1, (step + 1) / 100) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * max(0, done - 0.4) / 0.6)))
        g = torch.Generator().manual_seed(a.seed * 1_000_003 + step)
        x, states = data.batch(a.batch, g)
        t = torch.randint(1000, (a.batch,), generator=g)
        noise = torch.randn(x.shape, generator=g)
        alpha, sigma = signal[0][t], signal[1][t]
        noisy, velocity = alpha * x + sigma * noise, alpha * noise - sigma * x
        noisy, velocity, states, t = (v.to(a.device) for v in (noisy, velocity, states, t))
        with torch.autocast(a.device, torch.bfloat16, enabled=a.bf16):
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
        total += loss.item()
        now = time.process_time()
        spent, last = spent + now - last, now
        if step % 100 == 0:
            print(f"{step} loss {total / 100:.4f} {spent / 60:.1f} min", flush=True)
            total = 0.0
        if step % a.every == 0:
            sheet(average, vae, text, f"{a.work}/sheet-{step:06}.png")
        if time.time() - saved > 180:
            save(), export(average.state_dict(), a.work)
            saved = time.time()
    save(), export(average.state_dict(), a.work)
    sheet(average, vae, text, f"{a.work}/sheet.png")


if __name__ == "__main__":
    main()
