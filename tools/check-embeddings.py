#!/usr/bin/env python3
"""Do other programs read the embeddings that `phantasia embed` writes, and find the same?

    pip install pyarrow pandas duckdb lancedb embedding_reader numpy
    python tools/check-embeddings.py PICTURES [--program target/release/phantasia]

Embeds a folder of pictures in both types, whole and in three shards, and a text. pyarrow, pandas, DuckDB, LanceDB and the reader of clip-retrieval
(embedding_reader) read the files; the cosines that they compute must be those of `search --index`, within 1e-3. A table that pyarrow writes again is
searched too. Prints a line for each, and ends with 1 where one differs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import lancedb
import lancedb.index
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from embedding_reader import EmbeddingReader

TEXT = "a red ball"
FAILED = []


def check(name, right):
    print(("same" if right else "DIFFERS") + f"  {name}")
    if not right:
        FAILED.append(name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--program", default="target/release/phantasia")
    args = parser.parse_args()
    program = str(Path(args.program).resolve()) if "/" in args.program else args.program

    def run(*arguments):
        done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode not in (0, 1) or not done.stdout:
            sys.exit(done.stderr)
        return json.loads(done.stdout)

    folder = Path(tempfile.mkdtemp())
    query = np.array(run("embed", "--text", TEXT, "--json")["vector"], dtype=np.float32)
    for dtype, value in [("f16", pa.float16()), ("f32", pa.float32())]:
        out = folder / dtype / "embeddings.parquet"
        out.parent.mkdir()
        report = run("embed", args.pictures, "--out", out, "--dtype", dtype, "--json", "--quiet")
        found = run("search", "--index", out, TEXT, "--json", "--top", 1_000_000)["results"]
        place = lambda hit: (hit["path"], hit.get("key"))
        # of pictures that are twice in an archive, any may come first
        expected = {}
        for hit in found:
            expected.setdefault(place(hit), hit["score"])

        def compare(name, paths, keys, vectors):
            vectors = np.asarray(vectors, dtype=np.float32)
            keys = [key if isinstance(key, str) else None for key in keys]
            scores = dict(zip(zip(paths, keys), vectors @ query))
            worst = max((abs(scores[at] - score) for at, score in expected.items() if at in scores), default=1.0)
            unit = np.abs(np.linalg.norm(vectors, axis=1) - 1).max()
            check(f"{dtype}  {name}: {len(vectors)} rows, cosines within {worst:.1e}, lengths within {unit:.1e}",
                  len(vectors) == report["rows"] and set(scores) == set(expected) and worst < 1e-3 and unit < 1e-3)

        table = pq.read_table(out)
        kind = table.schema.field("image_embedding").type
        check(f"{dtype}  the column is {kind}", pa.types.is_fixed_size_list(kind) and kind.value_type == value and kind.list_size == report["dimension"])
        vectors = np.stack(table["image_embedding"].to_numpy())
        compare("pyarrow", table["image_path"].to_pylist(), table["key"].to_pylist(), vectors)
        frame = pd.read_parquet(out)
        compare("pandas", frame["image_path"], frame["key"], np.stack(frame["image_embedding"]))
        rows = duckdb.sql(f"select image_path, key, image_embedding from '{out}'").fetchall()
        compare("DuckDB", *zip(*rows))
        names = f"{query.tolist()}::FLOAT[{len(query)}]"
        best = duckdb.sql(f"select list_cosine_similarity(image_embedding::FLOAT[{len(query)}], {names}) as s from '{out}' order by s desc limit 1").fetchall()[0]
        check(f"{dtype}  DuckDB's own cosine", abs(best[0] - found[0]["score"]) < 1e-3)

        lance = lancedb.connect(folder / dtype / "lance").create_table("pictures", table)
        if lance.count_rows() >= 256:
            lance.create_index("image_embedding", config=lancedb.index.IvfPq(distance_type="cosine"))
        nearest = lance.search(query).distance_type("cosine").refine_factor(10).limit(1).to_pandas().iloc[0]
        check(f"{dtype}  LanceDB's nearest", nearest["image_path"] == found[0]["path"] or abs(1 - nearest["_distance"] - found[0]["score"]) < 1e-2)

        reader = EmbeddingReader(str(out.parent), file_format="parquet", embedding_column="image_embedding", meta_columns=["image_path", "key"])
        parts = list(reader(batch_size=100, show_progress=False))
        meta = pd.concat([rows for _, rows in parts])
        compare("embedding_reader", meta["image_path"], meta["key"], np.concatenate([part for part, _ in parts]))

        again = folder / dtype / "again.parquet"
        pq.write_table(table, again)
        hit = run("search", "--index", again, TEXT, "--json", "--top", 1)["results"][0]
        check(f"{dtype}  a table of pyarrow, searched", abs(hit["score"] - found[0]["score"]) < 1e-6)

        for number in (1, 2, 3):
            run("embed", args.pictures, "--out", out.parent / "s.parquet", "--dtype", dtype, "--shard", f"{number}/3", "--json", "--quiet")
        shards = pq.read_table([out.parent / f"s-0000{number}-of-00003.parquet" for number in (1, 2, 3)])
        compare("three shards", shards["image_path"].to_pylist(), shards["key"].to_pylist(), np.stack(shards["image_embedding"].to_numpy()))
    sys.exit(bool(FAILED))


main()
