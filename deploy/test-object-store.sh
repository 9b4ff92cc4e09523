#!/usr/bin/env bash
# A sweep in object stores: four runs on two shards, one of which is killed, end with the bytes of a local sweep. The stores are servers on this
# machine, begun and ended here; the program is built with `--features cloud`.
#
#   deploy/test-object-store.sh [PROGRAM] [STORE]...
#
#   s3   moto: pip install 'moto[server]', in the Python named by $PYTHON
#   gs   moto too, because Google's XML interface has the requests of S3, all but their conditions
#   az   Azurite, which is $AZURITE or azurite-blob: npm install azurite; pip install azure-storage-blob
#
# All three by default. What is missing is left out and said; with REQUIRE=1 it is an error.
. "$(dirname "$0")/common.sh"
stores=("${@:2}")
((${#stores[@]})) || stores=(s3 gs az)
mkdir tmp
export TMPDIR=$work/tmp
write_sweep 4 12
sweep() { "$program" sweep sweep.yaml --quiet --device cpu "$@"; }
sweep --out local >/dev/null

# makes a container, lists its objects, or downloads those below a prefix
objects() { "$python" - "$@" <<'PY'
import os, pathlib, sys
store, what, *rest = sys.argv[1:]
if store == "az":
    from azure.storage.blob import BlobServiceClient
    # the account of every Azurite
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    account = {"account_name": "devstoreaccount1", "account_key": key}
    service = BlobServiceClient(os.environ["AZURITE_BLOB_STORAGE_URL"] + "/devstoreaccount1", credential=account)
    container = service.get_container_client("bucket")
    make = container.create_container
    names = lambda prefix: [blob.name for blob in container.list_blobs(name_starts_with=prefix)]
    read = lambda name: container.download_blob(name).readall()
else:
    import boto3
    client = boto3.client(
        "s3", endpoint_url=os.environ["SERVER"], region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    make = lambda: client.create_bucket(Bucket="bucket")
    pages = lambda prefix: client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix)
    names = lambda prefix: [item["Key"] for page in pages(prefix) for item in page.get("Contents", [])]
    read = lambda name: client.get_object(Bucket="bucket", Key=name)["Body"].read()
if what == "bucket":
    make()
elif what == "list":
    print("\n".join(names(rest[0])))
elif what == "get":
    for name in names(rest[0] + "/"):
        path = pathlib.Path(rest[1], name.removeprefix(rest[0] + "/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(read(name))
PY
}

# begins the server of a store, and says by variables where it is; false where something is missing
serve() {
  local port
  port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  export SERVER=http://127.0.0.1:$port
  if [[ $1 == az ]]; then
    local azurite=${AZURITE:-azurite-blob}
    command -v "$azurite" >/dev/null && "$python" -c 'import azure.storage.blob' 2>/dev/null || return 1
    "$azurite" --silent --disableTelemetry --skipApiVersionCheck --inMemoryPersistence --blobPort "$port" >server.log 2>&1 &
    export AZURE_STORAGE_USE_EMULATOR=true AZURITE_BLOB_STORAGE_URL=$SERVER
  else
    "$python" -c 'import moto.server, boto3' 2>/dev/null || return 1
    "$python" -m moto.server -H 127.0.0.1 -p "$port" >server.log 2>&1 &
    export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1 AWS_ENDPOINT=$SERVER AWS_ALLOW_HTTP=true
    # moto finds in a token which of its services is meant
    export GOOGLE_BASE_URL=$SERVER GOOGLE_ALLOW_HTTP=true GOOGLE_BEARER_TOKEN=test/20260101/us-east-1/s3/aws4_request
  fi
  started+=($!)
  for ((attempt = 0; attempt < 100; attempt++)); do
    objects "$1" bucket 2>/dev/null && return
    sleep 0.3
  done
  cat server.log
  exit 1
}

# what cannot be used is refused before work
refuses() {
  local said=$1
  shift
  if sweep "$@" >/dev/null 2>refused; then echo "not refused: $*"; exit 1; fi
  grep -q "$said" refused || { cat refused; exit 1; }
}

check() {
  local url=$1://bucket/a/s prefix=a/s
  refuses "cannot write $1://no-such-bucket/s/plan.csv: .*\(NoSuchBucket\|ContainerNotFound\)" --out "$1://no-such-bucket/s"
  refuses 'there is no sweep in' --out "$url" --collect

  # the first shard is killed when its first run is being uploaded
  sweep --out "$url" --shard 1/2 >/dev/null 2>>errors &
  local killed=$! attempt
  for ((attempt = 0; attempt < 3000; attempt++)); do
    if [[ $1 == az ]]; then [[ -n $(objects az list $prefix/runs/) ]] && break
    else grep -q 'PUT /bucket/a\(/\|%2F\)s\(/\|%2F\)runs' server.log && break; fi
    sleep 0.005
  done
  kill -KILL "$killed" 2>/dev/null || true
  wait "$killed" 2>/dev/null || true
  objects "$1" list $prefix/runs/ >left
  echo "$1: killed with $(wc -l <left) objects of runs, $(grep -c /result.json left || true) of 2 runs whole"
  grep -q . left || exit 1

  # the same shard twice
  local pids=() shard pid
  for shard in 1/2 1/2 2/2; do
    sweep --out "$url" --shard "$shard" >/dev/null 2>>errors &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || { cat errors; exit 1; }; done
  objects "$1" list $prefix/ >names
  grep -q "^$prefix/index.html$" names || { echo "the last shard made no page"; exit 1; }
  sweep --out "$url" --collect --json >report.json
  "$python" -c 'import json; report = json.load(open("report.json")); assert report["finished"], report; print(report["table"])'

  objects "$1" get $prefix "got-$1"
  [[ $(find "got-$1/runs" -name result.json | wc -l) == 4 ]] || { find "got-$1"; exit 1; }
  same_runs local "got-$1"
  cmp local/plan.csv "got-$1/plan.csv"
  cmp local/sheet.png "got-$1/sheet.png"
  [[ -z $(ls tmp) ]] || { echo "left in the temporary folder:"; find tmp; exit 1; }
  echo "$1: four runs, table, sheet and page in the store; every picture and recipe has the bytes of the local sweep"
}

for store in "${stores[@]}"; do
  if serve "$store"; then
    check "$store"
  else
    left_out "$store: see the beginning of this file for what it needs"
  fi
done
if [[ " ${stores[*]} " == *" s3 "* ]]; then
  AWS_ENDPOINT=http://127.0.0.1:9 AWS_ALLOW_HTTP=true AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test \
    refuses 'cannot write s3://bucket/s/plan.csv: .*after [0-9]* retries' --out s3://bucket/s
fi
