#!/usr/bin/env python3
"""A sheet of reconstructions: pictures above, what a checkpoint or an export makes of them below.

    look.py --pictures pictures.npy --model RUN/STAGE.pt --out sheet.png [--plain]

--plain leaves the latents as they are; else each is replaced by the nearest code.
"""

import argparse

import numpy as np
import torch
from PIL import Image

from model import Codebook, load


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--pictures", required=True)
    ap.add_argument("--model", required=True)
    ap.add_argument("--out", default="sheet.png")
    ap.add_argument("--count", type=int, default=30)
    ap.add_argument("--first", type=int, default=0)
    ap.add_argument("--plain", action="store_true")
    a = ap.parse_args()
    m, codes = load(a.model)
    x = torch.from_numpy(np.load(a.pictures, mmap_mode="r")[a.first : a.first + a.count].copy()).float() / 127.5 - 1
    with torch.no_grad():
        z = m.quant_conv(m.encoder(x))
        if not a.plain:
            book = Codebook(*codes.shape)
            book.codes.copy_(codes)
            z, _, i = book(z)
            print(f"{len(i.unique())} of {len(codes)} codes used")
        y = m.decoder(m.post_quant_conv(z)).clamp(-1, 1)
    print(f"L1 {float((x - y).abs().mean()):.4f} of pictures in -1..1")
    columns = 10
    rows = []
    for k in range(0, len(x), columns):
        rows += [torch.cat(list(t[k : k + columns]), 2) for t in (x, y)]
    sheet = ((torch.cat(rows, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(sheet).save(a.out)


if __name__ == "__main__":
    main()
