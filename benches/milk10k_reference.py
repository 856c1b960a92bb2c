"""A baseline for MILK10k on a run's own split: logistic regression on frozen ImageNet features, with metadata.

    python benches/milk10k_reference.py MILK10K_DEV WEIGHTS.safetensors RUN/split.json

Needs torch, torchvision, scikit-learn, safetensors and pillow. The weights say which network: `mobilenet_v2` or
`squeezenet1_1` in the file's name. Trained on the split's training and validation cases, tested on its test cases.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

SIDE = 128
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CATEGORIES = ["sex", "skin_tone_class", "site"]


def features(network: torch.nn.Module, files: list[Path]) -> np.ndarray:
    def pixels(file: Path) -> torch.Tensor:
        image = Image.open(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        return torch.from_numpy((np.asarray(image) / 255 - MEAN) / STD).permute(2, 0, 1).float()

    batches = [files[start : start + 64] for start in range(0, len(files), 64)]
    with torch.inference_mode():
        maps = [network.features(torch.stack([pixels(file) for file in batch])) for batch in batches]
        return np.concatenate([batch.mean((2, 3)).numpy() for batch in maps])


def metadata(rows: list[dict]) -> np.ndarray:
    age = np.array([float(row["age_approx"] or "nan") for row in rows])
    columns = [np.nan_to_num(age, nan=np.nanmean(age))]
    for field in CATEGORIES:
        columns += [[row[field] == value for row in rows] for value in sorted({row[field] for row in rows})]
    return np.array(columns, dtype=float).T


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("dev", type=Path)
    arguments.add_argument("weights", type=Path)
    arguments.add_argument("split", type=Path)
    arguments = arguments.parse_args()

    lesions: dict[str, dict[str, dict]] = {}
    for row in csv.DictReader((arguments.dev / "Metadata.csv").open()):
        lesions.setdefault(row["lesion_id"], {})["clinical" if "clinical" in row["image_type"] else "dermoscopic"] = row
    truth = {row.pop("lesion_id"): row for row in csv.DictReader((arguments.dev / "GroundTruth.csv").open())}
    labels = np.array([np.argmax([float(value) for value in truth[lesion].values()]) for lesion in lesions])

    name = next(name for name in ("mobilenet_v2", "squeezenet1_1") if name in arguments.weights.name)
    network = getattr(torchvision.models, name)(weights=None)
    network.load_state_dict({key: value.float() for key, value in load_file(arguments.weights).items()})
    network.eval()
    of = {
        view: features(network, [arguments.dev / "images_200x150" / f"{case[view]['isic_id']}.jpg" for case in lesions.values()])
        for view in ("clinical", "dermoscopic")
    }
    both = np.hstack([of["clinical"], of["dermoscopic"]])
    inputs = {**of, "both": both, "both + metadata": np.hstack([both, metadata([c["dermoscopic"] for c in lesions.values()])])}

    split = json.loads(arguments.split.read_text())
    place = {lesion: row for row, lesion in enumerate(lesions)}
    train, test = ([place[lesion] for lesion in part] for part in (split["train"] + split["valid"], split["test"]))
    print("| inputs | C | balanced accuracy | macro AUC |\n|---|---|---|---|")
    for what, x in inputs.items():
        scaler = StandardScaler().fit(x[train])
        for strength in (0.01, 0.001, 0.0001):
            model = LogisticRegression(class_weight="balanced", max_iter=300, C=strength)
            model.fit(scaler.transform(x[train]), labels[train])
            p = model.predict_proba(scaler.transform(x[test]))
            bac = balanced_accuracy_score(labels[test], p.argmax(1))
            auc = np.mean([roc_auc_score(labels[test] == k, p[:, k]) for k in range(p.shape[1])])
            print(f"| {what} | {strength} | {100 * bac:.1f} | {100 * auc:.1f} |", flush=True)


if __name__ == "__main__":
    main()
