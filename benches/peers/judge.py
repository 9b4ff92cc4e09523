#!/usr/bin/env python3
"""The twin of the judge benchmark: pictures taken into an index by open_clip in PyTorch, beside this project's own.

    pip install torch torchvision open_clip_torch safetensors pillow numpy
    python benches/peers/judge.py WORK [--pictures N] [--rounds N] [--workers N] [--batch N] [--profile release]

WORK gets a ViT-B/32 of random weights in the OpenCLIP layout and N photographs' worth of noise as JPEGs of 500 x 375. Both programs
decode, preprocess and embed all of them, in turns; the fastest round of each counts. PyTorch decodes in a DataLoader with workers and without; the
faster way counts. One line of JSON.
"""

import argparse
import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[2]


class Pictures(torch.utils.data.Dataset):
    def __init__(self, paths, transform):
        self.paths, self.transform = paths, transform

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return self.transform(Image.open(self.paths[index]))


def prepare(work, count):
    model_folder, pictures = work / "model", work / "pictures"
    model_folder.mkdir(parents=True, exist_ok=True)
    pictures.mkdir(exist_ok=True)
    torch.manual_seed(0)
    model, _, transform = open_clip.create_model_and_transforms("ViT-B-32")
    model.eval().requires_grad_(False)
    weights = model_folder / "open_clip_model.safetensors"
    if not weights.exists():
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, weights)
        config = dict(model_cfg=open_clip.get_model_config("ViT-B-32"), preprocess_cfg={})
        (model_folder / "open_clip_config.json").write_text(json.dumps(config))
        tokenizer = ROOT / "tests/fixtures/clip-open-vit/tokenizer.json"
        (model_folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:375, 0:500]
    for number in range(count):
        path = pictures / f"{number:05}.jpg"
        if not path.exists():
            waves = [127 + 90 * np.sin(x * rng.uniform(0.01, 0.1) + rng.uniform(0, 6)) * np.cos(y * rng.uniform(0.01, 0.1)) for _ in range(3)]
            noisy = np.stack(waves, -1) + rng.normal(0, 8, (375, 500, 3))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return model_folder, pictures, model, transform


@torch.no_grad()
def theirs(model, transform, paths, workers, batch):
    start = time.perf_counter()
    loader = torch.utils.data.DataLoader(Pictures(paths, transform), batch_size=batch, num_workers=workers)
    rows = [torch.nn.functional.normalize(model.encode_image(x), dim=-1) for x in loader]
    assert sum(len(r) for r in rows) == len(paths)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--pictures", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--profile", default="release")
    args = parser.parse_args()
    folder, pictures, model, transform = prepare(args.work, args.pictures)
    paths = sorted(pictures.glob("*.jpg"))[: args.pictures]
    command = ["cargo", "bench", "-q", "--profile", args.profile, "--bench", "judge", "--", str(folder), str(pictures), "1"]
    ours, peer = [], {0: [], args.workers: []}
    for _ in range(args.rounds):
        out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        ours.append(json.loads(out.strip().splitlines()[-1])["seconds_min"])
        for workers in peer:
            peer[workers].append(theirs(model, transform, paths, workers, args.batch))
    best = {workers: min(times) for workers, times in peer.items()}
    workers = min(best, key=best.get)
    print(
        json.dumps(
            dict(
                name="index/vit-b-32",
                pictures=len(paths),
                ours_per_second=round(len(paths) / min(ours), 2),
                open_clip_per_second=round(len(paths) / best[workers], 2),
                ratio=round(best[workers] / min(ours), 3),
                open_clip_workers=workers,
                torch=torch.__version__,
                threads=torch.get_num_threads(),
            )
        )
    )


if __name__ == "__main__":
    main()
