#!/usr/bin/env python3
"""The PyTorch twin of the CLIP step benchmark: cutouts through a frozen image tower, and the gradient of the loss back to the cutouts.

    pip install torch transformers
    python benches/peers/clip_step.py [b32|tiny] [--threads N] [--repeats N] [--warmup N] [--seconds S] [--device cuda]

    b32     ViT-B/32: 8 cutouts of 224, on a GPU 64
    tiny    the embedded model's shape (patch 8, width 192, 6 layers, 6 heads): 8 cutouts of 64, on a GPU 64

Random weights, float32, `requires_grad` off, so that the backward pass makes the input's gradient alone. The loss is the mean cosine
distance to a fixed vector. Eager and fused (sdpa) attention are both timed; the one with the faster median is reported, as one line of JSON.
"""

import argparse
import json
import os
import statistics
import time

import torch
import torch.nn.functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

SHAPES = dict(
    b32=dict(
        image_size=224,
        patch_size=32,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        projection_dim=512,
    ),
    tiny=dict(
        image_size=64,
        patch_size=8,
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=6,
        num_attention_heads=6,
        projection_dim=256,
    ),
)
def measure(shape, attention, device, warmup, repeats, seconds):
    """Seconds of each step: at least `repeats` of them, more until `seconds` have gone by."""
    torch.manual_seed(0)
    config = CLIPVisionConfig(**shape, hidden_act="quick_gelu", attn_implementation=attention)
    model = CLIPVisionModelWithProjection(config).eval().requires_grad_(False).to(device)
    cutouts = torch.randn(64 if device == "cuda" else 8, 3, shape["image_size"], shape["image_size"], device=device)
    target = F.normalize(torch.randn(shape["projection_dim"], device=device), dim=0)

    def step():
        x = cutouts.detach().requires_grad_(True)
        embeds = F.normalize(model(pixel_values=x).image_embeds, dim=-1)
        (grad,) = torch.autograd.grad((1 - embeds @ target).mean(), x)
        if device == "cuda":
            torch.cuda.synchronize()
        return grad

    for _ in range(warmup):
        grad = step()
    assert grad.shape == cutouts.shape and grad.abs().sum() > 0
    times, begin = [], time.perf_counter()
    while len(times) < repeats or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", nargs="?", default="b32", choices=SHAPES)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    runs = {a: measure(SHAPES[args.shape], a, args.device, args.warmup, args.repeats, args.seconds) for a in ("eager", "sdpa")}
    attention, times = min(runs.items(), key=lambda run: statistics.median(run[1]))
    print(
        json.dumps(
            dict(
                name=f"clip_step/{args.shape}",
                seconds_min=round(min(times), 6),
                seconds_median=round(statistics.median(times), 6),
                repeats=len(times),
                torch=torch.__version__,
                threads=args.threads,
                device=args.device,
                attention=attention,
            )
        )
    )


if __name__ == "__main__":
    main()
