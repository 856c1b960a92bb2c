"""Times torchvision's backbones as `backbones.rs` times ours, in turns with it, and prints both in one table.

    RAYON_NUM_THREADS=2 python benches/backbones_reference.py --threads 2

Needs torch, torchvision and cargo. PyTorch runs eagerly in both of its layouts, NCHW and channels-last; the ratio is of ours to the
faster of the two. Each round measures PyTorch and then runs `cargo bench` for a network; the table has the medians of the rounds,
because other work on a machine comes and goes within minutes. `--work forward1 forward8` leaves training out, `--torch-only` ours.
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from pathlib import Path

import torch
from torchvision import models

NAMES = ["resnet50", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b3", "convnext_tiny", "swin_v2_t"]
WORK = ["forward1", "forward8", "train8"]
LAYOUTS = {"NCHW": torch.contiguous_format, "channels-last": torch.channels_last}
ROOT = Path(__file__).parent.parent


def median_ms(work, runs: int) -> float:
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def images(batch: int, layout: torch.memory_format) -> torch.Tensor:
    return torch.randn(batch, 3, 224, 224).to(memory_format=layout)


def forward(network: torch.nn.Module, images: torch.Tensor):
    def work():
        with torch.inference_mode():
            network(images)

    return work


def training(network: torch.nn.Module, images: torch.Tensor):
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def work():
        optimizer.zero_grad()
        network(images).square().mean().backward()
        optimizer.step()

    return work


def ours(name: str, work: list[str]) -> dict[str, float]:
    """Medians of Criterion's measurements of a network."""
    command = ["cargo", "bench", "--workspace", "--bench", "backbones", "--"]
    command += ["--warm-up-time", "0.1", "--measurement-time", "0.5", f"{name}/"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    estimates = {what: target / f"criterion/backbones/{name}_{what}/new/estimates.json" for what in work}
    return {what: json.loads(file.read_text())["median"]["point_estimate"] / 1e6 for what, file in estimates.items()}


def theirs(name: str, work: list[str], layout: torch.memory_format, runs: int) -> dict[str, float]:
    network = models.get_model(name, weights=None).to(memory_format=layout)
    passes = {
        "forward1": lambda: forward(network.eval(), images(1, layout)),
        "forward8": lambda: forward(network.eval(), images(8, layout)),
        "train8": lambda: training(network.train(), images(8, layout)),
    }
    return {what: median_ms(passes[what](), runs) for what in work}


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--names", nargs="*", default=NAMES)
    arguments.add_argument("--work", nargs="*", choices=WORK, default=WORK)
    arguments.add_argument("--torch-only", action="store_true")
    arguments = arguments.parse_args()
    torch.set_num_threads(arguments.threads)
    titles = ["network", "work", *(f"PyTorch {layout}, ms" for layout in LAYOUTS)]
    titles += [] if arguments.torch_only else ["ours, ms", "our speed / the faster PyTorch's"]
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for name in arguments.names:
        rounds = []
        for _ in range(arguments.rounds):
            sides = [theirs(name, arguments.work, layout, arguments.runs) for layout in LAYOUTS.values()]
            rounds.append(sides if arguments.torch_only else [*sides, ours(name, arguments.work)])
        for what in arguments.work:
            medians = [statistics.median(side[what] for side in sides) for sides in zip(*rounds)]
            cells = [name, what, *(f"{value:.1f}" for value in medians)]
            if not arguments.torch_only:
                cells.append(f"{min(medians[: len(LAYOUTS)]) / medians[-1]:.2f}")
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
