"""Times torchvision's backbones as `backbones.rs` times ours, and prints both in one table.

    RAYON_NUM_THREADS=2 cargo bench -p dermafuse-benches --bench backbones
    python benches/backbones_reference.py --threads 2

Needs torch and torchvision; reads Criterion's medians from target/criterion.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torchvision import models

NAMES = ["resnet50", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b3", "convnext_tiny", "swin_v2_t"]
CRITERION = Path(__file__).parent.parent / "target/criterion/backbones"


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


def ours(name: str, what: str) -> float | None:
    file = CRITERION / f"{name}_{what}" / "new/estimates.json"
    return json.loads(file.read_text())["median"]["point_estimate"] / 1e6 if file.exists() else None


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--runs", type=int, default=7)
    arguments = arguments.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| network | work | PyTorch, ms | ours, ms | ours / PyTorch speed |\n|---|---|---|---|---|")
    for name in NAMES:
        network = models.get_model(name, weights=None)
        rows = [("forward1", forward(network.eval(), 1)), ("forward8", forward(network.eval(), 8))]
        rows = [(what, median_ms(work, arguments.runs)) for what, work in rows]
        rows.append(("train8", median_ms(training(network.train(), 8), arguments.runs)))
        for what, reference in rows:
            mine = ours(name, what)
            measured = f"{mine:.0f} | {reference / mine:.2f}" if mine else "– | –"
            print(f"| {name} | {what} | {reference:.0f} | {measured} |", flush=True)


if __name__ == "__main__":
    main()
