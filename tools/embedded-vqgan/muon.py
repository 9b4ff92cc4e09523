"""Muon, an optimiser for matrices and convolutions."""

import torch


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal (Jordan et al. 2024), scaled to the size of Adam's updates (Liu et al. 2025); matrices of one shape at a time."""

    def __init__(self, params, lr, momentum=0.95, decay=0.0):
        super().__init__(params, dict(lr=lr, momentum=momentum, decay=decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = {}
            for p in group["params"]:
                if "speed" not in self.state[p]:
                    self.state[p]["speed"] = torch.zeros_like(p)
                shapes.setdefault((p.shape[0], p[0].numel()), []).append(p)
            # states of before there was a decay have none
            torch._foreach_mul_(group["params"], 1 - group["lr"] * group.get("decay", 0.0))
            for shape, same in shapes.items():
                speeds, grads = [self.state[p]["speed"] for p in same], [p.grad for p in same]
                torch._foreach_lerp_(speeds, grads, 1 - group["momentum"])
                u = orthogonal(torch.stack([x.flatten(1) for x in torch._foreach_lerp(grads, speeds, group["momentum"])]))
                rate = -group["lr"] * 0.2 * max(shape) ** 0.5
                torch._foreach_add_(same, [x.view_as(p) for x, p in zip(u, same)], alpha=rate)


def orthogonal(u):
    """Five Newton-Schulz steps towards the nearest matrices [n, rows, columns] with singular values of about 1."""
    wide = u.shape[1] <= u.shape[2]
    x = u if wide else u.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    # half precision is enough for the directions, and the processor is no faster with it
    x = x.bfloat16() if x.is_cuda else x
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
    return (x if wide else x.mT).to(u.dtype)
