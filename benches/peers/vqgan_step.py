#!/usr/bin/env python3
"""The PyTorch twin of the VQGAN step benchmark: latents decoded to a picture, and its gradient taken back to the latents.

    pip install torch diffusers
    python benches/peers/vqgan_step.py [--threads N] [--repeats N] [--channels-last]

A decoder of vqgan_imagenet_f16_1024's shape with random weights, float32, `requires_grad` off, so that the backward pass makes the
input's gradient alone. Prints a line of JSON.
"""

import argparse
import json
import os
import statistics
import time

import torch
from diffusers.models.autoencoders.vae import Decoder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--channels-last", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    decoder = Decoder(
        in_channels=256,
        out_channels=3,
        block_out_channels=(128, 128, 256, 256, 512),
        up_block_types=("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
    )
    decoder = decoder.eval().requires_grad_(False)
    first = torch.nn.Conv2d(256, 256, 1).requires_grad_(False)
    latents = torch.randn(1, 256, 16, 16)
    if args.channels_last:
        decoder = decoder.to(memory_format=torch.channels_last)
        latents = latents.contiguous(memory_format=torch.channels_last)
    whole, forward = [], []
    for repeat in range(args.repeats + 1):
        z = latents.detach().requires_grad_(True)
        start = time.perf_counter()
        image = decoder(first(z))
        decoded = time.perf_counter() - start
        (grad,) = torch.autograd.grad(image, z, image.detach())
        if repeat:
            whole.append(time.perf_counter() - start)
            forward.append(decoded)
    assert image.shape == (1, 3, 256, 256) and grad.shape == latents.shape
    print(
        json.dumps(
            dict(
                name="vqgan-f16-1024",
                seconds_min=min(whole),
                seconds_median=statistics.median(whole),
                decode_seconds_min=min(forward),
                repeats=args.repeats,
                torch=torch.__version__,
                threads=args.threads,
                channels_last=args.channels_last,
            )
        )
    )


if __name__ == "__main__":
    main()
