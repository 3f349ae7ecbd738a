"""PyTorch on the benchmark's VAE: eager, compiled, or as a captured CUDA graph; needs only torch.

Prints one JSON line: {"seconds": of a step} or {"skipped": why}.
"""

import json
import statistics
import sys
import time


def main(mode: str, num_steps: int, repeats: int = 3) -> dict:
    try:
        import torch
        from eager_torch import VAE  # type: ignore[import-not-found]
    except ImportError as error:
        return {"skipped": f"{error.name} is not installed"}
    cuda = torch.cuda.is_available()
    if mode == "graph" and not cuda:
        return {"skipped": "a CUDA graph needs a CUDA device"}
    torch.manual_seed(0)
    device = "cuda" if cuda else "cpu"
    model, images = VAE().to(device), 0.26 * torch.rand(10_000, 784, device=device)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, capturable=cuda)
    loss = torch.compile(model.loss) if mode == "compile" else model.loss

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

    def block() -> float:
        wait()
        start = time.perf_counter()
        for _ in range(num_steps):
            run()
        wait()
        return (time.perf_counter() - start) / num_steps

    try:
        block()
    except (
        Exception
    ) as error:  # torch.compile has many ways to fail: a compiler that is missing is one
        return {"skipped": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120]}"}
    return {"seconds": statistics.median(block() for _ in range(repeats)), "device": device}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
