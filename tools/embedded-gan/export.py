#!/usr/bin/env python3
"""The averaged generator of a training as one file in half precision, under the names of the `huggan` organisation's FastGANs.

    export.py --state RUN/state.pt [--out ../../crates/embedded-gan/src]

Under those names `tanh` ends pictures of every size, as here; under the authors' own only the largest. Beside it, what PyTorch computes with
the rounded weights is written for the tests: generators/tests/fixtures/embedded-gan.safetensors, with the noise planes of small_gans.safetensors.
"""

import argparse
import os
import re

import torch
from safetensors.torch import load_file, save_file

from fastgan import LATENTS, TOOLS, Generator, Noise

FIXTURES = TOOLS.parent / "generators/tests/fixtures"
RULES = [
    (r"init\.init\.(\d+)\.", r"_init._layers.\1."),
    (r"feat_(\d+)\.(\d+)\.", r"_upsample_\1._layers.\2."),
    (r"se_(\d+)\.main\.(\d+)\.", r"_sle_\1._layers.\2."),
    (r"to_big\.", r"_out_64.0."),
]


def renamed(key, tensor):
    for old, new in RULES:
        key, found = re.subn(f"^{old}", new, key)
        if found:
            break
    else:
        raise ValueError(f"no name for {key}")
    if tensor.ndim == 4:
        return key.replace(".weight", "._conv.weight")
    return key.replace(".weight", "._weight") if tensor.shape == (1,) else key


class Plane(torch.nn.Module):
    """Noise that stays the same, as the program draws it for a seed."""

    def __init__(self, weight, plane):
        super().__init__()
        self.weight, self.plane = weight, plane

    def forward(self, x):
        return x + self.weight * self.plane


def with_planes(network, planes):
    number = 0
    for side in (8, 16, 32, 64):
        step = getattr(network, f"feat_{side}")
        for i, module in enumerate(step):
            if isinstance(module, Noise):
                number += 1
                step[i] = Plane(module.weight, planes[f"{number}.{side}"].double())
    return network


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--state", required=True)
    ap.add_argument("--out", default=TOOLS.parent / "crates/embedded-gan/src")
    a = ap.parse_args()
    state = torch.load(a.state, map_location="cpu")
    weights = {k: v for k, v in state["shown"].items() if not k.endswith("num_batches_tracked")}
    half = {k: v.half().contiguous() for k, v in weights.items()}
    path = f"{a.out}/model.safetensors"
    save_file({renamed(k, v): v for k, v in half.items()}, path)
    os.chmod(path, 0o644)

    rounded, exact = Generator(), Generator()
    rounded.load_state_dict({k: v.double() for k, v in half.items()}, strict=False)
    exact.load_state_dict(weights, strict=False)
    z = torch.randn(16, LATENTS, generator=torch.Generator().manual_seed(0))
    pictures = []
    for network in (rounded, exact):
        torch.manual_seed(0)
        with torch.no_grad():
            pictures.append(network.eval()(z))
    off = (pictures[0] - pictures[1]).abs().max().item()
    print(f"{os.path.getsize(path) / 1e6:.2f} MB after {state['step']} steps; rounding changes a picture by {off / 2:.4f} of its range")
    assert off < 0.05, "half precision is not enough"

    network = with_planes(rounded.double(), load_file(FIXTURES / "small_gans.safetensors"))
    z = z[:1].double().requires_grad_()
    picture = network(z) / 2 + 0.5
    (dz,) = torch.autograd.grad(picture.square().sum() / 2, z)
    parts = dict(z=z.detach(), picture=picture.detach()[..., ::3, ::3], dz=dz)
    path = FIXTURES / "embedded-gan.safetensors"
    save_file({k: v.float().contiguous() for k, v in parts.items()}, path)
    os.chmod(path, 0o644)


if __name__ == "__main__":
    main()
