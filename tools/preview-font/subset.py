"""Makes the fonts that the preview window embeds from Inter's static OpenType files.

    pip install fonttools
    python subset.py FOLDER-WITH-INTER

Kept: Latin, Greek and Cyrillic with their extensions, Vietnamese, punctuation, currency, arrows, and the keyboard's symbols. Digits are
the tabular ones, so that numbers that change do not dance. Layout tables are left out: the window places glyphs by their advance alone.
"""

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

RANGES = [
    (0x0020, 0x007E), (0x00A0, 0x024F), (0x0250, 0x02FF), (0x0300, 0x036F), (0x0370, 0x03FF), (0x0400, 0x052F),
    (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x2070, 0x209F), (0x20A0, 0x20BF), (0x2100, 0x214F), (0x2190, 0x21FF),
    (0x2200, 0x22FF), (0x2300, 0x23FF), (0x25A0, 0x25FF), (0xFFFD, 0xFFFD),
]
TARGET = Path(__file__).parents[2] / "src/draw/font"

for weight in ["Regular", "SemiBold"]:
    font = TTFont(Path(sys.argv[1]) / f"Inter-{weight}.otf")
    substitution = font["GSUB"].table
    lookups = {index for record in substitution.FeatureList.FeatureRecord if record.FeatureTag == "tnum" for index in record.Feature.LookupListIndex}
    tabular = {}
    for index in lookups:
        for part in substitution.LookupList.Lookup[index].SubTable:
            tabular |= getattr(part, "ExtSubTable", part).mapping
    for table in font["cmap"].tables:
        for code in [*map(ord, "0123456789")]:
            if code in table.cmap:
                table.cmap[code] = tabular.get(table.cmap[code], table.cmap[code])
    options = subset.Options()
    options.layout_features = []
    options.hinting = False
    options.desubroutinize = False
    options.notdef_outline = True
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
    options.drop_tables += ["GSUB", "GPOS", "GDEF", "BASE", "STAT", "DSIG"]
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=[code for low, high in RANGES for code in range(low, high + 1)])
    subsetter.subset(font)
    target = TARGET / f"Inter-{weight}.otf"
    font.save(target)
    print(target, target.stat().st_size, "bytes,", len(font.getGlyphOrder()), "glyphs")
