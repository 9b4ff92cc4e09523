"""CLIP's ModifiedResNet image tower (OpenCLIP names), small."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Bottleneck(nn.Module):
    def __init__(self, i, p, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, p, 1, bias=False), nn.BatchNorm2d(p)
        self.conv2, self.bn2 = nn.Conv2d(p, p, 3, padding=1, bias=False), nn.BatchNorm2d(p)
        self.conv3, self.bn3 = nn.Conv2d(p, 4 * p, 1, bias=False), nn.BatchNorm2d(4 * p)
        self.stride = stride
        self.downsample = None
        if stride > 1 or i != 4 * p:
            self.downsample = nn.Sequential()
            self.downsample.add_module("-1", nn.AvgPool2d(stride) if stride > 1 else nn.Identity())
            self.downsample.add_module("0", nn.Conv2d(i, 4 * p, 1, bias=False))
            self.downsample.add_module("1", nn.BatchNorm2d(4 * p))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        if self.stride > 1:
            y = F.avg_pool2d(y, self.stride)
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class AttnPool(nn.Module):
    def __init__(self, side, d, heads, out):
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(side * side + 1, d) / d**0.5)
        self.k_proj, self.q_proj, self.v_proj, self.c_proj = (
            nn.Linear(d, d),
            nn.Linear(d, d),
            nn.Linear(d, d),
            nn.Linear(d, out),
        )
        self.h = heads

    def forward(self, x):
        B, D = x.shape[:2]
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(1, keepdim=True), x], 1) + self.positional_embedding
        inputs = ((self.q_proj, x[:, :1]), (self.k_proj, x), (self.v_proj, x))
        q, k, v = (m(t).view(B, -1, self.h, D // self.h).transpose(1, 2) for m, t in inputs)
        o = F.scaled_dot_product_attention(q, k, v)
        return self.c_proj(o.transpose(1, 2).reshape(B, D))


class ResNet(nn.Module):
    def __init__(self, layers, width, size, out, heads):
        super().__init__()
        w = width
        self.conv1, self.bn1 = nn.Conv2d(3, w // 2, 3, 2, 1, bias=False), nn.BatchNorm2d(w // 2)
        self.conv2, self.bn2 = nn.Conv2d(w // 2, w // 2, 3, 1, 1, bias=False), nn.BatchNorm2d(w // 2)
        self.conv3, self.bn3 = nn.Conv2d(w // 2, w, 3, 1, 1, bias=False), nn.BatchNorm2d(w)
        i = w
        for n, (count, p) in enumerate(zip(layers, (w, 2 * w, 4 * w, 8 * w))):
            blocks = []
            for j in range(count):
                blocks.append(Bottleneck(i, p, 2 if n and j == 0 else 1))
                i = 4 * p
            setattr(self, f"layer{n + 1}", nn.Sequential(*blocks))
        self.attnpool = AttnPool(size // 32, i, heads, out)
        for b in self.modules():
            if isinstance(b, Bottleneck):
                nn.init.constant_(b.bn3.weight, 0.3)
            if isinstance(b, nn.Conv2d):
                nn.init.kaiming_normal_(b.weight, mode="fan_out", nonlinearity="relu")

    keep, kept = 1.0, None  # the transformer's, unused here: a ResNet sees the whole picture

    def draw(self, *a):
        return None

    def forward(self, x):
        x = x.contiguous(memory_format=torch.channels_last)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(x)))
        x = F.avg_pool2d(x, 2)
        return self.attnpool(self.layer4(self.layer3(self.layer2(self.layer1(x)))))
