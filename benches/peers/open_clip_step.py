#!/usr/bin/env python3
"""The PyTorch twin of the step of any CLIP of open_clip: cutouts through its image tower, and the gradient of the loss back to the cutouts.

    pip install torch open_clip_torch timm safetensors
    python benches/peers/open_clip_step.py MODEL FOLDER [--threads N] [--repeats N] [--warmup N]

MODEL is a name of open_clip's, such as convnext_base. A CLIP of that shape with random weights is written to FOLDER, unless one is there, and with it
`reference.safetensors`: the embeddings of the cutouts and the gradient, which `cargo bench --bench open_clip_step -- FOLDER` compares its own with.
8 cutouts, float32, `requires_grad` off, so that the backward pass makes the input's gradient alone. The loss is the mean cosine distance to a
fixed vector. Images in the usual and in the channels-last memory format are both timed; the one with the faster median is reported, as one line
of JSON. On a busy machine, compare the processors' seconds, with `--threads 1` and RAYON_NUM_THREADS=1.
"""

import argparse
import json
import os
import shutil
import statistics
import time
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

CUTOUTS = 8
TOKENIZER = Path(__file__).resolve().parents[2] / "tests/fixtures/clip-open-vit/tokenizer.json"


def write(name, folder):
    torch.manual_seed(0)
    model = open_clip.create_model(name).eval()
    for key, value in list(model.named_parameters()) + list(model.named_buffers()):
        if key.endswith("gamma"):
            value.data.fill_(0.1)
        elif key.endswith("running_var"):
            value.data.uniform_(0.5, 1.5)
        elif key.endswith("bias"):
            value.data.normal_(std=0.02)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    config = dict(model_cfg=open_clip.get_model_config(name), preprocess_cfg={})
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2))
    shutil.copy(TOKENIZER, folder / "tokenizer.json")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if not (args.folder / "open_clip_model.safetensors").exists():
        write(args.model, args.folder)
    start = time.perf_counter()
    model = open_clip.create_model(args.model).eval().requires_grad_(False)
    model.load_state_dict(load_file(args.folder / "open_clip_model.safetensors"))
    load, visual = time.perf_counter() - start, model.visual
    side = open_clip.get_model_config(args.model)["vision_cfg"]["image_size"]
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD))
    waves = 0.5 + 0.4 * torch.sin(0.37 * torch.arange(CUTOUTS * 3 * side * side, dtype=torch.float64))
    cutouts = waves.float().view(CUTOUTS, 3, side, side)

    def step(memory):
        x = cutouts.detach().to(memory_format=memory).requires_grad_(True)
        embeds = visual((x - mean) / std)
        target = torch.full((embeds.shape[1],), embeds.shape[1] ** -0.5)
        (grad,) = torch.autograd.grad((1 - F.normalize(embeds, dim=-1) @ target).mean(), x)
        return embeds.detach(), grad

    runs, processors = {}, {}
    for name, memory in dict(usual=torch.contiguous_format, channels_last=torch.channels_last).items():
        visual.to(memory_format=memory)
        for _ in range(args.warmup):
            embeds, grad = step(memory)
        runs[name], processors[name] = [], []
        for _ in range(args.repeats):
            start, spent = time.perf_counter(), time.process_time()
            step(memory)
            runs[name].append(time.perf_counter() - start)
            processors[name].append(time.process_time() - spent)
        if name == "usual":
            save_file(dict(image_embeds=embeds, grad=grad.contiguous()), args.folder / "reference.safetensors")
    memory, times = min(runs.items(), key=lambda run: statistics.median(run[1]))
    print(
        json.dumps(
            dict(
                name=f"open_clip_step/{args.model}",
                seconds_min=round(min(times), 6),
                seconds_median=round(statistics.median(times), 6),
                processor_seconds_min=round(min(processors[memory]), 6),
                repeats=len(times),
                load_seconds=round(load, 3),
                torch=torch.__version__,
                threads=args.threads,
                memory_format=memory,
            )
        )
    )


if __name__ == "__main__":
    main()
