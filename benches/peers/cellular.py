"""The work of benches/cellular.rs in PyTorch, as texture automata are trained there: perception as a grouped convolution, the network as 1 x 1
convolutions, with and without gradient checkpointing.

    python cellular.py [ITERATIONS] [REPEATS] [checkpoint|plain]
"""

import json
import resource
import sys
import time

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint_sequential

torch.manual_seed(0)
ITERATIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 64
REPEATS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
PLAIN = len(sys.argv) > 3 and sys.argv[3] == "plain"
CHANNELS, HIDDEN, BATCH, SIDE = 12, 128, 4, 128

identity = torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]])
sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
laplacian = torch.tensor([[1.0, 2, 1], [2, -12, 2], [1, 2, 1]])
filters = torch.stack([identity, sobel, sobel.T, laplacian])[:, None]
w1 = torch.nn.Conv2d(4 * CHANNELS, HIDDEN, 1)
w2 = torch.nn.Conv2d(HIDDEN, CHANNELS, 1, bias=False)
torch.nn.init.normal_(w2.weight, std=0.003)


def step(x):
    b, c, h, w = x.shape
    y = F.pad(x.reshape(b * c, 1, h, w), [1, 1, 1, 1], "circular")
    y = F.conv2d(y, filters).reshape(b, 4 * c, h, w)
    y = w2(torch.relu(w1(y)))
    return x + y * (torch.rand(b, 1, h, w) + 0.5).floor()


start = 0.1 * torch.randn(BATCH, CHANNELS, SIDE, SIDE)
grad = 1e-4 * torch.randn_like(start)
best = [float("inf")] * 2
for _ in range(REPEATS):
    begin = time.perf_counter()
    x = start.clone().requires_grad_()
    if PLAIN:
        end = x
        for _ in range(ITERATIONS):
            end = step(end)
    else:
        segments = round(ITERATIONS**0.5)
        end = checkpoint_sequential([step] * ITERATIONS, segments, x, use_reentrant=False)
    forward = time.perf_counter() - begin
    end.backward(grad)
    best = [min(best[0], forward), min(best[1], time.perf_counter() - begin)]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"iterations": ITERATIONS, "forward": round(best[0], 3), "both": round(best[1], 3), "peak": f"{peak} kB"}))
