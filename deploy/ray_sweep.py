"""Paints a sweep with Ray: a task is a shard.

    python deploy/ray_sweep.py SHARDS phantasia sweep SWEEP.yaml --out FOLDER --quiet

The program, the sweep's file and the folder lie at the same path on every node. A task whose node is lost is begun again.
For GPUs: @ray.remote(num_gpus=1).
"""

import subprocess
import sys

import ray


@ray.remote(num_cpus=1, max_retries=3)
def paint(command, number, shards):
    return subprocess.run([*command, "--shard", f"{number}/{shards}"]).returncode


if __name__ == "__main__":
    shards, command = int(sys.argv[1]), sys.argv[2:]
    ray.init()
    sys.exit(max(ray.get([paint.remote(command, number, shards) for number in range(1, shards + 1)])))
