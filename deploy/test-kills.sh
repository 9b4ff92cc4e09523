#!/usr/bin/env bash
# Kills the processes of a sweep at random, begins them again, and compares what is left with plain renders: every run is whole, once, and
# has the bytes that `phantasia render` of its recipe writes, also where it was continued from a checkpoint.
#
#   deploy/test-kills.sh [PROGRAM] [RUNS] [SHARDS] [KILLS] [STEPS]
. "$(dirname "$0")/common.sh"
runs=${2:-64} shards=${3:-4} kills=${4:-12}
write_sweep "$runs" "${5:-8}"

declare -A pid
begin() {
  "$program" sweep sweep.yaml --out out --shard "$1/$shards" --quiet --device cpu >/dev/null 2>>errors &
  pid[$1]=$!
}
for ((shard = 1; shard <= shards; shard++)); do begin "$shard"; done
# a second process of the first shard does no harm
"$program" sweep sweep.yaml --out out --shard "1/$shards" --quiet --device cpu >/dev/null 2>>errors &
twin=$!
for ((kill = 0; kill < kills; kill++)); do
  sleep "$((RANDOM % 2)).$((RANDOM % 10))"
  shard=$((RANDOM % shards + 1))
  kill -KILL "${pid[$shard]}" 2>/dev/null || true
  wait "${pid[$shard]}" 2>/dev/null || true
  begin "$shard"
done
status=0
for process in "${pid[@]}" "$twin"; do wait "$process" || status=1; done
# whichever process was last may have been killed before it made the table
"$program" sweep sweep.yaml --out out --collect --quiet >/dev/null 2>>errors
((status == 0)) || { cat errors; exit 1; }

whole=$(find out/runs -mindepth 1 -maxdepth 1 -type d -not -name '.*' | wc -l)
partial=$(find out/runs -mindepth 1 -maxdepth 1 -name '.*' | wc -l)
lines=$(grep -c ',whole,' out/results.csv)
continued=$(grep -l steps_before out/runs/*/result.json | wc -l)
echo "$whole whole runs, $continued of them continued after a kill, $lines in the table, $partial left in part"
((whole == runs && lines == runs && partial == 0)) || exit 1
for run in out/runs/*/; do
  "$program" render "$run/recipe.yaml" --out single --quiet --device cpu >/dev/null
  single=$(ls -d single/*-001)
  for file in image.png recipe.yaml; do cmp "$run/$file" "$single/$file"; done
  rm -r single
done
echo "every picture and recipe has the bytes of a single render"
