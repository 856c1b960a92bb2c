"""Times AMMFM's answer for one case in PyTorch and here, in turns, and prints the medians.

    RAYON_NUM_THREADS=2 python benches/ammfm_reference.py --threads 2

Needs torch, torchvision and cargo. The network in PyTorch is the reference that the golden is made with, written from the
equations; an attention map of 3136 x 3136 is kept there as a tensor.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests/golden/networks"))
import two_images

sys.path.insert(0, str(ROOT / "tests/golden/networks/asymmetric_fusion"))
from generate import AAB, LARGE, SMALL, AsymmetricFusion, config

ESTIMATES = ROOT / "target/criterion/ammfm_one_case/new/estimates.json"


def theirs(network: torch.nn.Module, pair: list[torch.Tensor], runs: int) -> float:
    times = []
    with torch.inference_mode():
        for _ in range(runs + 1):
            start = time.perf_counter()
            network(*pair)
            times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def ours() -> float:
    """The median of Criterion's measurements."""
    command = ["cargo", "bench", "--workspace", "--bench", "networks", "--", "ammfm/one_case"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return json.loads(ESTIMATES.read_text())["median"]["point_estimate"] / 1e6


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--runs", type=int, default=20)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments = arguments.parse_args()
    torch.set_num_threads(arguments.threads)
    two_images.CLASSES[:] = [5, 3, 3, 3, 2, 3, 2, 3]
    network = AsymmetricFusion(config(SMALL, LARGE, AAB)).eval()
    pair = [torch.randn(1, 3, 224, 224) for _ in range(2)]
    rounds = [(theirs(network, pair, arguments.runs), ours()) for _ in range(arguments.rounds)]
    for name, times in zip(["PyTorch", "ours"], zip(*rounds)):
        print(f"{name}: {statistics.median(times):.0f} ms (rounds: {', '.join(f'{time:.0f}' for time in times)})")


if __name__ == "__main__":
    main()
