"""A whole training on real images in PyTorch with its DataLoader and here, in turns: seconds, images a second, use of the processors, memory.

    RAYON_NUM_THREADS=2 python benches/training_reference.py MILK10K_DEV --backbone mobilenet_v2 --side 128 --cases 1200

Needs torch, torchvision, pillow, numpy and cargo. Both train the recipe `milk10k` from random weights on the first cases of MILK10k's development
part, decoded from its files of 200 x 150 pixels: two backbones, the record, three heads, augmentation of the same ranges (but for the tint), AdamW with two rates, a moving
average of the weights that is validated after each epoch. Here is also what comes after: the answers for the test cases, calibration, model file and
report. PyTorch's DataLoader has two workers that stay, and hands out batches of bytes that are normalized in the network's process.
Memory is what all processes of a side hold at once, shared pages counted once (`Pss`, once a second); processor time is theirs, too.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
BATCH, RECORD, WARM_UP, DECAY = 32, 64, 20, 0.995
VIEWS = ("clinical", "dermoscopic")


def subset(dev: Path, cases: int, folder: Path) -> None:
    """The first lesions as a data set of its own, which has the images by a link."""
    chosen: dict[str, None] = {}
    with (dev / "Metadata.csv").open() as file:
        for row in csv.DictReader(file):
            if row["lesion_id"] in chosen or len(chosen) < cases:
                chosen[row["lesion_id"]] = None
    for name in ("Metadata.csv", "GroundTruth.csv", "Supplement.csv"):
        with (dev / name).open() as file, (folder / name).open("w", newline="") as target:
            rows = csv.DictReader(file)
            writer = csv.DictWriter(target, rows.fieldnames)
            writer.writeheader()
            key = "lesion_id" if "lesion_id" in rows.fieldnames else "isic_id"
            images = {row["isic_id"] for row in csv.DictReader((folder / "Metadata.csv").open())} if key == "isic_id" else chosen
            writer.writerows(row for row in rows if row[key] in images)
    (folder / "images_200x150").symlink_to((dev / "images_200x150").resolve())


def ours(folder: Path, out: Path, arguments) -> list[str]:
    settings = [
        "method.weights=random",
        f"method.network.backbone={arguments.backbone}",
        f"training.preprocess.size={arguments.side}",
        f"training.epochs={arguments.epochs}",
        f"training.warm_up_steps={WARM_UP}",
        "evaluation.views=0",
    ]
    command = [str(target() / "release/dermafuse"), "train", "--recipe", "milk10k", "--data", f"milk10k={folder}"]
    return [*command, *(word for setting in settings for word in ("--set", setting)), "--out", str(out)]


def target() -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def descendants(process: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [process]
    for one in found:
        found += children.get(one, [])
    return found


def held(process: int) -> int:
    """Bytes that a process and those it has started hold."""
    total = 0
    for one in descendants(process):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def measured(command: list[str]) -> dict[str, float]:
    begin = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak, done = [0], threading.Event()

    def watch():
        while not done.wait(1.0):
            peak[0] = max(peak[0], held(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output, errors = process.communicate()
    seconds = time.monotonic() - begin
    done.set()
    watcher.join()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{output}{errors}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return {"seconds": seconds, "user": user, "system": system, "memory": peak[0] / 2**30}


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--backbone", default="mobilenet_v2")
    arguments.add_argument("--side", type=int, default=128)
    arguments.add_argument("--cases", type=int, default=1200)
    arguments.add_argument("--epochs", type=int, default=3)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--split", type=Path, help=argparse.SUPPRESS)
    arguments = arguments.parse_args()
    if arguments.split:
        return theirs(arguments)
    subprocess.run(["cargo", "build", "--release", "--workspace", "--bin", "dermafuse"], cwd=ROOT, check=True, capture_output=True)
    print("| | s | images a second | of both cores | system | peak memory, GB |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        subset(arguments.data, arguments.cases, folder)
        for number in range(arguments.rounds):
            out = folder / f"run-{number}"
            sides = {"ours": measured(ours(folder, out, arguments))}
            split = out / "split.json"
            parts = {part: len(ids) for part, ids in json.loads(split.read_text()).items() if isinstance(ids, list)}
            images = 2 * arguments.epochs * (parts["train"] + parts["valid"])
            words = ["--backbone", arguments.backbone, "--side", str(arguments.side), "--epochs", str(arguments.epochs)]
            words += ["--threads", str(arguments.threads), "--split", str(split)]
            sides["PyTorch"] = measured([sys.executable, str(Path(__file__).resolve()), str(folder), *words])
            for name, one in sides.items():
                busy = (one["user"] + one["system"]) / one["seconds"] / arguments.threads
                share = one["system"] / (one["user"] + one["system"])
                cells = [f"{one['seconds']:.1f}", f"{images / one['seconds']:.0f}", f"{100 * busy:.0f} %"]
                print(f"| {name} | {' | '.join(cells)} | {100 * share:.1f} % | {one['memory']:.2f} |", flush=True)
    print(f"\n{parts}, {arguments.epochs} epochs, {images} images in training and validation")


def theirs(arguments) -> None:
    """PyTorch's side."""
    import numpy as np
    import torch
    from PIL import Image
    from torch import nn
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
    from torchvision import models
    from torchvision.transforms import v2

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    split = json.loads(arguments.split.read_text())
    rows: dict[str, dict[str, dict]] = {}
    for row in csv.DictReader((arguments.data / "Metadata.csv").open()):
        rows.setdefault(row["lesion_id"], {})["clinical" if "clinical" in row["image_type"] else "dermoscopic"] = row
    truth = {row.pop("lesion_id"): row for row in csv.DictReader((arguments.data / "GroundTruth.csv").open())}
    labels = {lesion: int(np.argmax([float(value) for value in row.values()])) for lesion, row in truth.items()}
    classes = len(next(iter(truth.values())))
    fields = ("sex", "skin_tone_class", "site")
    values = {field: sorted({row["clinical"][field] for row in rows.values()}) for field in fields}

    def record(lesion: str) -> list[float]:
        row = rows[lesion]["clinical"]
        own = [float(row[field] == value) for field in fields for value in values[field]]
        return [float(row["age_approx"] or 50.0) / 50.0 - 1.0, *own]

    change = v2.Compose([
        v2.RandomHorizontalFlip(),
        v2.RandomVerticalFlip(),
        v2.RandomAffine(180, translate=(0.075, 0.075), scale=(1.0, 1.666), interpolation=v2.InterpolationMode.BILINEAR),
        v2.ColorJitter(brightness=0.1, contrast=0.2),
    ])

    class Cases(torch.utils.data.Dataset):
        def __init__(self, ids: list[str], learns: bool):
            self.ids, self.learns = ids, learns

        def __len__(self):
            return len(self.ids)

        def __getitem__(self, index: int):
            lesion = self.ids[index]
            images = []
            for view in VIEWS:
                file = arguments.data / "images_200x150" / f"{rows[lesion][view]['isic_id']}.jpg"
                image = Image.open(file).convert("RGB").resize((arguments.side, arguments.side), Image.BILINEAR)
                image = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
                images.append(change(image) if self.learns else image)
            return torch.stack(images), torch.tensor(record(lesion)), labels[lesion]

    class Network(nn.Module):
        def __init__(self, columns: int):
            super().__init__()
            self.towers = nn.ModuleList(models.get_model(arguments.backbone, weights=None) for _ in VIEWS)
            last = "fc" if hasattr(self.towers[0], "fc") else "classifier"
            for tower in self.towers:
                setattr(tower, last, nn.Identity())
            with torch.no_grad():
                features = self.towers[0].eval()(torch.zeros(1, 3, 64, 64)).shape[1]
            self.record = nn.Sequential(nn.Linear(columns, RECORD), nn.ReLU())
            self.heads = nn.ModuleList(nn.Linear(width, classes) for width in (features, features, 2 * features + RECORD))

        def forward(self, images: torch.Tensor, record: torch.Tensor) -> list[torch.Tensor]:
            maps = images.float().sub_(127).div_(128)
            seen = [tower(maps[:, view].contiguous(memory_format=torch.channels_last)) for view, tower in enumerate(self.towers)]
            joint = torch.cat([*seen, self.record(record)], dim=1)
            return [head(nn.functional.dropout(of, 0.3, self.training)) for head, of in zip(self.heads, [*seen, joint])]

    network = Network(len(record(split["train"][0]))).to(memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(DECAY))
    towers = list(network.towers.parameters())
    rest = [*network.record.parameters(), *network.heads.parameters()]
    optimizer = torch.optim.AdamW([{"params": towers, "lr": 4e-4}, {"params": rest, "lr": 2e-3}], weight_decay=0.02)
    counts = np.bincount([labels[lesion] for lesion in split["train"]], minlength=classes)
    prior = torch.tensor(np.log((counts + 1e-9) / counts.sum()), dtype=torch.float32).clamp(min=-9.0)

    def loader(part: str) -> torch.utils.data.DataLoader:
        learns = part == "train"
        options = {"num_workers": 2, "persistent_workers": True, "shuffle": learns, "drop_last": learns}
        return torch.utils.data.DataLoader(Cases(split[part], learns), BATCH, **options)

    def loss_of(branches: list[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        weighted = zip((0.5, 0.5, 1.0), branches)
        return sum(w * nn.functional.cross_entropy(one + prior, labels, label_smoothing=0.05) for w, one in weighted)

    parts = {part: loader(part) for part in ("train", "valid")}
    step, steps = 0, arguments.epochs * len(parts["train"])
    for epoch in range(arguments.epochs):
        begin = time.monotonic()
        network.train()
        for images, record_of, label in parts["train"]:
            factor = min(1.0, (step + 1) / WARM_UP) * 0.5 * (1.0 + np.cos(np.pi * step / steps))
            for group, rate in zip(optimizer.param_groups, (4e-4, 2e-3)):
                group["lr"] = rate * factor
            optimizer.zero_grad()
            loss = loss_of(network(images, record_of), label)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            average.update_parameters(network)
            step += 1
        average.eval()
        right, trained = 0, time.monotonic()
        with torch.inference_mode():
            for images, record_of, label in parts["valid"]:
                right += (average(images, record_of)[2].argmax(1) == label).sum().item()
        print(f"epoch {epoch + 1}: {trained - begin:.1f} s and {time.monotonic() - trained:.1f} s, loss {loss.item():.3f}, {right}")


if __name__ == "__main__":
    main()
