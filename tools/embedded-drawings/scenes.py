"""Whole pictures of places: the procedural scenes that the embedded CLIP was trained on."""

import numpy as np
import torch
from PIL import Image

from synth import natural

SIDE = 64
EACH = 10
PLACES = {
    "sunset_sea": "sunset over the sea, sunset, sunset over the ocean, sunset at sea, sunset over water, setting sun",
    "meadow": "meadow, green meadow, green field, grassy field, field, pasture, grassland, countryside, hills, green hills, hillside",
    "sky": "blue sky, sky, cloudy sky, blue sky with clouds, sky with clouds",
    "night": "starry night, night sky, starry sky, starry night sky, night sky full of stars",
    "space": "outer space, space, galaxy, nebula, milky way, deep space, cosmos",
    "snow": "snowy landscape, winter landscape, snow, snowy field, snowy hills, snowfield, snowy ground",
    "desert": "desert, sand dunes, sandy desert, dunes, dune, sahara",
    "underwater": "underwater, under the sea, bottom of the sea, seabed, under water, sea floor",
    "forest": "forest, woods, woodland, green forest, dark forest",
    "grass": "grass, lawn, green lawn, green grass",
    "mountains": "mountains, mountain, snowy mountains, mountain landscape, mountain range, snowy mountain",
    "city": "city at night, city skyline at night, night city, skyline at night",
    "brick": "brick wall",
    "wood": "wooden table, wooden planks, wooden floor, wooden board",
    "autumn": "autumn forest, autumn landscape, autumn woods",
    "beach": "beach, sandy beach, seaside, seashore, coast, shore",
    "ocean": "sea, ocean, ocean waves, open sea",
    "rainbow": "rainbow over hills, rainbow in the sky",
    "moon": "full moon at night, moonlit night, moon in the night sky, full moon in the night sky",
    "flowers": "field of flowers, flower field, flower meadow, meadow of flowers, meadow with flowers",
}


def picture(x):
    return Image.fromarray((x.clamp(0, 1).permute(1, 2, 0) * 255).round().byte().numpy())


def places(candidates):
    """[(names, [picture])]"""
    result = []
    for k, (kind, names) in enumerate(PLACES.items()):
        torch.manual_seed(k)
        np.random.seed(k)
        x = torch.nn.functional.avg_pool2d(natural(kind, EACH, 2 * SIDE, "cpu"), 2)
        result.append(([n.strip() for n in names.split(",")], [picture(p) for p in x]))
    return result
