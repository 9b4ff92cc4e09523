#!/usr/bin/env python3
"""Paints brushwork.png: strokes that follow the contours of a random field, in blues and yellows.

    pip install numpy pillow
    python recipes/images/brushwork.py        # writes brushwork.png beside this file
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE, SCALE, STROKES = 256, 4, 5000
# from dark to light, as lightly as they follow one another in the field
COLOURS = [(20, 40, 110), (35, 80, 160), (90, 140, 200), (230, 200, 80), (245, 235, 170), (15, 25, 60)]
rng = np.random.default_rng(1)


def field(octaves):
    """Waves of random directions, summed: [SIDE, SIDE]."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    waves = [(*rng.integers(-k, k + 1, 2), rng.uniform(0, 2 * np.pi), size) for k, size in octaves for _ in range(4)]
    return sum(size * np.sin(2 * np.pi * (kx * x + ky * y) + phase) for kx, ky, phase, size in waves)


def main():
    down, across = np.gradient(field([(3, 1.0), (5, 0.4)]))
    tone = field([(2, 1.0), (4, 0.5)])
    tone = (tone - tone.min()) / np.ptp(tone)
    image = Image.new("RGB", (SIDE * SCALE,) * 2, COLOURS[0])
    draw = ImageDraw.Draw(image)
    for _ in range(STROKES):
        x, y = rng.uniform(0, SIDE, 2)
        colour = int(np.clip(tone[int(y), int(x)] * len(COLOURS) + rng.normal(0, 0.9), 0, len(COLOURS) - 1))
        shade = tuple(int(np.clip(value + rng.normal(0, 12), 0, 255)) for value in COLOURS[colour])
        points = []
        for _ in range(7):
            points.append((x * SCALE, y * SCALE))
            row, column = int(y) % SIDE, int(x) % SIDE
            # along the contour
            step = np.array([-down[row, column], across[row, column]])
            step *= 2 / (np.linalg.norm(step) + 1e-9)
            x, y = x + step[0], y + step[1]
        draw.line(points, fill=shade, width=int(4 * SCALE * rng.uniform(0.6, 1.3)), joint="curve")
    path = Path(__file__).with_name("brushwork.png")
    image.resize((SIDE, SIDE), Image.LANCZOS).quantize(48).save(path, optimize=True)
    print(path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
