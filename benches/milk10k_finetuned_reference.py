"""The training of the recipe `milk10k` in PyTorch, on a run's own split: two EfficientNet-Lite0, the record, a classifier for each image
and one for everything.

    python benches/milk10k_finetuned_reference.py MILK10K_DEV efficientnet-lite0-57934424.pth RUN/split.json --seed 0
    python benches/milk10k_finetuned_reference.py MILK10K_DEV efficientnet-lite0-57934424.pth RUN/folds.csv --fold 1 --seed 0

Needs torch, scikit-learn, pillow and efficientnet_lite_pytorch. Of a run with folds, `--fold K` tests fold K, and the next one validates, as
there. Rates, loss, moving average, batches, epochs and four views are those of the recipe, smoothed labels are spread by frequency as there;
augmentation has the same ranges and draws its own numbers. The moving average of two epochs answers: of the last, and of the one with the
best balanced accuracy on the validation cases (rows `best …`), which is what the recipe takes. `--bf16` computes forward and backward passes
of the network in bfloat16; without it all is in 32 bits, as in the recipe.
"""

import argparse
import copy
import csv
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score
from torch import nn

VIEWS = ("clinical", "dermoscopic")
CATEGORIES = ("sex", "skin_tone_class", "site")
FEATURES, BATCH, WARM_UP, DECAY, SMOOTHING = 1280, 32, 100, 0.995, 0.05


def parts_of(file: Path, fold: int | None) -> dict[str, list[str]]:
    """The cases that train, validate and test: those of `split.json`, or of one round of `folds.csv`."""
    if file.suffix == ".json":
        return json.loads(file.read_text())
    rows = list(csv.DictReader(file.open()))
    folds = sorted({int(row["fold"]) for row in rows})
    assert fold in folds, f"--fold must be one of {folds}"
    part = {fold: "test", folds[(folds.index(fold) + 1) % len(folds)]: "valid"}
    parts: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for row in rows:
        parts[part.get(int(row["fold"]), "train")].append(row["id"])
    return parts


class Cases:
    """All lesions: pixels `[N, 3, 150, 200]` of each view, the encoded record `[N, M]`, labels `[N]`."""

    def __init__(self, dev: Path, split: dict):
        rows: dict[str, dict[str, dict]] = {}
        for row in csv.DictReader((dev / "Metadata.csv").open()):
            rows.setdefault(row["lesion_id"], {})["clinical" if "clinical" in row["image_type"] else "dermoscopic"] = row
        truth = {row.pop("lesion_id"): row for row in csv.DictReader((dev / "GroundTruth.csv").open())}
        place = {lesion: at for at, lesion in enumerate(rows)}
        self.train, self.valid, self.test = (np.array([place[i] for i in split[part]]) for part in ("train", "valid", "test"))
        self.labels = np.array([np.argmax([float(value) for value in truth[lesion].values()]) for lesion in rows])
        self.names = list(next(iter(truth.values())))
        self.classes = len(self.names)
        self.ids = list(rows)
        records = [row["clinical"] for row in rows.values()]
        age = np.array([float(record["age_approx"] or "nan") for record in records])
        mean, deviation = np.nanmean(age[self.train]), np.nanstd(age[self.train])
        columns = [(np.nan_to_num(age, nan=mean) - mean) / deviation]
        for field in CATEGORIES:
            columns += [[record[field] == value for record in records] for value in sorted({r[field] for r in records})]
        self.record = torch.tensor(np.array(columns, dtype=np.float32).T)

        def pixels(view: str) -> torch.Tensor:
            files = [dev / "images_200x150" / f"{row[view]['isic_id']}.jpg" for row in rows.values()]
            arrays = [np.asarray(Image.open(file).convert("RGB").resize((200, 150))) for file in files]
            return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()

        self.images = {view: pixels(view) for view in VIEWS}


class Network(nn.Module):
    """Logits of `clinical`, `dermoscopic` and `fusion`, the last one also of the record."""

    def __init__(self, weights: Path, columns: int, classes: int):
        super().__init__()
        tower = lambda: EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(weights))
        self.towers = nn.ModuleDict({view: tower() for view in VIEWS})
        self.record = nn.Sequential(nn.Linear(columns, 64), nn.ReLU())
        widths = {"clinical": FEATURES, "dermoscopic": FEATURES, "fusion": 2 * FEATURES + 64}
        self.heads = nn.ModuleDict({name: nn.Linear(width, classes) for name, width in widths.items()})
        self.dropout = nn.Dropout(0.3)

    def forward(self, images: dict[str, torch.Tensor], record: torch.Tensor) -> dict[str, torch.Tensor]:
        seen = {view: self.towers[view].extract_features(images[view]).mean((2, 3)) for view in VIEWS}  # [B, D]
        seen["fusion"] = torch.cat([seen["clinical"], seen["dermoscopic"], self.record(record)], 1)
        return {name: head(self.dropout(seen[name])) for name, head in self.heads.items()}


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels.float() - 127) / 128


def plain(pixels: torch.Tensor, side: int, view: int) -> torch.Tensor:
    """One of four views: as it is, mirrored, upside down, both."""
    x = F.interpolate(normalised(pixels), (side, side), mode="bilinear", antialias=True, align_corners=False)
    x = x.flip(3) if view & 1 else x
    x = x.flip(2) if view & 2 else x
    return x.contiguous(memory_format=torch.channels_last)


def augmented(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """Any rotation, mirrored or not, another scale, place, light, contrast and tint."""
    count, uniform = len(pixels), lambda *shape: torch.rand(*shape) - 0.5
    angle, scale = torch.rand(count) * 2 * np.pi, 0.6 + 0.4 * torch.rand(count)
    mirror = (torch.rand(count) < 0.5).float() * 2 - 1
    cos, sin = scale * angle.cos(), scale * angle.sin()
    shift = 0.3 * uniform(count, 2)
    geometry = torch.stack([cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]], 1).view(count, 2, 3)
    grid = F.affine_grid(geometry, (count, 3, side, side), align_corners=False)
    x = F.grid_sample(normalised(pixels), grid, padding_mode="reflection", align_corners=False)
    mean = x.mean((2, 3), keepdim=True)
    x = (x - mean) * (1 + 0.4 * uniform(count, 1, 1, 1)) + mean + 0.2 * uniform(count, 1, 1, 1) + 0.1 * uniform(count, 3, 1, 1)
    return x.contiguous(memory_format=torch.channels_last)


def scores(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    said, present = probabilities.argmax(1), np.unique(labels)
    areas = [roc_auc_score(labels == k, probabilities[:, k]) for k in present]
    return {
        "accuracy": accuracy_score(labels, said),
        "balanced accuracy": balanced_accuracy_score(labels, said),
        "macro F1": f1_score(labels, said, average="macro", labels=present),
        "macro AUC": float(np.mean(areas)),
    }


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("dev", type=Path)
    arguments.add_argument("weights", type=Path)
    arguments.add_argument("split", type=Path, help="split.json or folds.csv of a run")
    arguments.add_argument("--fold", type=int, help="with folds.csv: the fold that tests")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--epochs", type=int, default=12)
    arguments.add_argument("--steps", type=int, help="stop each epoch after so many batches, for a trial")
    arguments.add_argument("--side", type=int, default=160)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--bf16", action="store_true")
    arguments.add_argument("--out", type=Path, help="a CSV file for the probabilities of the test cases")
    arguments = arguments.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    order, side = np.random.default_rng(arguments.seed), arguments.side

    cases = Cases(arguments.dev, parts_of(arguments.split, arguments.fold))
    counts = np.bincount(cases.labels[cases.train], minlength=cases.classes)
    prior = torch.tensor(counts / counts.sum()).float().clamp_min(1e-4)
    network = Network(arguments.weights, cases.record.shape[1], cases.classes).to(memory_format=torch.channels_last)
    average = copy.deepcopy(network).eval()
    low = lambda: torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16)
    parts = {True: [], False: []}
    for name, parameter in network.named_parameters():
        parts[name.startswith("towers.")].append(parameter)
    groups = [{"params": parts[True], "lr": 4e-4}, {"params": parts[False], "lr": 2e-3}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.02)
    total = arguments.epochs * (len(cases.train) // BATCH)
    rate = lambda step: min(1, (step + 1) / WARM_UP) * 0.5 * (1 + np.cos(np.pi * step / total))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)

    @torch.inference_mode()
    def predict(average: nn.Module, rows: np.ndarray, views: int) -> dict[str, np.ndarray]:
        said: dict[str, list[torch.Tensor]] = {name: [] for name in average.heads}
        for start in range(0, len(rows), 64):
            batch, mean = torch.as_tensor(rows[start : start + 64]), {}
            for view in range(views):
                with low():
                    logits = average({name: plain(cases.images[name][batch], side, view) for name in VIEWS}, cases.record[batch])
                for name, of in logits.items():
                    mean[name] = mean.get(name, 0) + of.float().softmax(1) / views
            for name, of in mean.items():
                said[name].append(of)
        return {name: torch.cat(of).numpy() for name, of in said.items()}

    step, started, best, best_score = 0, time.time(), None, -1.0
    for epoch in range(arguments.epochs):
        network.train()
        rows, losses = order.permutation(cases.train), []
        for start in range(0, len(rows) - BATCH + 1, BATCH):
            if arguments.steps and len(losses) == arguments.steps:
                break
            batch = torch.as_tensor(rows[start : start + BATCH])
            truth = torch.as_tensor(cases.labels[batch.numpy()])
            with low():
                logits = network({name: augmented(cases.images[name][batch], side) for name in VIEWS}, cases.record[batch])
            targets = (1 - SMOOTHING) * F.one_hot(truth, cases.classes) + SMOOTHING * prior
            entropy = lambda name: F.cross_entropy(logits[name].float() + prior.log(), targets)
            loss = entropy("fusion") + 0.5 * entropy("clinical") + 0.5 * entropy("dermoscopic")
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            step += 1
            keep = min(DECAY, (1 + step) / (10 + step))
            with torch.no_grad():
                for kept, new in zip(average.state_dict().values(), network.state_dict().values()):
                    kept.lerp_(new, 1 - keep) if kept.dtype.is_floating_point else kept.copy_(new)
        seconds = time.time() - started
        valid = scores(cases.labels[cases.valid], predict(average, cases.valid, 1)["fusion"])
        if valid["balanced accuracy"] > best_score:
            best, best_score = copy.deepcopy(average), valid["balanced accuracy"]
        text = ", ".join(f"{name} {100 * value:.1f}" for name, value in valid.items())
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.4f}, {seconds:.0f} s of training and validation; validation: {text}", flush=True)

    labels, rows = cases.labels[cases.test], {}
    for which, of in (("", average), ("best ", best)):
        said = predict(of, cases.test, 4)
        rows |= {f"{which}{name}": of for name, of in said.items()}
        for power in (0.25, 0.5, 0.75, 1.0):
            rows[f"{which}fusion × prior^{power}"] = said["fusion"] * prior.numpy() ** power
    print("\n| row | accuracy | balanced accuracy | macro F1 | macro AUC |\n|---|---|---|---|---|")
    for name, of in rows.items():
        values = " | ".join(f"{100 * value:.1f}" for value in scores(labels, of / of.sum(1, keepdims=True)).values())
        print(f"| {name} | {values} |")
    if arguments.out:
        with arguments.out.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["row", "case", "truth", *cases.names])
            for name, of in rows.items():
                for case, probabilities in zip(cases.test, of / of.sum(1, keepdims=True)):
                    table.writerow([name, cases.ids[case], cases.names[cases.labels[case]], *(f"{value:.6g}" for value in probabilities)])


if __name__ == "__main__":
    main()
