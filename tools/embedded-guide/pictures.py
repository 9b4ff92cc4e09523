"""Lists of prompts, and the pictures.json of a folder of renders: what the other scripts share."""

import json
import os
from pathlib import Path

CATEGORIES = ("thing", "coloured", "two", "counted", "ground", "style", "place", "abstract")


def read_prompts(path):
    """[(category, prompt)] of a list: a line is `category: prompt`; # starts a comment line."""
    prompts = []
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        category, colon, prompt = (part.strip() for part in line.partition(":"))
        if not colon or not prompt or category not in CATEGORIES:
            raise SystemExit(f"{path}, line {number}: expected `category: prompt` with one of {', '.join(CATEGORIES)}")
        if any(prompt == other for _, other in prompts):
            raise SystemExit(f"{path}, line {number}: '{prompt}' is there twice")
        prompts.append((category, prompt))
    return prompts


def spread(items, count):
    """`count` of the items, evenly spaced."""
    return [items[i * len(items) // count] for i in range(min(count, len(items)))]


def json_path(path):
    """pictures.json itself, or that of a folder."""
    path = Path(path)
    return path / "pictures.json" if path.is_dir() else path


def load(path):
    """The pictures of a pictures.json (or of its folder), each with "path" beside prompt, category, seed, file, seconds."""
    path = json_path(path)
    if not path.exists():
        raise SystemExit(f"{path}: no such file; render.py writes it")
    pictures = json.loads(path.read_text())["pictures"]
    return [{**picture, "path": path.parent / picture["file"]} for picture in pictures]


def write_json(path, value):
    """Written beside and renamed, so that an interrupted run leaves the old file."""
    beside = Path(f"{path}.new")
    beside.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(beside, path)
