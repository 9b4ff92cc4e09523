# What the tests of this folder begin with; they source it with their own arguments, the first of which is the program.
#
#   $program    the program, by its whole path
#   $deploy     this folder
#   $python     a Python, the one of the variable PYTHON or python3
#   started     processes to end at the end
#
# The working folder is a new one, which is removed at the end.
set -euo pipefail
deploy=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$(realpath "${1:-$deploy/../target/debug/phantasia}")
python=${PYTHON:-python3}
started=()
work=$(mktemp -d)
# Slurm begins processes that have to get into it
chmod 755 "$work"
finish() {
  for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
cd "$work"

# A sweep of small runs: their number, an even one, and the steps of each.
write_sweep() {
  cat >base.yaml <<YAML
prompts: a {red|blue} ball
size: [32, 32]
steps: $2
generator: pixels
cutouts: { count: 2 }
output: { checkpoint: 2 }
YAML
  printf 'recipe: base.yaml\nsweep:\n  seed: 1..%d\n' $(($1 / 2)) >sweep.yaml
}

# What is missing is left out and said; with REQUIRE=1 it is an error.
left_out() {
  echo "left out: $1"
  [[ -z ${REQUIRE:-} ]] || exit 1
}

# The runs of one folder have the pictures and recipes of those of another, and there are no others.
same_runs() {
  local run file
  for run in "$1"/runs/*/; do
    for file in image.png recipe.yaml; do cmp "$run$file" "$2/runs/$(basename "$run")/$file"; done
  done
  diff <(cd "$1/runs" && ls) <(cd "$2/runs" && ls)
}
