"""Eager PyTorch on the benchmark's VAE, for `experiments.benchmark`; needs only torch.

The same model, optimiser and dynamic binarisation, written as a PyTorch user would write the loop
with its data in memory; prints one JSON line, steps per second, and per second of CPU time.
"""

import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812


class VAE(nn.Module):
    """784-300-300-40 with ReLU and a Bernoulli likelihood."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 80)
        )
        self.decoder = nn.Sequential(
            nn.Linear(40, 300), nn.ReLU(), nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 784)
        )

    def loss(self, x):
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        distortion = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        rate = 0.5 * torch.sum(mean**2 + torch.exp(log_variance) - 1 - log_variance)
        return (distortion + rate) / len(x)


def main(steps: int = 200, repeats: int = 3) -> None:
    torch.manual_seed(0)
    model, images = VAE(), 0.26 * torch.rand(10_000, 784)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)

    def block() -> tuple[float, float]:
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            x = torch.bernoulli(images[torch.randint(len(images), (100,))])
            optimiser.zero_grad()
            model.loss(x).backward()
            optimiser.step()
        return steps / (time.perf_counter() - start), steps / (time.process_time() - cpu)

    block()
    wall, cpu = zip(*(block() for _ in range(repeats)), strict=True)
    print(json.dumps({"median": statistics.median(wall), "per_cpu_s": statistics.median(cpu)}))


if __name__ == "__main__":
    main()
