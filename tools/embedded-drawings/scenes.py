"""Whole pictures of places: procedural scenes that the embedded CLIP was trained on, drawn landscapes, and those icons that are
a scene to their edges."""

import numpy as np
import torch
from PIL import Image

import landscapes as land
from synth import natural

SIDE = 64
# what draws a place (a kind of synth.py, a function of landscapes.py), how many pictures each, keys of icons; and its names
PLACES = [
    ("sunset 15, sunset_sea 1", "sunset over the sea, sunset, sunset over the ocean, sunset at sea, sunset over water, setting sun, sea at sunset"),
    ("sunrise 9, noto:sunrise-over-mountains noto:sunrise twemoji:sunrise-over-mountains twemoji:sunrise fluent3d:sunrise-over-mountains "
     "fluent3d:sunrise fxemoji:sunriseovermountains", "sunrise, rising sun, sunrise over the sea, sunrise over mountains"),
    ("noto:sunset noto:cityscape-at-dusk twemoji:sunset twemoji:cityscape-at-dusk fluent3d:sunset fluent3d:cityscape-at-dusk "
     "fxemoji:cityscapeatdusk noto1:sunset", "city at sunset, sunset over the city, city at dusk, skyline at sunset"),
    ("meadow 10", "meadow, green meadow, green field, grassy field, field, pasture, grassland, prairie"),
    ("hills 12", "hills, green hills, rolling hills, hill, hillside, countryside"),
    ("wheat 8", "wheat field, cornfield, field of wheat, golden field, grain field"),
    ("flowers 12", "field of flowers, flower field, flower meadow, meadow of flowers, meadow with flowers, flower garden"),
    ("sky 10", "blue sky, sky, cloudy sky, blue sky with clouds, sky with clouds"),
    ("night 10", "starry night, night sky, starry sky, starry night sky, night sky full of stars"),
    ("moon 10", "full moon at night, moonlit night, moon in the night sky, full moon in the night sky"),
    ("space 12, noto:milky-way twemoji:milky-way fluent3d:milky-way fxemoji:milkyway",
     "outer space, space, galaxy, nebula, milky way, deep space, cosmos, universe"),
    ("moonscape 8", "surface of the moon, lunar landscape, moon surface"),
    ("snow_ 14", "snowy landscape, winter landscape, snow, snowy field, snowy hills, snowfield, snowy ground, snowy forest, winter forest"),
    ("desert 10, noto:desert fluent3d:desert fluentflat:desert", "desert, sand dunes, sandy desert, dunes, dune, sahara"),
    ("underwater 12", "underwater, under the sea, bottom of the sea, seabed, under water, sea floor, ocean floor"),
    ("forest 5, forest_ 11", "forest, woods, woodland, green forest, jungle, rainforest"),
    ("autumn 10", "autumn forest, autumn landscape, autumn woods"),
    ("grass 8", "grass, lawn, green lawn, green grass"),
    ("mountains 12", "mountains, mountain, snowy mountains, mountain landscape, mountain range, snowy mountain, alps"),
    ("beach 14", "beach, sandy beach, seaside, seashore, coast, shore"),
    ("sea_ 11, ocean 3", "sea, ocean, ocean waves, open sea, blue sea"),
    ("lake 11, fluent3d:national-park fluentflat:national-park", "lake, mountain lake, pond, lake in the mountains"),
    ("river 11, noto:national-park twemoji:national-park", "river, stream, creek, river landscape, river valley, valley"),
    ("waterfall 11", "waterfall, cascade"),
    ("rainbow_ 12", "rainbow over hills, rainbow in the sky, rainbow over a meadow"),
    ("road 11, twemoji:motorway fluent3d:motorway fluentflat:motorway", "road, highway, motorway, country road"),
    ("twemoji:railway-track fluent3d:railway-track fluentflat:railway-track", "railway track, railway, railroad, train tracks, rails"),
    ("city_ 9, noto:cityscape twemoji:cityscape fluent3d:cityscape fluentflat:cityscape",
     "city skyline, city, skyline, cityscape, skyscrapers"),
    ("city 9, noto:night-with-stars twemoji:night-with-stars fluent3d:night-with-stars fluentflat:night-with-stars "
     "fxemoji:nightwithstars", "city at night, city skyline at night, night city, skyline at night"),
    ("noto:bridge-at-night noto1:bridge-at-night twemoji:bridge-at-night fluent3d:bridge-at-night fluentflat:bridge-at-night "
     "fxemoji:bridgeatnight", "bridge at night, bridge, suspension bridge"),
    ("noto:fireworks twemoji:fireworks fluent3d:fireworks fluentflat:fireworks fxemoji:fireworks", "fireworks, firework, fireworks in the night sky"),
    ("brick 8", "brick wall"),
    ("wood 8", "wooden table, wooden planks, wooden floor, wooden board"),
]


def procedural(kind, number, seed):
    torch.manual_seed(seed)
    np.random.seed(seed)
    x = torch.nn.functional.avg_pool2d(natural(kind, number, 2 * SIDE, "cpu"), 2)
    return [Image.fromarray((p.clamp(0, 1).permute(1, 2, 0) * 255).round().byte().numpy()) for p in x]


def whole(im):
    """The inside of an icon that is a scene, without its round corners."""
    w, h = im.size
    im = im.crop((5, 5, w - 5, h - 5))
    mean = tuple(int(c) for c in np.asarray(im)[np.asarray(im)[..., 3] > 200][:, :3].mean(0))
    out = Image.new("RGB", im.size, mean)
    out.paste(im, (0, 0), im)
    return out.resize((SIDE, SIDE), Image.BICUBIC)


def places(candidates):
    """[(names, [picture])]"""
    by_key = {d.key: d for d in candidates}
    result = []
    for seed, (sources, names) in enumerate(PLACES):
        pictures = []
        for source in sources.split(", "):
            if ":" in source:
                pictures += [whole(by_key[key].image()) for key in source.split()]
                continue
            kind, number = source.split()
            # an underscore tells the drawn landscape from the scene of the same name
            drawn = getattr(land, kind.rstrip("_"), None) if kind.endswith("_") or kind not in SCENES else None
            pictures += land.pictures(drawn, int(number), SIDE, seed) if drawn else procedural(kind, int(number), seed)
        result.append(([n.strip() for n in names.split(",")], pictures))
    return result


SCENES = "sunset_sea meadow sky night space snow desert underwater forest grass mountains city brick wood autumn beach ocean rainbow moon flowers".split()
