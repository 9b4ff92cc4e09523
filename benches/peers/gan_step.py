#!/usr/bin/env python3
"""The PyTorch twin of the GAN step benchmark: a picture by a generator of FastGAN's shape, and its gradient taken back to the latent.

    pip install torch
    python benches/peers/gan_step.py [--threads N] [--repeats N] [--channels-last]

Random weights, float32, `requires_grad` off, so that the backward pass makes the latent's gradient alone. Batch normalisations stay layers, as
where published checkpoints are loaded; with `--fold` they are part of the convolutions. Prints a line of JSON.
"""

import argparse
import json
import os
import statistics
import time

import torch
from torch import nn

CHANNELS = [1024, 512, 256, 128, 128, 64, 32]
LATENTS = 256


class FastGan(nn.Module):
    def __init__(self, fold):
        super().__init__()
        self.planes = {}
        norm = (lambda channels: nn.Identity()) if fold else nn.BatchNorm2d
        conv = lambda i, o, k, p: nn.Conv2d(i, o, k, padding=p, bias=fold and k == 3)
        first = nn.ConvTranspose2d(LATENTS, 2 * CHANNELS[0], 4, bias=fold)
        self.first = nn.Sequential(first, norm(2 * CHANNELS[0]), nn.GLU(1))
        self.steps, self.gates = nn.ModuleList(), nn.ModuleDict()
        for index, (inputs, outputs) in enumerate(zip(CHANNELS, CHANNELS[1:])):
            layers = [nn.Upsample(scale_factor=2)]
            for _ in range(1 if index % 2 else 2):
                layers += [conv(inputs, 2 * outputs, 3, 1), *([] if index % 2 else [Noise(8 << index)])]
                layers += [norm(2 * outputs), nn.GLU(1)]
                inputs = outputs
            self.steps.append(nn.Sequential(*layers))
            if index >= 3:
                gate = [nn.AdaptiveAvgPool2d(4), conv(CHANNELS[index - 3], outputs, 4, 0), nn.SiLU()]
                self.gates[str(index)] = nn.Sequential(*gate, conv(outputs, outputs, 1, 0), nn.Sigmoid())
        self.last = nn.Conv2d(CHANNELS[-1], 3, 3, padding=1, bias=False)

    def forward(self, z):
        seen = [self.first(z[..., None, None])]
        for index, step in enumerate(self.steps):
            x = step(seen[-1])
            if index >= 3:
                x = x * self.gates[str(index)](seen[index - 3])
            seen.append(x)
        return self.last(seen[-1]) / 2 + 0.5


class Noise(nn.Module):
    def __init__(self, side):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.register_buffer("plane", torch.randn(1, 1, side, side))

    def forward(self, x):
        return x + self.weight * self.plane


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--fold", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    network = FastGan(args.fold).eval().requires_grad_(False)
    if args.channels_last:
        network = network.to(memory_format=torch.channels_last)
    latent = torch.randn(1, LATENTS)
    whole, forward = [], []
    for repeat in range(args.repeats + 1):
        z = latent.detach().requires_grad_(True)
        start = time.perf_counter()
        image = network(z)
        painted = time.perf_counter() - start
        (grad,) = torch.autograd.grad(image, z, image.detach())
        if repeat:
            whole.append(time.perf_counter() - start)
            forward.append(painted)
    assert image.shape == (1, 3, 256, 256) and grad.shape == latent.shape
    print(
        json.dumps(
            dict(
                name="fastgan-256",
                seconds_min=min(whole),
                seconds_median=statistics.median(whole),
                forward_seconds_min=min(forward),
                repeats=args.repeats,
                torch=torch.__version__,
                threads=args.threads,
                channels_last=args.channels_last,
                folded=args.fold,
            )
        )
    )


if __name__ == "__main__":
    main()
