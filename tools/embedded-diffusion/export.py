#!/usr/bin/env python3
"""The network and the schedule of a pipeline that train.py wrote, as they are embedded; the autoencoder and the text encoder are already.

    export.py --model WORK/model [--out ../../crates/embedded-diffusion/src]

Beside it, what diffusers and transformers compute with these weights is written for the tests:
generators/tests/fixtures/embedded-diffusion.safetensors.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file

from pictures import CRATES, TOOLS, Text, encoder

TEXT, GUIDANCE, TIME = "a red apple on a blue background", 3.0, 500
WEIGHTS = "diffusion_pytorch_model.safetensors"


def reference(folder):
    """A guided prediction of a clean picture, and the gradient back to the noisy latents."""
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=torch.float32).double().eval().requires_grad_(False)
    vae, text = encoder().double(), Text()
    schedule = DDIMScheduler.from_pretrained(folder, subfolder="scheduler")
    schedule.set_timesteps(1000)
    hidden, nothing = text([TEXT]), text([""])
    g = torch.Generator().manual_seed(0)
    x, target = (torch.randn(1, 8, 12, 12, generator=g).double() for _ in range(2))
    x.requires_grad_()
    one, two = (unet(x, TIME, states.double()).sample for states in (hidden, nothing))
    clean = schedule.step(two + GUIDANCE * (one - two), TIME, x).pred_original_sample
    (dx,) = torch.autograd.grad((clean * target).sum(), x)
    picture = vae.decoder(vae.post_quant_conv(clean / vae.config.scaling_factor)) / 2 + 0.5
    kept = schedule.alphas_cumprod[TIME].double()
    sigma = ((1 - kept) / kept).sqrt()[None]
    return dict(x=x, g=target, sigma=sigma, hidden=hidden, nothing=nothing, clean=clean, dx=dx, picture=picture[..., ::3, ::3])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True, type=Path)
    ap.add_argument("--out", default=CRATES / "embedded-diffusion/src", type=Path)
    a = ap.parse_args()
    factors = [json.loads((f / "config.json").read_text())["scaling_factor"] for f in (a.model / "vae", CRATES / "embedded-vqgan/src")]
    assert factors[0] == factors[1], f"the latents of the model are scaled by {factors[0]}, and crates/embedded-vqgan says {factors[1]}"
    for source, name in (("unet/config.json", "config.json"), ("scheduler/scheduler_config.json", "scheduler_config.json")):
        config = json.loads((a.model / source).read_text())
        # the same text whatever wrote it
        config = {k: v for k, v in config.items() if k not in ("_diffusers_version", "_name_or_path")}
        (a.out / name).write_text(json.dumps(config, indent=2) + "\n")
    shutil.copyfile(a.model / "unet" / WEIGHTS, a.out / WEIGHTS)
    path = TOOLS.parent / "generators/tests/fixtures/embedded-diffusion.safetensors"
    parts = reference(a.model)
    save_file({k: v.detach().float().contiguous() for k, v in parts.items()}, path)
    os.chmod(path, 0o644)
    print(f"{os.path.getsize(a.out / WEIGHTS) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
