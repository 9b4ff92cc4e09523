#!/usr/bin/env python3
"""The PyTorch twin of the diffusion step benchmark: a UNet2DModel's prediction, and a gradient of it back to the noisy image.

    pip install torch diffusers
    python benches/peers/diffusion_step.py [ddpm|small] [around|through|recompute] [--threads N] [--repeats N]

`recompute` is diffusers' gradient checkpointing. Random weights, float32, `requires_grad` off, so that the backward pass makes the input's
gradient alone. Prints one line of JSON.
"""

import argparse
import json
import os
import resource
import statistics
import time

import torch
from diffusers import UNet2DModel

D, U, AD, AU = "DownBlock2D", "UpBlock2D", "AttnDownBlock2D", "AttnUpBlock2D"
SHAPES = dict(
    ddpm=dict(
        sample_size=256,
        block_out_channels=(128, 128, 256, 256, 512, 512),
        down_block_types=(D, D, D, D, AD, D),
        up_block_types=(U, AU, U, U, U, U),
        downsample_padding=0,
        attention_head_dim=None,
        norm_eps=1e-6,
        freq_shift=1,
        flip_sin_to_cos=False,
    ),
    small=dict(
        sample_size=64,
        block_out_channels=(32, 64, 96, 160),
        down_block_types=(D, D, AD, AD),
        up_block_types=(AU, AU, U, U),
        layers_per_block=1,
        norm_num_groups=16,
        attention_head_dim=32,
    ),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", nargs="?", default="ddpm", choices=SHAPES)
    parser.add_argument("mode", nargs="?", default="through", choices=("around", "through", "recompute"))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    shape = SHAPES[args.shape]
    model = UNet2DModel(**shape).requires_grad_(False)
    if args.mode == "recompute":
        model.enable_gradient_checkpointing()
        model.train()  # diffusers recomputes in training alone; there is no dropout
    else:
        model.eval()
    side = shape["sample_size"]
    x = torch.randn(1, 3, side, side)
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    before = peak()
    times = []
    for repeat in range(args.repeats + 1):
        start = time.perf_counter()
        if args.mode == "around":
            with torch.no_grad():
                x - model(x, 500).sample
        else:
            noisy = x.detach().requires_grad_(True)
            clean = noisy - model(noisy, 500).sample
            torch.autograd.grad(clean, noisy, torch.ones_like(clean))
        if repeat:
            times.append(time.perf_counter() - start)
    print(
        json.dumps(
            dict(
                name=f"diffusion_step/{args.shape}/{args.mode}",
                seconds_min=round(min(times), 4),
                seconds_median=round(statistics.median(times), 4),
                repeats=len(times),
                weights_mib=round(before),
                peak_mib=round(peak()),
                torch=torch.__version__,
                threads=args.threads,
            )
        )
    )


if __name__ == "__main__":
    main()
