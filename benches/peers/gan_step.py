#!/usr/bin/env python3
"""The PyTorch twin of the GAN step benchmark: a picture by a generator of a published shape, and its gradient taken back to the latents.

    pip install torch pytorch-pretrained-biggan
    python benches/peers/gan_step.py [--model fastgan|stylegan2|biggan] [--threads N] [--repeats N] [--channels-last]

Random weights, float32, `requires_grad` off, so that the backward pass makes the latent's gradient alone. Batch normalisations stay layers, as
where published checkpoints are loaded; with `--fold` FastGAN's are part of the convolutions. StyleGAN2 modulates its kernels, as its published
versions in PyTorch do. Prints a line of JSON.
"""

import argparse
import json
import math
import os
import statistics
import time

import torch
import torch.nn.functional as F
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


class Modulated(nn.Module):
    """A convolution by kernels that a style scales, and noise and activation behind it if it makes no colours."""

    def __init__(self, inputs, outputs, side, up=False):
        super().__init__()
        self.up, self.colors = up, outputs == 3
        size = 1 if self.colors else 3
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size) / math.sqrt(inputs * size * size))
        self.style = nn.Linear(512, inputs)
        self.bias = nn.Parameter(torch.zeros(1, outputs, 1, 1))
        self.strength = nn.Parameter(torch.ones(1))
        self.register_buffer("plane", torch.randn(1, 1, side, side))

    def forward(self, x, w):
        weight = self.weight * (self.style(w) + 1).view(1, -1, 1, 1)
        if self.colors:
            return F.conv2d(x, weight) + self.bias
        weight = weight * torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        if self.up:
            x = fir(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), 1, 1)
        else:
            x = F.conv2d(x, weight, padding=1)
        return F.leaky_relu(x + self.strength * self.plane + self.bias, 0.2) * math.sqrt(2)


FIR = torch.tensor([1.0, 3.0, 3.0, 1.0]).outer(torch.tensor([1.0, 3.0, 3.0, 1.0])) / 16


def fir(x, before, after):
    """Filters every channel."""
    c = x.shape[1]
    x = F.pad(x, (before, after, before, after))
    return F.conv2d(x, FIR.expand(c, 1, 4, 4), groups=c)


def enlarged(x):
    n, c, h, w = x.shape
    x = F.pad(x.reshape(n, c, h, 1, w, 1), (0, 1, 0, 0, 0, 1)).reshape(n, c, 2 * h, 2 * w)
    return fir(x, 2, 1)


class StyleGan2(nn.Module):
    """Config F of 256 pixels, from a row of w for each layer."""

    def __init__(self):
        super().__init__()
        channels = [512, 512, 512, 512, 512, 256, 128]
        self.input = nn.Parameter(torch.randn(1, 512, 4, 4))
        self.convs, self.colors = nn.ModuleList([Modulated(512, 512, 4)]), nn.ModuleList([Modulated(512, 3, 1)])
        for level, (inputs, outputs) in enumerate(zip(channels, channels[1:])):
            side = 8 << level
            self.convs += [Modulated(inputs, outputs, side, True), Modulated(outputs, outputs, side)]
            self.colors.append(Modulated(outputs, 3, 1))

    def forward(self, rows):
        x = self.convs[0](self.input, rows[0])
        picture = self.colors[0](x, rows[1])
        for level in range(1, len(self.colors)):
            row = 2 * level - 1
            x = self.convs[row](x, rows[row])
            x = self.convs[row + 1](x, rows[row + 1])
            picture = enlarged(picture) + self.colors[level](x, rows[row + 2])
        return picture / 2 + 0.5


class BigGan(nn.Module):
    """BigGAN-deep of 128 pixels, from noise and numbers of classes, the same for all blocks."""

    def __init__(self):
        super().__init__()
        from pytorch_pretrained_biggan import BigGAN, BigGANConfig

        self.inner = BigGAN(BigGANConfig())

    def forward(self, latents):
        z, classes = latents.split([128, 1000], 1)
        return self.inner(z, classes.sigmoid(), 1.0) / 2 + 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fastgan", choices=["fastgan", "stylegan2", "biggan"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--fold", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    networks = {
        "fastgan": (lambda: FastGan(args.fold), "fastgan-256", (1, LATENTS)),
        "stylegan2": (StyleGan2, "stylegan2-f-256", (14, 512)),
        "biggan": (BigGan, "biggan-deep-128", (1, 1128)),
    }
    make, name, shape = networks[args.model]
    network = make().eval().requires_grad_(False)
    if args.channels_last:
        network = network.to(memory_format=torch.channels_last)
    latent = torch.randn(shape)
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
    assert grad.shape == latent.shape
    print(
        json.dumps(
            dict(
                name=name,
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
