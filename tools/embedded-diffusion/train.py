#!/usr/bin/env python3
"""Trains a tiny unconditional diffusion model, in the layout of diffusers, on pictures packed in one file.

    train.py --pictures pictures.npy --work WORK [--steps 60000] [--batch 16] [--minutes M] [--device cpu|cuda]

pictures.npy is an array [count, 3, side, side] of uint8, as ../embedded-vqgan/pictures.py writes it; it is brought to 64 x 64. WORK holds
the state, which a later call goes on from, and WORK/model: the averaged weights in half precision, with the noise schedule, which
`generator: { kind: diffusion, model: WORK/model }` reads.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DModel

SIDE = 64
MODEL = dict(
    sample_size=SIDE,
    block_out_channels=(32, 64, 96, 128),
    down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    layers_per_block=1,
    norm_num_groups=16,
    attention_head_dim=32,
    downsample_padding=1,
)
# velocities are predicted well at every noise level, also by a small network (Salimans and Ho 2022)
SCHEDULE = dict(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=True)


class Average:
    """An exponential moving average of the weights, quicker at the start."""

    def __init__(self, model, most=0.9995):
        self.most = most
        self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}

    def update(self, model, step):
        decay = min(self.most, (1 + step) / (10 + step))
        for k, v in model.state_dict().items():
            self.weights[k].lerp_(v, 1 - decay)


def batch(pictures, generator, size, device):
    rows = torch.randint(len(pictures), (size,), generator=generator).numpy()
    x = torch.from_numpy(pictures[np.sort(rows)]).to(device).float() / 127.5 - 1
    if x.shape[-1] != SIDE:
        x = F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", antialias=True)
    flip = torch.rand(size, generator=generator) < 0.5
    x[flip] = x[flip].flip(-1)
    return x


def write(path, save):
    """Written aside, then renamed."""
    aside = path.with_name(path.name + ".new")
    save(aside)
    os.replace(aside, path)


def export(average, work):
    model = UNet2DModel(**MODEL)
    model.load_state_dict(average.weights)
    folder = work / "model"
    model.half().save_pretrained(folder)
    (folder / "scheduler_config.json").write_text(
        json.dumps(dict(_class_name="DDPMScheduler", num_train_timesteps=1000, **SCHEDULE), indent=2) + "\n"
    )


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--pictures", required=True)
    ap.add_argument("--work", required=True)
    ap.add_argument("--steps", type=int, default=60000)
    ap.add_argument("--batch", type=int, default=16)
    ap.add_argument("--lr", type=float, default=3e-4)
    ap.add_argument("--minutes", type=float, default=float("inf"))
    ap.add_argument("--save-every", type=float, default=5, help="minutes")
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    work = Path(a.work)
    work.mkdir(parents=True, exist_ok=True)
    pictures = np.load(a.pictures, mmap_mode="r")
    torch.manual_seed(a.seed)
    model = UNet2DModel(**MODEL).to(a.device)
    schedule = DDPMScheduler(**SCHEDULE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=a.lr, weight_decay=0.01)
    average, step, losses = Average(model), 0, []
    state = work / "state.pt"
    if state.exists():
        saved = torch.load(state, map_location=a.device, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average.weights, step = saved["average"], saved["step"]
    count = sum(p.numel() for p in model.parameters())
    print(f"{count / 1e6:.2f} million weights, at step {step}", flush=True)

    def save():
        parts = dict(model=model.state_dict(), optimizer=optimizer.state_dict(), average=average.weights, step=step)
        write(state, lambda path: torch.save(parts, path))
        export(average, work)

    begin = saved_at = time.time()
    while step < a.steps and time.time() - begin < 60 * a.minutes:
        # each step has its own numbers, so that going on is as if there had been no stop
        generator = torch.Generator().manual_seed(a.seed * 1_000_003 + step)
        x = batch(pictures, generator, a.batch, a.device)
        t = torch.randint(1000, (a.batch,), generator=generator).to(a.device)
        noise = torch.randn(x.shape, generator=generator).to(a.device)
        loss = F.mse_loss(model(schedule.add_noise(x, noise, t), t).sample, schedule.get_velocity(x, noise, t))
        lr = a.lr * min(1, (step + 1) / 500) * max(0.02, 1 - step / a.steps)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        average.update(model, step)
        losses.append(loss.item())
        if step % 50 == 0:
            recent = sum(losses[-200:]) / len(losses[-200:])
            print(f"step {step} loss {recent:.4f} {(time.time() - begin) / 60:.1f} min", flush=True)
        if time.time() - saved_at > 60 * a.save_every:
            save()
            saved_at = time.time()
    save()


if __name__ == "__main__":
    main()
