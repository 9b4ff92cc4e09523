#!/usr/bin/env python3
"""How different the seeds of a prompt are: seeds.py PICTURES [--only CATEGORY] [--pairs N] [--json FILE]

The distance of two pictures is 1 - r, where r is their greatest correlation (Pearson's, of grey values, with the mean of
both taken off over the part where they overlap) when one is mirrored or not, scaled by 0.7 to 1.4 and shifted by up to a
quarter of each side. It is 0 for a drawing that was only moved, enlarged or given another contrast, and 1 for pictures
that have nothing in common. Only overlaps with at least half of the variance of both pictures count, so that two empty
corners are not a match. Pictures are reduced to about 48 x 48 pixels.

The score is the mean over pairs of seeds of one prompt, divided by the mean over pairs of different prompts with the same
seed. 0: seeds are the same picture; 1: they differ as much as pictures of different prompts do.
"""

import argparse
import itertools
import random

import numpy as np
from PIL import Image
from scipy import fft

from pictures import load, write_json

PIXELS = 48  # the square root of the number of pixels that are compared
SCALES = [0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.11, 1.18, 1.25, 1.33, 1.4]
SHIFT = 0.25
VARIANCE = 0.5


def grey(path):
    """The picture as grey values, with PIXELS^2 pixels or so in its own proportions."""
    with Image.open(path) as picture:
        picture = picture.convert("RGB").convert("L")
    scale = PIXELS / (picture.width * picture.height) ** 0.5
    return picture.resize([round(n * scale) for n in picture.size], Image.Resampling.BOX)


def array(picture):
    """Grey values with the mean taken off: correlation doesn't mind, and float sums stay exact."""
    x = np.asarray(picture, np.float64) / 255
    return x - x.mean()


def spectra(x, shape):
    """Transforms of a picture, its square and its mask, padded to `shape`."""
    return fft.rfft2(np.stack([x, x * x, np.ones_like(x)]), shape)


def correlation(a, b):
    """The greatest correlation of two arrays over all allowed shifts of `b`'s middle against `a`'s."""
    shape = [fft.next_fast_len(n + m - 1, real=True) for n, m in zip(a.shape, b.shape)]
    A, B = spectra(a, shape), spectra(b, shape).conj()
    # Sums over the overlap, for every shift (Padfield, "Masked object registration in the Fourier domain", 2012).
    products = np.stack([A[0] * B[0], A[0] * B[2], A[2] * B[0], A[1] * B[2], A[2] * B[1], A[2] * B[2]])
    sums = fft.irfft2(products, shape)
    rows, columns = (allowed_shifts(n, m) for n, m in zip(a.shape, b.shape))
    ab, sum_a, sum_b, aa, bb, n = sums[:, rows % shape[0]][:, :, columns % shape[1]]
    n = np.maximum(n.round(), 1)
    # Sums of squared differences from the mean of the overlap.
    covariance, in_a, in_b = ab - sum_a * sum_b / n, aa - sum_a**2 / n, bb - sum_b**2 / n
    counts = (in_a >= VARIANCE * (a * a).sum()) & (in_b >= VARIANCE * (b * b).sum()) & (in_a * in_b > 1e-9)
    return float((covariance[counts] / np.sqrt(in_a * in_b)[counts]).max()) if counts.any() else 0.0


def allowed_shifts(n, m):
    """Shifts of a side of m pixels against one of n, their middles at most SHIFT * n apart."""
    middle, most = (n - m) / 2, SHIFT * n
    return np.arange(int(np.ceil(middle - most)), int(np.floor(middle + most)) + 1)


def distance(a, b):
    """1 - the greatest correlation of two grey pictures over mirrors, scales and shifts."""
    fixed = array(a)
    if a.size != b.size:
        raise SystemExit(f"pictures of one proportion are compared, not {a.size} with {b.size}")
    best = 0.0
    for scale in SCALES:
        scaled = array(b.resize([round(n * scale) for n in b.size], Image.Resampling.BICUBIC))
        best = max(best, correlation(fixed, scaled), correlation(fixed, scaled[:, ::-1]))
    return 1 - best


def measure(pictures, pairs=200):
    """The per-prompt distances {prompt: [(seed, seed, distance)]}, and the distances between prompts."""
    small = {(p["prompt"], p["seed"]): grey(p["path"]) for p in pictures}
    within = {}
    for prompt in dict.fromkeys(prompt for prompt, _ in small):
        seeds = sorted(seed for other, seed in small if other == prompt)
        for s, t in itertools.combinations(seeds, 2):
            within.setdefault(prompt, []).append((s, t, distance(small[prompt, s], small[prompt, t])))
    # Between the prompts that have several seeds, where there are some: the same kinds of picture above and below the line.
    several = [key for key in small if not within or key[0] in within]
    across = [(a, b) for a, b in itertools.combinations(several, 2) if a[1] == b[1] and a[0] != b[0]]
    across = random.Random(0).sample(across, min(pairs, len(across)))
    return within, [distance(small[a], small[b]) for a, b in across]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", help="a pictures.json or its folder")
    parser.add_argument("--only", help="one category")
    parser.add_argument("--pairs", type=int, default=200, help="at most so many pairs of different prompts [default: 200]")
    parser.add_argument("--json", help="write the distances to this file")
    args = parser.parse_args()
    within, between = measure([p for p in load(args.pictures) if args.only in (None, p["category"])], args.pairs)
    if not within or not between:
        raise SystemExit("two seeds of two prompts are needed")
    mean = float(np.mean([d for some in within.values() for _, _, d in some]))
    other = float(np.mean(between))
    print(f"{'of other prompts':>16}  {'least':>6}  prompt")
    for prompt, some in within.items():
        ds = [d for _, _, d in some]
        print(f"{np.mean(ds) / other:16.2f}  {min(ds) / other:6.2f}  {prompt}")
    print(f"seeds of a prompt {mean:.3f}, different prompts {other:.3f} ({len(between)} pairs): {mean / other:.2f}")
    if args.json:
        write_json(args.json, {"score": mean / other, "within": within, "between": between})
