"""Times torchvision's backbones as `backbones.rs` times ours, in turns with it, and prints both in one table.

    RAYON_NUM_THREADS=2 python benches/backbones_reference.py --threads 2

Needs torch, torchvision and cargo. Each round runs `cargo bench` for a network, then PyTorch; the table has the medians of
the rounds, because other work on a machine comes and goes within minutes.
"""

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path

import torch
from torchvision import models

NAMES = ["resnet50", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b3", "convnext_tiny", "swin_v2_t"]
WORK = ["forward1", "forward8", "train8"]
ROOT = Path(__file__).parent.parent


def median_ms(work, runs: int) -> float:
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def forward(network: torch.nn.Module, batch: int):
    images = torch.randn(batch, 3, 224, 224)

    def work():
        with torch.inference_mode():
            network(images)

    return work


def training(network: torch.nn.Module, batch: int):
    images = torch.randn(batch, 3, 224, 224)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def work():
        optimizer.zero_grad()
        network(images).square().mean().backward()
        optimizer.step()

    return work


def ours(name: str) -> dict[str, float]:
    """Medians of Criterion's measurements of a network."""
    command = ["cargo", "bench", "--workspace", "--bench", "backbones", "--"]
    command += ["--warm-up-time", "0.1", "--measurement-time", "0.5", f"{name}/"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    estimates = {what: ROOT / f"target/criterion/backbones/{name}_{what}/new/estimates.json" for what in WORK}
    return {what: json.loads(file.read_text())["median"]["point_estimate"] / 1e6 for what, file in estimates.items()}


def theirs(name: str, runs: int) -> dict[str, float]:
    network = models.get_model(name, weights=None)
    times = {what: median_ms(forward(network.eval(), batch), runs) for what, batch in (("forward1", 1), ("forward8", 8))}
    return times | {"train8": median_ms(training(network.train(), 8), runs)}


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--names", nargs="*", default=NAMES)
    arguments = arguments.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| network | work | PyTorch, ms | ours, ms | ours / PyTorch speed |\n|---|---|---|---|---|")
    for name in arguments.names:
        rounds = [(theirs(name, arguments.runs), ours(name)) for _ in range(arguments.rounds)]
        for what in WORK:
            reference, mine = (statistics.median(side[what] for side in sides) for sides in zip(*rounds))
            print(f"| {name} | {what} | {reference:.0f} | {mine:.0f} | {reference / mine:.2f} |", flush=True)


if __name__ == "__main__":
    main()
