"""Muon, an optimiser for matrices and convolutions."""

import torch


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal (Jordan et al. 2024), scaled to the size of Adam's updates (Liu et al. 2025)."""

    def __init__(self, params, lr, momentum=0.95, decay=0.0):
        super().__init__(params, dict(lr=lr, momentum=momentum, decay=decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if "speed" not in self.state[p]:
                    self.state[p]["speed"] = torch.zeros_like(p)
                speed = self.state[p]["speed"].lerp_(p.grad, 1 - group["momentum"])
                u = p.grad.lerp(speed, group["momentum"]).flatten(1)
                # states of before there was a decay have none
                p.mul_(1 - group["lr"] * group.get("decay", 0.0))
                p.add_(orthogonal(u).view_as(p), alpha=-group["lr"] * 0.2 * max(u.shape) ** 0.5)


def orthogonal(u):
    """Five Newton-Schulz steps towards the nearest matrix with singular values of about 1."""
    wide = u.shape[0] <= u.shape[1]
    x = u if wide else u.T
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
    return x if wide else x.T
