#!/usr/bin/env python3
"""Renders a list of prompts: render.py --program P --recipe R --list F --out DIR [--seeds 1,2,3] [--size WxH] ...

Writes DIR/pictures.json (prompt, category, seed, file, seconds), a PNG for every prompt and seed, and a contact sheet for
every category. What is there is not rendered again, so an interrupted run goes on, and more seeds or prompts join later; a
folder holds the pictures of one program, recipe, size and settings, and another's are refused.
"""

import argparse
import concurrent.futures
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import blind
from pictures import CATEGORIES, load, read_prompts, spread, write_json
from sheet import sheet_of_renders


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def file_name(prompt, seed):
    """Two prompts may differ in letters that a file name has not, so a digest of the prompt is part of it."""
    slug = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:48]
    return f"{slug}-{hashlib.sha256(prompt.encode()).hexdigest()[:6]}-s{seed}.png"


def render(args, prompt, seed):
    """One picture into args.out; its file name and the seconds it took."""
    name = file_name(prompt, seed)
    with tempfile.TemporaryDirectory(dir=args.out, prefix=".run-") as folder:
        command = [args.program, "render", args.recipe, "--prompt", prompt, "--seed", str(seed), "--out", folder, "--quiet"]
        command += ["--size", args.size] if args.size else []
        for setting in args.set:
            command += ["--set", setting]
        start = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = round(time.monotonic() - start, 1)
        painted = list(Path(folder).glob("*/image.png"))
        if done.returncode != 0 or len(painted) != 1:
            raise RuntimeError(f"'{prompt}', seed {seed}: the program returned {done.returncode}: {done.stderr.strip()}")
        shutil.move(painted[0], args.out / name)
    return name, seconds


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--list", required=True, help="prompts-tune.txt, or prompts-report.txt to report")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--seeds", default="1", help="such as 1,2,3 [default: 1]")
    parser.add_argument("--size", help="WxH [default: the recipe's]")
    parser.add_argument("--only", choices=CATEGORIES, action="append", help="a category; may be given several times")
    parser.add_argument("--pick", type=int, help="so many prompts, evenly spaced, of those that the list and --only give")
    parser.add_argument("--set", action="append", default=[], metavar="K=V", help="passed on to the program")
    parser.add_argument("--jobs", type=int, default=1, help="renders at a time [default: 1]")
    parser.add_argument("--blind", metavar="DIR", help="copy this call's prompts for a viewer who is told nothing (blind.py)")
    args = parser.parse_args()
    args.seeds = [int(seed) for seed in args.seeds.split(",")]
    return args


def main():
    args = arguments()
    prompts = [(c, p) for c, p in read_prompts(args.list) if not args.only or c in args.only]
    if args.pick:
        prompts = spread(prompts, args.pick)
    if not prompts:
        raise SystemExit("no prompts")

    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "pictures.json"
    made_by = {"program": digest(args.program), "recipe": digest(args.recipe), "size": args.size, "set": args.set}
    state = json.loads(path.read_text()) if path.exists() else {**made_by, "pictures": []}
    for key, value in made_by.items():
        if state[key] != value:
            raise SystemExit(f"{args.out}: its pictures have {key} {state[key]}, not {value}; choose another folder")

    there = {(p["prompt"], p["seed"]) for p in state["pictures"] if (args.out / p["file"]).exists()}
    state["pictures"] = [p for p in state["pictures"] if (p["prompt"], p["seed"]) in there]
    todo = [(c, p, seed) for c, p in prompts for seed in args.seeds if (p, seed) not in there]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        futures = {pool.submit(render, args, prompt, seed): (category, prompt, seed) for category, prompt, seed in todo}
        for number, future in enumerate(concurrent.futures.as_completed(futures), 1):
            category, prompt, seed = futures[future]
            try:
                name, seconds = future.result()
            except RuntimeError as error:
                print(error, flush=True)
                failed += 1
                continue
            entry = {"prompt": prompt, "category": category, "seed": seed, "file": name, "seconds": seconds}
            state["pictures"].append(entry)
            write_json(path, state)
            print(f"{number} of {len(todo)}: {name}, {seconds} s", flush=True)
    if failed:
        raise SystemExit(f"{failed} of {len(todo)} renders failed; call again to try only these")

    order = {p: i for i, (_, p) in enumerate(read_prompts(args.list))}
    state["pictures"].sort(key=lambda p: (order.get(p["prompt"], len(order)), p["seed"]))
    write_json(path, state)
    pictures = load(path)
    for category in CATEGORIES:
        some = [p for p in pictures if p["category"] == category]
        if some:
            sheet_of_renders(some).save(args.out / f"sheet-{category}.png")
    if args.blind:
        wanted = {p for _, p in prompts}
        blind.names([p for p in pictures if p["prompt"] in wanted and p["seed"] == args.seeds[0]], args.blind)


if __name__ == "__main__":
    main()
