#!/usr/bin/env python3
"""Pictures of places, rendered once: what compose.py paints things on.

    places.py --out places.pt [--count 250]

COUNT pictures of 96 x 96 pixels for each line of `PLACES` in ../embedded-drawings/scenes.py, procedural or drawn, as JPEG.
"""

import argparse
import io
import random
import sys

import torch
from PIL import Image

from parts import SIDE, TOOLS

sys.path[:0] = [str(TOOLS / "embedded-drawings"), str(TOOLS / "embedded-clip")]
import landscapes as land  # noqa: E402
from scenes import PLACES, SCENES  # noqa: E402
from synth import natural  # noqa: E402


def procedural(kind, n):
    x = torch.nn.functional.avg_pool2d(natural(kind, n, 2 * SIDE, "cpu"), 2).clamp(0, 1)
    return [Image.fromarray(p) for p in (x.permute(0, 2, 3, 1) * 255).round().byte().numpy()]


def drawn(kind, seed):
    scene = land.Scene(seed)
    getattr(land, kind)(scene)
    return scene.small(SIDE)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--out", required=True)
    ap.add_argument("--count", type=int, default=250)
    a = ap.parse_args()
    r = random.Random(1)
    torch.manual_seed(1)
    files, lines = [], []
    for line, (sources, names) in enumerate(PLACES):
        # those of icons are left out
        sources = [s.split() for s in sources.split(", ") if ":" not in s]
        ready = {}
        for i in range(a.count if sources else 0):
            kind = r.choices([k for k, _ in sources], [int(n) for _, n in sources])[0]
            if kind.endswith("_") or kind not in SCENES:
                picture = drawn(kind.rstrip("_"), f"{line} {i}")
            else:
                if not ready.get(kind):
                    ready[kind] = procedural(kind, 16)
                picture = ready[kind].pop()
            file = io.BytesIO()
            picture.convert("RGB").save(file, "JPEG", quality=88)
            files.append(file.getvalue())
            lines.append(line)
        print(names.split(",")[0], len(files), flush=True)
    torch.save(dict(files=files, lines=lines), a.out)


if __name__ == "__main__":
    main()
