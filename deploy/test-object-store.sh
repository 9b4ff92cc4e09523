#!/usr/bin/env bash
# A sweep in an object store: four runs on two shards, one of which is killed, end with the bytes of a local sweep. The store is moto's S3
# server on this machine (pip install 'moto[server]'), begun and ended here; the program is built with `--features cloud`.
#
#   deploy/test-object-store.sh [PROGRAM]        PYTHON=python3 says which Python has moto
set -euo pipefail
program=$(realpath "${1:-target/debug/phantasia}")
python=${PYTHON:-python3}
work=$(mktemp -d)
server=
trap 'kill $server 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
mkdir tmp
export TMPDIR=$work/tmp

port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$python" -m moto.server -H 127.0.0.1 -p "$port" >server.log 2>&1 &
server=$!
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1
export AWS_ENDPOINT=http://127.0.0.1:$port AWS_ALLOW_HTTP=true
objects() { "$python" - "$@" <<'PY'
import os, pathlib, sys, boto3
store = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT"])
what, *rest = sys.argv[1:]
if what == "bucket":
    store.create_bucket(Bucket=rest[0])
elif what == "list":
    for page in store.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=rest[0]):
        for item in page.get("Contents", []):
            print(item["Key"])
elif what == "get":
    for page in store.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=rest[0] + "/"):
        for item in page.get("Contents", []):
            path = pathlib.Path(rest[1], item["Key"].removeprefix(rest[0] + "/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            store.download_file("bucket", item["Key"], str(path))
PY
}
for ((attempt = 0; attempt < 100; attempt++)); do
  objects bucket bucket 2>/dev/null && break
  sleep 0.3
done

cat >base.yaml <<'YAML'
prompts: a red ball
size: [32, 32]
steps: 12
generator: pixels
cutouts: { count: 2 }
YAML
printf 'recipe: base.yaml\nsweep:\n  seed: 1..2\n  prompts: [[a red ball], [a green tree]]\n' >sweep.yaml
sweep() { "$program" sweep sweep.yaml --quiet --device cpu "$@"; }

sweep --out local >/dev/null

# what cannot be used is refused before work
if sweep --out s3://no-such-bucket/s 2>refused; then echo "a bucket that is not there was used"; exit 1; fi
grep -q 'cannot write s3://no-such-bucket/s/plan.csv: .*NoSuchBucket' refused || { cat refused; exit 1; }
if AWS_ENDPOINT=http://127.0.0.1:9 sweep --out s3://bucket/s 2>refused; then exit 1; fi
grep -q 'cannot write s3://bucket/s/plan.csv: .*after [0-9]* retries' refused || { cat refused; exit 1; }
if sweep --out s3://bucket/s --collect 2>refused; then exit 1; fi
grep -q 'there is no sweep in' refused || { cat refused; exit 1; }

# the first shard is killed when its first run is being uploaded
sweep --out s3://bucket/a/s --shard 1/2 >/dev/null 2>>errors &
killed=$!
for ((attempt = 0; attempt < 3000; attempt++)); do
  grep -q 'PUT /bucket/a/s/runs/' server.log && break
  sleep 0.005
done
kill -KILL "$killed" 2>/dev/null || true
wait "$killed" 2>/dev/null || true
objects list a/s/runs/ >left
echo "killed with $(wc -l <left) objects of runs, $(grep -c /result.json left || true) of 2 runs whole"
grep -q . left || exit 1

# the same shard twice
pids=()
for shard in 1/2 1/2 2/2; do
  sweep --out s3://bucket/a/s --shard "$shard" >/dev/null 2>>errors &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || { cat errors; exit 1; }; done
objects list a/s/ | grep -q '^a/s/index.html$' || { echo "the last shard made no page"; exit 1; }
sweep --out s3://bucket/a/s --collect --json >report.json
"$python" -c 'import json; report = json.load(open("report.json")); assert report["finished"], report; print(report["table"])'

objects get a/s got
[[ $(find got/runs -name result.json | wc -l) == 4 ]] || { find got; exit 1; }
for run in local/runs/*/; do
  name=$(basename "$run")
  for file in image.png recipe.yaml; do cmp "$run/$file" "got/runs/$name/$file"; done
done
cmp local/plan.csv got/plan.csv
cmp local/sheet.png got/sheet.png
[[ -z $(ls tmp) ]] || { echo "left in the temporary folder:"; find tmp; exit 1; }
echo "four runs, table, sheet and page in the store; every picture and recipe has the bytes of the local sweep"
