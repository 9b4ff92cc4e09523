#!/usr/bin/env python3
"""A checkpoint as a folder in diffusers' VQModel layout, in float16: config.json and diffusion_pytorch_model.safetensors.

    export.py --model RUN/STAGE.pt --out FOLDER
"""

import argparse
import os

import torch
from diffusers import VQModel

from model import load


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True)
    ap.add_argument("--out", required=True)
    a = ap.parse_args()
    m, codes = load(a.model)
    m.quantize.embedding.weight.data = codes.clone()
    m.half().save_pretrained(a.out)
    size = os.path.getsize(f"{a.out}/diffusion_pytorch_model.safetensors")
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        y = VQModel.from_pretrained(a.out, torch_dtype=torch.float32)(x).sample
    print(f"{size / 1e6:.1f} MB; a picture of noise comes back with L1 {float((x - y).abs().mean()):.3f}")


if __name__ == "__main__":
    main()
