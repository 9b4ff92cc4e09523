#!/usr/bin/env python3
"""The network as it is embedded: weights in 8 bits (E4M3; the first and last layers and those of the time in 16), their configuration and the schedule.

    export.py --weights WORK/average.safetensors [--out ../../crates/embedded-diffusion/src]

The autoencoder and the text encoder are embedded already. Beside it, what diffusers and transformers compute with these weights is written for
the tests: generators/tests/fixtures/embedded-diffusion.safetensors.
"""

import argparse
import json
import os
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from parts import CRATES, SCALE, TOOLS, Text, vqgan
from train import MODEL, SCHEDULE, in_8_bits

TEXT, GUIDANCE, TIME = "a red apple on a blue background", 3.0, 500
WEIGHTS = "diffusion_pytorch_model.safetensors"


def reference(weights):
    """A guided prediction of a clean picture, and the gradient back to the noisy latents."""
    unet = UNet2DConditionModel(**MODEL).double().eval().requires_grad_(False)
    unet.load_state_dict({k: v.double() for k, v in weights.items()})
    vae, text = vqgan().double(), Text()
    schedule = DDIMScheduler(**SCHEDULE)
    schedule.set_timesteps(1000)
    hidden, nothing = text([TEXT]), text([""])
    g = torch.Generator().manual_seed(0)
    x, target = (torch.randn(1, 8, 12, 12, generator=g).double() for _ in range(2))
    x.requires_grad_()
    one, two = (unet(x, TIME, states.double()).sample for states in (hidden, nothing))
    clean = schedule.step(two + GUIDANCE * (one - two), TIME, x).pred_original_sample
    (dx,) = torch.autograd.grad((clean * target).sum(), x)
    picture = vae.decoder(vae.post_quant_conv(clean / SCALE)) / 2 + 0.5
    kept = schedule.alphas_cumprod[TIME].double()
    sigma = ((1 - kept) / kept).sqrt()[None]
    return dict(x=x, g=target, sigma=sigma, hidden=hidden, nothing=nothing, clean=clean, dx=dx, picture=picture[..., ::3, ::3])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--weights", required=True)
    ap.add_argument("--out", default=CRATES / "embedded-diffusion/src", type=Path)
    a = ap.parse_args()
    factor = json.loads((CRATES / "embedded-vqgan/src/config.json").read_text())["scaling_factor"]
    assert factor == SCALE, f"the latents are scaled by {SCALE}, and crates/embedded-vqgan says {factor}"
    weights = {k: in_8_bits(k, v.float()).contiguous() for k, v in load_file(a.weights).items()}
    save_file(weights, a.out / WEIGHTS, metadata=dict(format="pt"))
    config = {k: v for k, v in UNet2DConditionModel(**MODEL).config.items() if k not in ("_diffusers_version", "_name_or_path", "_use_default_values")}
    config = dict(_class_name="UNet2DConditionModel") | config
    (a.out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    schedule = dict(_class_name="DDPMScheduler", num_train_timesteps=1000, **SCHEDULE)
    (a.out / "scheduler_config.json").write_text(json.dumps(schedule, indent=2) + "\n")
    path = TOOLS.parent / "generators/tests/fixtures/embedded-diffusion.safetensors"
    save_file({k: v.detach().float().contiguous() for k, v in reference(weights).items()}, path)
    for p in (path, a.out / WEIGHTS):
        os.chmod(p, 0o644)
    print(f"{os.path.getsize(a.out / WEIGHTS) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
