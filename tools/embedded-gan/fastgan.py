"""A small FastGAN (Liu et al. 2021) in the layout of its authors, and discriminators on the features of a trained tower (Sauer et al. 2021)."""

import sys
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

TOOLS = Path(__file__).resolve().parents[1]
sys.path.append(str(TOOLS / "embedded-vqgan"))
from model import Tower  # noqa: E402

LATENTS = 128
CHANNELS = {4: 192, 8: 192, 16: 96, 32: 64, 64: 32}


class Noise(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x + self.weight * torch.randn(x.shape[0], 1, *x.shape[2:]).to(x.dtype)


def conv(i, o, k=3, p=1):
    return nn.Conv2d(i, o, k, 1, p, bias=False)


def step(i, o, twice):
    layers = [nn.Upsample(scale_factor=2)]
    for inputs in (i, o) if twice else (i,):
        layers += [conv(inputs, 2 * o), *([Noise()] if twice else []), nn.BatchNorm2d(2 * o), nn.GLU(1)]
    return nn.Sequential(*layers)


class Excitation(nn.Module):
    """Channels of a large step scaled by what a small one saw."""

    def __init__(self, i, o):
        super().__init__()
        self.main = nn.Sequential(nn.AdaptiveAvgPool2d(4), conv(i, o, 4, 0), nn.SiLU(), conv(o, o, 1, 0), nn.Sigmoid())

    def forward(self, small, large):
        return large * self.main(small)


class First(nn.Module):
    def __init__(self, latents, c):
        super().__init__()
        self.init = nn.Sequential(nn.ConvTranspose2d(latents, 2 * c, 4, bias=False), nn.BatchNorm2d(2 * c), nn.GLU(1))

    def forward(self, z):
        return self.init(z[..., None, None])


class Generator(nn.Module):
    def __init__(self, latents=LATENTS, c=CHANNELS):
        super().__init__()
        self.latents = latents
        self.init = First(latents, c[4])
        self.feat_8 = step(c[4], c[8], True)
        self.feat_16 = step(c[8], c[16], False)
        self.feat_32 = step(c[16], c[32], True)
        self.feat_64 = step(c[32], c[64], False)
        self.se_64 = Excitation(c[4], c[64])
        self.to_big = conv(c[64], 3)
        for m in self.modules():
            if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.orthogonal_(m.weight)

    def forward(self, z):
        """z [n, latents] -> pictures in -1..=1 [n, 3, 64, 64]"""
        first = self.init(z)
        x = self.feat_32(self.feat_16(self.feat_8(first)))
        return torch.tanh(self.to_big(self.se_64(first, self.feat_64(x))))


def sn(layer):
    return nn.utils.parametrizations.spectral_norm(layer)


class Features(nn.Module):
    """The tower's features at 1/2 to 1/16 of the side, mixed by random convolutions that are never trained: across channels, then from coarse to fine."""

    WIDTH = 48

    def __init__(self):
        super().__init__()
        self.tower = Tower()
        with torch.no_grad():
            shapes = [f.shape for f in self.tower.features(torch.zeros(1, 3, 64, 64))]
        torch.manual_seed(1)
        self.across = nn.ModuleList(nn.Conv2d(s[1], self.WIDTH, 1, bias=False) for s in shapes)
        self.down = nn.ModuleList(nn.Conv2d(self.WIDTH, self.WIDTH, 3, 1, 1, bias=False) for _ in shapes)
        for m in [*self.across, *self.down]:
            nn.init.kaiming_normal_(m.weight)
        self.sides = [s[-1] for s in shapes]
        self.requires_grad_(False)

    def forward(self, x):
        mixed = [m(f) * f.shape[1] ** 0.5 for m, f in zip(self.across, self.tower.features(x))]
        out, above = [], 0
        for m, f in zip(reversed(self.down), reversed(mixed)):
            above = m(f + above) * 0.7
            out.append(above)
            above = F.interpolate(above, scale_factor=2.0)
        return out[::-1]


def head(channels, side):
    """Logits of 4 x 4 patches."""
    layers, c = [], channels
    while side > 4:
        layers += [sn(nn.Conv2d(c, 64, 4, 2, 1)), nn.LeakyReLU(0.2)]
        c, side = 64, side // 2
    layers += [sn(nn.Conv2d(c, 64, 3, 1, 1)), nn.LeakyReLU(0.2)] if c != 64 else []
    return nn.Sequential(*layers, sn(nn.Conv2d(64, 1, 3, 1, 1)))


class Discriminator(nn.Module):
    """A head for each scale of the features, and one that sees pixels."""

    GAIN = 3.0

    def __init__(self, features):
        super().__init__()
        self.heads = nn.ModuleList(head(Features.WIDTH, s) for s in features.sides)
        self.pixels = nn.Sequential(sn(nn.Conv2d(3, 32, 4, 2, 1)), nn.LeakyReLU(0.2), head(32, 32))
        self.to(memory_format=torch.channels_last)

    def forward(self, x, features):
        """-> the logits of all heads, those of pixels twice [n, 6 * 16]: the tower's strides leave patterns of pixels that only they see"""
        logits = [h(f).flatten(1) for h, f in zip(self.heads, features)]
        # spectral norms keep logits far inside of the hinge, where each picture counts as much as any other
        return self.GAIN * torch.cat(logits + 2 * [self.pixels(x).flatten(1)], 1).float()
