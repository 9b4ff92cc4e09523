"""The work of benches/layers.rs in PyTorch: the fastest of several runs, in milliseconds by the clock and of processors.

    python peer.py [FILTER]
"""

import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
FILTER = sys.argv[1] if len(sys.argv) > 1 else ""


def timed(name, f):
    if FILTER not in name:
        return
    begin, clocks, busy = time.perf_counter(), [], []
    while len(clocks) < 5 or (time.perf_counter() - begin < 1.5 and len(clocks) < 100):
        start, work = time.perf_counter(), time.process_time()
        f()
        clocks.append((time.perf_counter() - start) * 1e3)
        busy.append((time.process_time() - work) * 1e3)
    print(f"{name:32} {min(clocks):9.2f} clock {min(busy):9.2f} processor", flush=True)


def layer(name, shape, f):
    x = torch.randn(shape)
    tracked = x.clone().requires_grad_()
    y = f(tracked)
    g = torch.randn(y.shape)

    def value():
        with torch.no_grad():
            f(x)

    timed(f"{name} value", value)
    timed(f"{name} gradient", lambda: torch.autograd.grad(y, tracked, g, retain_graph=True))
    timed(f"{name} both", lambda: torch.autograd.grad(f(tracked), tracked, g))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        y = self.up(self.norm2(x))
        return x + self.down(y * torch.sigmoid(1.702 * y))


def frozen(module):
    return module.requires_grad_(False)


def vit(width, heads, blocks):
    return frozen(nn.Sequential(*(Block(width, heads) for _ in range(blocks))))


def conv(oc, ic, k, stride, padding):
    return frozen(nn.Conv2d(ic, oc, k, stride, padding))


layer("vit-b32", (8, 50, 768), vit(768, 12, 12))
layer("vit-small", (8, 65, 192), vit(192, 6, 6))
layer("linear", (400, 768), frozen(nn.Linear(768, 3072)))
layer("conv3x3-128", (1, 128, 128, 128), conv(128, 128, 3, 1, 1))
layer("conv3x3-512", (1, 512, 16, 16), conv(512, 512, 3, 1, 1))
layer("conv1x1-256", (1, 256, 64, 64), conv(256, 256, 1, 1, 0))
layer("conv-down-128", (1, 128, 128, 128), conv(128, 128, 3, 2, 1))
layer("patchify-32", (8, 3, 224, 224), conv(768, 3, 32, 32, 0))
layer("group-norm", (1, 128, 128, 128), frozen(nn.GroupNorm(32, 128)))
layer("quick-gelu", (400, 3072), lambda x: x * torch.sigmoid(1.702 * x))
layer("gelu", (400, 3072), F.gelu)
layer("silu", (1, 128, 128, 128), F.silu)
layer("upsample", (1, 128, 64, 64), lambda x: F.interpolate(x, scale_factor=2, mode="nearest"))
bicubic = lambda x, size: F.interpolate(x, (size, size), mode="bicubic", antialias=True)
layer("resample-up", (1, 3, 64, 64), lambda x: bicubic(x, 512))
layer("resample-down", (1, 3, 512, 512), lambda x: bicubic(x, 224))
for name, size in [("crops-256", 256), ("crops-512", 512), ("crops-4k", 3840)]:

    def crops(x, size=size):
        views = []
        for i in range(16):
            side = int(size * (0.35 + 0.04 * i))
            top, left = int((size - side) * 0.5), int((size - side) * 0.3)
            view = bicubic(x[:, :, top:top + side, left:left + side], 224)
            views.append(view.flip(3) if i % 2 == 0 else view)
        return torch.cat(views)

    layer(name, (1, 3, size, size), crops)

turn = torch.tensor([[0.8, -0.6, 0.1], [0.6, 0.8, -0.2], [0.1, -0.2, 1.0]])


def warp(x):
    n, _, h, w = x.shape
    ys, xs = (torch.arange(h) * 2 + 1) / h - 1, (torch.arange(w) * 2 + 1) / w - 1
    y, x_ = torch.meshgrid(ys, xs, indexing="ij")
    mapped = torch.stack([x_, y, torch.ones_like(x_)], -1) @ turn.T
    grid = (mapped[..., :2] / mapped[..., 2:])[None].expand(n, -1, -1, -1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


layer("warp", (16, 3, 224, 224), warp)
