#!/usr/bin/env python3
"""Pictures to train on, rendered once: scenes of sprites and procedural backgrounds, packed as uint8 in one file.

    pictures.py --data DATA --out pictures.npy [--count 24000] [--side 96] [--seed 1]

DATA is what ../embedded-clip/prepare.py wrote, best with --px 120. The file is an array [count, 3, side, side].
"""

import argparse
import random
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "embedded-clip"))
from synth import NAT, Synth, natural  # noqa: E402


class Pictures(Synth):
    """Synth with backgrounds drawn at the pictures' own resolution."""

    def __init__(self, data, side, bank=48):
        super().__init__(data, size=side, bank=1)
        self.bank = torch.stack([(natural(k, bank, side * 5 // 4, "cpu") * 255).byte() for k, _ in NAT])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--count", type=int, default=24000)
    ap.add_argument("--side", type=int, default=96)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    random.seed(a.seed)
    torch.manual_seed(a.seed)
    t0, chunk = time.time(), 250
    synth = Pictures(a.data, a.side)
    out = np.lib.format.open_memmap(a.out, "w+", np.uint8, (a.count, 3, a.side, a.side))
    with torch.no_grad():
        for i in range(0, a.count, chunk):
            spec, _ = synth.scenes(min(chunk, a.count - i), a.seed * 100_000 + i)
            images, _, _ = synth.render(spec)
            out[i : i + len(spec)] = (images * 255).round().byte().numpy()
            if i // chunk % 20 == 0:
                print(f"{i} of {a.count}, {time.time() - t0:.0f} s", flush=True)
    out.flush()


if __name__ == "__main__":
    main()
