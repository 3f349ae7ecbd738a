"""PyTorch on the benchmark's VAE: eager, compiled, or as a captured CUDA graph; needs only torch.

Prints one JSON line: {"seconds": of a step, "cpu_seconds": of all cores} or {"skipped": why}.
"""

import json
import statistics
import sys
import time


def vae(torch, device):
    """784-300-300-40 with ReLU and a Bernoulli likelihood: its parameters, and its loss of x."""
    nn = torch.nn
    encoder = nn.Sequential(
        nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 80)
    ).to(device)
    decoder = nn.Sequential(
        nn.Linear(40, 300), nn.ReLU(), nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 784)
    ).to(device)

    def loss(x):
        mean, log_variance = encoder(x).chunk(2, dim=-1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        distortion = nn.functional.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
        rate = 0.5 * torch.sum(mean**2 + torch.exp(log_variance) - 1 - log_variance)
        return (distortion + rate) / len(x)

    return [*encoder.parameters(), *decoder.parameters()], loss


def main(mode: str, num_steps: int, repeats: int = 3) -> dict:
    try:
        import torch
    except ImportError as error:
        return {"skipped": f"{error.name} is not installed"}
    cuda = torch.cuda.is_available()
    if mode == "graph" and not cuda:
        return {"skipped": "a CUDA graph needs a CUDA device"}
    torch.manual_seed(0)
    device = "cuda" if cuda else "cpu"
    parameters, loss = vae(torch, device)
    images = 0.26 * torch.rand(10_000, 784, device=device)
    optimiser = torch.optim.Adam(parameters, lr=1e-3, capturable=cuda)
    if mode == "compile":
        loss = torch.compile(loss)

    def step() -> None:
        rows = torch.randint(len(images), (100,), device=device)
        x = torch.bernoulli(images[rows])
        optimiser.zero_grad(set_to_none=False)
        loss(x).backward()
        optimiser.step()

    def wait() -> None:
        if cuda:
            torch.cuda.synchronize()

    if mode == "graph":
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(3):
                step()
        wait()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        run = graph.replay
    else:
        run = step

    def block() -> tuple[float, float]:
        wait()
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(num_steps):
            run()
        wait()
        seconds = time.perf_counter() - start, time.process_time() - cpu
        return seconds[0] / num_steps, seconds[1] / num_steps

    try:
        block()
    # torch.compile has many ways to fail: a compiler that is missing is one.
    except Exception as error:
        return {"skipped": f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"}
    seconds, cpu_seconds = map(
        statistics.median, zip(*(block() for _ in range(repeats)), strict=True)
    )
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "device": device}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
