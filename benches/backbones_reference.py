"""Times backbones and whole networks in PyTorch as `backbones.rs` and `networks.rs` time ours, in turns with them, and prints all in one table.

    RAYON_NUM_THREADS=2 python benches/backbones_reference.py --threads 2

Needs torch, torchvision and cargo. PyTorch runs eagerly in both of its layouts, NCHW and channels-last; the ratio is of ours to the
faster of the two. `--compiled` adds what `torch.compile` makes of the faster one, `--onnxruntime` ONNX Runtime's forward passes of the network that
PyTorch exports, whose threads do not spin between passes (needs onnx, onnxscript and onnxruntime). Each round measures the others and then runs `cargo bench` for a network; the
table has the medians of the rounds, because other work on a machine comes and goes within minutes. `--work forward1 forward8` leaves
training out, `--torch-only` ours. `fusionm4net` is the two ResNet-50 of FusionM4Net, `ammfm` AMMFM as it is published.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torchvision import models

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests/golden/networks"))

BACKBONES = ["resnet50", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b3", "convnext_tiny", "swin_v2_t"]
NETWORKS = ["fusionm4net", "ammfm"]
WORK = ["forward1", "forward8", "train8"]
LAYOUTS = {"NCHW": torch.contiguous_format, "channels-last": torch.channels_last}
CLASSES = [5, 3, 3, 3, 2, 3, 2, 3]


def median_ms(work, runs: int) -> float:
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def processor() -> str:
    """What `/proc/cpuinfo` calls it, with what it can that products of matrices gain from."""
    facts = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    wanted = [word for word in facts["flags"].split() if word in ("avx2", "avx512f", "avx512_bf16", "amx_tile")]
    return f"{facts['model name']}, family {facts['cpu family']}, model {facts['model']}, {' '.join(wanted)}"


def fusion_net() -> torch.nn.Module:
    """FusionM4Net's network, of layers of PyTorch."""
    import two_images

    two_images.CLASSES[:] = CLASSES

    class FusionNet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.clinical, self.dermoscopic = (two_images.Backbone("resnet50") for _ in range(2))
            self.heads = torch.nn.ModuleList(two_images.Head(2048) for _ in range(3))

        def forward(self, clinical, dermoscopic):
            clinical, dermoscopic = self.clinical.features(clinical), self.dermoscopic.features(dermoscopic)
            features = (clinical, dermoscopic, clinical + dermoscopic)
            return [logits for head, of in zip(self.heads, features) for logits in head(of)]

    return FusionNet()


def ammfm() -> torch.nn.Module:
    """AMMFM as it is published: torchvision's backbones, blocks and heads as the equations have them."""
    import two_images
    from parameters import Parameters

    two_images.CLASSES[:] = CLASSES
    filled = Parameters.filled
    # Goldens are in double precision.
    Parameters.filled = lambda self, name, *shape: filled(self, name, *shape).float()
    file = ROOT / "tests/golden/networks/asymmetric_fusion/generate.py"
    spec = importlib.util.spec_from_file_location("asymmetric_fusion", file)
    spec.loader.exec_module(generate := importlib.util.module_from_spec(spec))

    class Ammfm(generate.AsymmetricFusion):
        def forward(self, clinical, dermoscopic):
            return [logits for branch in super().forward(clinical, dermoscopic) for logits in branch]

    network = Ammfm(generate.config(generate.SMALL, generate.LARGE, generate.AAB), generate.gains(1.0))
    Parameters.filled = filled
    return network


def network_of(name: str) -> torch.nn.Module:
    makers = {"fusionm4net": fusion_net, "ammfm": ammfm}
    return makers[name]() if name in makers else models.get_model(name, weights=None)


def images(name: str, batch: int, layout: torch.memory_format) -> list[torch.Tensor]:
    """The one of a backbone, or the pair of a network."""
    return [torch.randn(batch, 3, 224, 224).to(memory_format=layout) for _ in range(1 + (name in NETWORKS))]


def forward(network: torch.nn.Module, images: list[torch.Tensor]):
    def work():
        with torch.inference_mode():
            network(*images)

    return work


def training(network: torch.nn.Module, images: list[torch.Tensor], parameters: list[torch.Tensor]):
    optimizer = torch.optim.Adam(parameters, lr=1e-4)

    def work():
        optimizer.zero_grad()
        logits = network(*images)
        sum(one.square().mean() for one in (logits if isinstance(logits, list) else [logits])).backward()
        optimizer.step()

    return work


def ours(name: str, work: list[str]) -> dict[str, float]:
    """Medians of Criterion's measurements of a network."""
    bench = "networks" if name in NETWORKS else "backbones"
    command = ["cargo", "bench", "--workspace", "--bench", bench, "--"]
    command += ["--warm-up-time", "0.1", "--measurement-time", "0.5", f"{name}/"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    estimates = {what: target / f"criterion/{bench}/{name}_{what}/new/estimates.json" for what in work}
    return {what: json.loads(file.read_text())["median"]["point_estimate"] / 1e6 for what, file in estimates.items()}


def theirs(name: str, work: list[str], layout: torch.memory_format, runs: int, compiles: bool = False) -> dict[str, float]:
    network = network_of(name).to(memory_format=layout)
    parameters = [parameter for _, parameter in network.named_parameters()]
    run = torch.compile(network, dynamic=False) if compiles else network
    passes = {
        "forward1": lambda: forward(run.eval(), images(name, 1, layout)),
        "forward8": lambda: forward(run.eval(), images(name, 8, layout)),
        "train8": lambda: training(run.train(), images(name, 8, layout), parameters),
    }
    return {what: median_ms(passes[what](), runs) for what in work}


def of_onnxruntime(name: str, work: list[str], threads: int, runs: int) -> dict[str, float]:
    """Forward passes of the exported network; a training step is none of ONNX Runtime's."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    times = {}
    with tempfile.TemporaryDirectory() as folder:
        for what in work:
            if not what.startswith("forward"):
                times[what] = float("nan")
                continue
            inputs = images(name, int(what.removeprefix("forward")), torch.contiguous_format)
            file = str(Path(folder) / f"{what}.onnx")
            try:
                torch.onnx.export(network_of(name).eval(), tuple(inputs), file, dynamo=True, verbose=False)
            except torch.onnx.errors.OnnxExporterError as error:
                print(f"{name} could not be exported: {str(error).splitlines()[0]}", file=sys.stderr)
                times[what] = float("nan")
                continue
            session = onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"])
            feeds = {one.name: image.numpy() for one, image in zip(session.get_inputs(), inputs)}
            times[what] = median_ms(lambda: session.run(None, feeds), runs)
    return times


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--names", nargs="*", default=BACKBONES + NETWORKS)
    arguments.add_argument("--work", nargs="*", choices=WORK, default=WORK)
    arguments.add_argument("--torch-only", action="store_true")
    arguments.add_argument("--compiled", action="store_true")
    arguments.add_argument("--onnxruntime", action="store_true")
    arguments = arguments.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{processor()}; PyTorch {torch.__version__}; {arguments.threads} threads\n")
    titles = ["network", "work", *(f"PyTorch {layout}, ms" for layout in LAYOUTS)]
    titles += ["PyTorch compiled, ms"] if arguments.compiled else []
    titles += ["ONNX Runtime, ms"] if arguments.onnxruntime else []
    titles += [] if arguments.torch_only else ["ours, ms", "our speed / the faster eager PyTorch's"]
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|", flush=True)
    for name in arguments.names:
        rounds = []
        for _ in range(arguments.rounds):
            sides = [theirs(name, arguments.work, layout, arguments.runs) for layout in LAYOUTS.values()]
            if arguments.compiled:
                total = [sum(side.values()) for side in sides]
                layout = list(LAYOUTS.values())[total.index(min(total))]
                sides.append(theirs(name, arguments.work, layout, arguments.runs, compiles=True))
                torch.compiler.reset()
            if arguments.onnxruntime:
                sides.append(of_onnxruntime(name, arguments.work, arguments.threads, arguments.runs))
            rounds.append(sides if arguments.torch_only else [*sides, ours(name, arguments.work)])
        for what in arguments.work:
            medians = [statistics.median(side[what] for side in sides) for sides in zip(*rounds)]
            cells = [name, what, *("" if value != value else f"{value:.1f}" for value in medians)]
            if not arguments.torch_only:
                cells.append(f"{min(medians[: len(LAYOUTS)]) / medians[-1]:.2f}")
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
