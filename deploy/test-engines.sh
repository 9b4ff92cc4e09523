#!/usr/bin/env bash
# Paints one small sweep by one process, by an array of Slurm, by Ray, and by pods of an Indexed Job that are played by the shell, and compares
# the bytes. The manifest is checked against the schema of Kubernetes. Slurm runs on this machine alone, in a folder of its own.
#
#   deploy/test-engines.sh [PROGRAM]
#
# Needs slurm-wlm (Debian, Ubuntu) and, in a Python that is named by $PYTHON, the packages ray and kubernetes-validate. What is missing is left
# out and said; with REQUIRE=1 it is an error. Slurm wants to be started by root.
. "$(dirname "$0")/common.sh"
export PHANTASIA=$program
write_sweep 12 3

# the pictures, the recipes and the sheet are those of one local run
same() {
  same_runs one "$2"
  cmp one/sheet.png "$2/sheet.png"
  echo "$1: the bytes of one local run"
}

"$program" sweep sweep.yaml --out one --quiet >/dev/null

# Slurm, with a key and a socket of its own for munge
if command -v slurmctld slurmd munged >/dev/null; then
  mkdir -p slurm/state slurm/spool slurm/munge
  chmod 700 slurm/munge
  dd if=/dev/urandom of=slurm/munge/key bs=1 count=1024 status=none
  chmod 400 slurm/munge/key
  # the socket's folder may be entered by everybody
  mkdir -m 755 slurm/socket
  munged --foreground --force --key-file="$work/slurm/munge/key" --socket="$work/slurm/socket/munge" \
    --pid-file="$work/slurm/munge/pid" --log-file="$work/slurm/munge/log" --seed-file="$work/slurm/munge/seed" >slurm/munged.log 2>&1 &
  started+=($!)
  host=$(hostname -s)
  cat >slurm/slurm.conf <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket=$work/slurm/socket/munge
CryptoType=crypto/munge
StateSaveLocation=$work/slurm/state
SlurmdSpoolDir=$work/slurm/spool
SlurmctldPidFile=$work/slurm/slurmctld.pid
SlurmdPidFile=$work/slurm/slurmd.pid
SlurmctldLogFile=$work/slurm/slurmctld.log
SlurmdLogFile=$work/slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
  export SLURM_CONF=$work/slurm/slurm.conf
  for ((try = 0; try < 50; try++)); do [[ -S slurm/socket/munge ]] && break; sleep 0.2; done
  slurmctld -D >slurm/ctld.out 2>&1 &
  started+=($!)
  slurmd -D >slurm/d.out 2>&1 &
  started+=($!)
  for ((try = 0; try < 100; try++)); do sinfo -h -o %T 2>/dev/null | grep -q idle && break; sleep 0.3; done
  sinfo || { tail slurm/*.log slurm/*.out; exit 1; }
  job=$(sbatch --parsable --array=1-4 --cpus-per-task=1 --output="$work/slurm/%A_%a.out" "$deploy/slurm.sbatch" "$work/sweep.yaml" "$work/slurm-out")
  for ((try = 0; try < 600; try++)); do [[ -z $(squeue -h -j "$job" 2>/dev/null) ]] && break; sleep 0.5; done
  cat slurm/"$job"_*.out
  same "Slurm, an array of four" slurm-out
  unset SLURM_CONF
else
  left_out "Slurm: apt-get install slurm-wlm"
fi

if "$python" -c 'import ray' 2>/dev/null; then
  RAY_DISABLE_IMPORT_WARNING=1 "$python" "$deploy/ray_sweep.py" 4 "$program" sweep "$work/sweep.yaml" --out "$work/ray-out" --quiet >ray.log 2>&1 || { tail ray.log; exit 1; }
  same "Ray, four tasks" ray-out
else
  left_out "Ray: pip install ray"
fi

# the arguments and variables of the manifest, as a node would give them to its pods
if "$python" -c 'import yaml' 2>/dev/null; then
  pods=()
  for index in 0 1 2 3; do
    "$python" - "$deploy/kubernetes-job.yaml" "$index" "$work" <<'PYTHON' &
import os, subprocess, sys, yaml
job = yaml.safe_load(open(sys.argv[1]))["spec"]
assert job["completionMode"] == "Indexed"
pod = job["template"]["spec"]["containers"][0]
variables = {entry["name"]: entry["value"] for entry in pod["env"]}
assert variables["PHANTASIA_SHARDS"] == str(job["completions"])
variables["JOB_COMPLETION_INDEX"] = sys.argv[2]
paths = {"/data/sweep.yaml": sys.argv[3] + "/sweep.yaml", "/data/sweep": sys.argv[3] + "/pods-out"}
args = [paths.get(arg, arg) for arg in pod["args"]]
sys.exit(subprocess.run([os.environ["PHANTASIA"], *args], env={**os.environ, **variables}, stdout=subprocess.DEVNULL).returncode)
PYTHON
    pods+=($!)
  done
  for pod in "${pods[@]}"; do wait "$pod"; done
  same "four pods of the manifest" pods-out
else
  left_out "the pods of the manifest: pip install pyyaml"
fi

validate=$(dirname "$(command -v "$python")")/kubernetes-validate
if [[ -x $validate ]]; then
  "$validate" --strict "$deploy/kubernetes-job.yaml"
else
  left_out "the manifest's schema: pip install kubernetes-validate"
fi
