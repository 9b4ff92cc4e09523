"""The network: diffusers' VQModel without attention, a codebook kept by moving averages, and the losses."""

import json
import sys
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from diffusers import VQModel
from diffusers.models.resnet import ResnetBlock2D
from safetensors.torch import load_file

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "embedded-clip"))
from resnet import ResNet  # noqa: E402

DEFAULT = dict(
    in_channels=3,
    out_channels=3,
    down_block_types=["DownEncoderBlock2D"] * 4,
    up_block_types=["UpDecoderBlock2D"] * 4,
    block_out_channels=[24, 48, 96, 128],
    layers_per_block=1,
    latent_channels=8,
    num_vq_embeddings=1024,
    vq_embed_dim=8,
    norm_num_groups=2,  # a norm of few channels forgets how bright and saturated a flat picture is
    mid_block_add_attention=False,
)


class Codebook(nn.Module):
    """Codes that follow the mean of what is assigned to them; those that nothing is near are reborn from the batch."""

    def __init__(self, count, dim, decay=0.98):
        super().__init__()
        self.decay = decay
        self.register_buffer("codes", torch.zeros(count, dim))
        self.register_buffer("size", torch.ones(count))
        self.register_buffer("total", torch.zeros(count, dim))
        self.register_buffer("idle", torch.zeros(count))

    def nearest(self, z):
        return (self.codes.pow(2).sum(1) - 2 * z @ self.codes.T).argmin(1)

    @torch.no_grad()
    def start(self, z, rounds=12):
        """k-means over z [n, dim]."""
        self.codes.copy_(z[torch.randperm(len(z))[: len(self.codes)]])
        for _ in range(rounds):
            i = self.nearest(z)
            n = torch.bincount(i, minlength=len(self.codes)).float()
            s = torch.zeros_like(self.codes).index_add_(0, i, z)
            dead = n == 0
            self.codes.copy_(s / n.clamp(min=1)[:, None])
            self.codes[dead] = z[torch.randint(len(z), (int(dead.sum()),))]
        self.size.copy_(n.clamp(min=1))
        self.total.copy_(self.codes * self.size[:, None])

    @torch.no_grad()
    def update(self, z, i, patience=60):
        n = torch.bincount(i, minlength=len(self.codes)).float()
        self.size.lerp_(n, 1 - self.decay)
        self.total.lerp_(torch.zeros_like(self.codes).index_add_(0, i, z), 1 - self.decay)
        self.codes.copy_(self.total / self.size.clamp(min=1e-3)[:, None])
        self.idle.add_(1).masked_fill_(n > 0, 0)
        dead = (self.idle > patience).nonzero()[:, 0]
        if len(dead):
            self.codes[dead] = z[torch.randint(len(z), (len(dead),))]
            self.total[dead], self.size[dead], self.idle[dead] = self.codes[dead] * 0.1, 0.1, 0
        return len(dead)

    def forward(self, z):
        """z [b, dim, h, w] -> the nearest codes in its place, their indices"""
        flat = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
        i = self.nearest(flat.detach())
        q = self.codes[i].view(z.shape[0], z.shape[2], z.shape[3], -1).permute(0, 3, 1, 2)
        return q, flat.detach(), i


def network(config=None):
    torch.manual_seed(0)
    m = VQModel(**(config or DEFAULT)).to(memory_format=torch.channels_last)
    m.quantize.requires_grad_(False)
    for block in m.modules():
        if isinstance(block, ResnetBlock2D):  # begins as its shortcut
            nn.init.zeros_(block.conv2.weight), nn.init.zeros_(block.conv2.bias)
    return m


class Tower(nn.Module):
    """Features of the embedded CLIP's ResNet, whose gradients follow what a picture shows (it was trained adversarially)."""

    def __init__(self, folder=HERE.parents[1] / "crates/embedded-resnet/src"):
        super().__init__()
        cfg = json.load(open(folder / "open_clip_config.json"))["model_cfg"]
        v = cfg["vision_cfg"]
        self.net = ResNet(v["layers"], v["width"], v["image_size"], cfg["embed_dim"], v["width"] * 32 // 64)
        state = load_file(folder / "open_clip_model.safetensors")
        self.net.load_state_dict({k[7:]: w.float() for k, w in state.items() if k.startswith("visual.")})
        self.net.to(memory_format=torch.channels_last).eval().requires_grad_(False)
        p = json.load(open(folder / "open_clip_config.json"))["preprocess_cfg"]
        self.register_buffer("mean", torch.tensor(p["mean"]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(p["std"]).view(1, 3, 1, 1))

    def features(self, x):
        """x in -1..=1 -> unit feature maps at 1/2, 1/4, 1/8 and 1/16 of the side"""
        n = self.net
        x = ((x + 1) / 2 - self.mean) / self.std
        x = F.relu(n.bn1(n.conv1(x)))
        x = F.relu(n.bn3(n.conv3(F.relu(n.bn2(n.conv2(x))))))
        a = n.layer1(F.avg_pool2d(x, 2))
        b = n.layer2(a)
        c = n.layer3(b)
        return [f / (f.pow(2).sum(1, keepdim=True) + 1e-6).sqrt() for f in (x, a, b, c)]


class Critic(nn.Module):
    """A patch discriminator: 22 pixels seen by each output."""

    def __init__(self, c=32):
        super().__init__()
        sn = nn.utils.parametrizations.spectral_norm
        self.layers = nn.Sequential(
            nn.Conv2d(3, c, 4, 2, 1),
            nn.LeakyReLU(0.2),
            sn(nn.Conv2d(c, 2 * c, 4, 2, 1)),
            nn.LeakyReLU(0.2),
            sn(nn.Conv2d(2 * c, 2 * c, 3, 1, 1)),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * c, 1, 1),
        ).to(memory_format=torch.channels_last)

    def forward(self, x):
        return self.layers(x)


def load(path):
    """Network and codes of a checkpoint of train.py or of an export's folder."""
    if not str(path).endswith(".pt"):
        m = VQModel.from_pretrained(path).float()
        return m.eval(), m.quantize.embedding.weight.data
    z = torch.load(path, map_location="cpu")
    m = network()
    m.load_state_dict(z["average"])
    return m.eval(), z["book"]["codes"]
