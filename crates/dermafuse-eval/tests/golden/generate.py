"""Writes golden.json: predictions and what scikit-learn says of them. Run it in this folder."""

import json
import warnings

import numpy as np
import sklearn
from sklearn import metrics

SEED = 20240607
BINS = 15

warnings.simplefilter("ignore")
rng = np.random.default_rng(SEED)


def probabilities(n, k, parts, sharp=1.0):
    """Rows that sum to 1 and are multiples of 1/parts: short to store, and tied when parts is small."""
    return np.array([rng.multinomial(parts, rng.dirichlet(np.full(k, sharp))) / parts for _ in range(n)])


def number(value):
    return None if value is None or np.isnan(value) else float(value)


def calibration_error(y, p):
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    bins = np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1)
    gaps = [abs(confidence[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(sum(gaps))


def expected(labels, p):
    kept = [i for i, label in enumerate(labels) if label is not None]
    y, p = np.array([labels[i] for i in kept]), p[kept]
    k, predicted = p.shape[1], p.argmax(axis=1)
    classes = []
    for c in range(k):
        is_c, said_c = y == c, predicted == c
        one = dict(zero_division=np.nan)
        classes.append({
            "support": int(is_c.sum()),
            "auc": number(metrics.roc_auc_score(is_c, p[:, c])) if 0 < is_c.sum() < len(y) else None,
            "sensitivity": number(metrics.recall_score(is_c, said_c, **one)),
            "specificity": number(metrics.recall_score(is_c, said_c, pos_label=False, **one)),
            "precision": number(metrics.precision_score(is_c, said_c, **one)),
            "negative_predictive_value": number(metrics.precision_score(is_c, said_c, pos_label=False, **one)),
            "f1": number(metrics.f1_score(is_c, said_c, **one)),
        })
    aucs = [c["auc"] for c in classes if c["auc"] is not None]
    macro_auc = float(np.mean(aucs)) if aucs else None
    if len(aucs) == k > 2:
        assert abs(macro_auc - metrics.roc_auc_score(y, p, multi_class="ovr")) < 1e-12
    every = list(range(k))
    return {
        "n": len(y),
        "accuracy": number(metrics.accuracy_score(y, predicted)),
        "balanced_accuracy": number(metrics.balanced_accuracy_score(y, predicted)),
        "macro_f1": number(metrics.f1_score(y, predicted, average="macro")),
        "macro_f1_zero_undefined": number(metrics.f1_score(y, predicted, labels=every, average="macro", zero_division=0)),
        "weighted_f1": number(metrics.f1_score(y, predicted, average="weighted")),
        "macro_auc": macro_auc,
        "log_loss": number(metrics.log_loss(y, p, labels=every)),
        "brier": number(metrics.brier_score_loss(y, p, labels=every, scale_by_half=False)),
        "calibration_error": calibration_error(y, p),
        "classes": classes,
        "confusion": metrics.confusion_matrix(y, predicted, labels=every).tolist(),
    }


def case(name, labels, p):
    labels = [None if label is None else int(label) for label in labels]
    return {"name": name, "labels": labels, "probabilities": p.tolist(), "expected": expected(labels, p)}


def cases():
    p = probabilities(60, 5, 100_000)
    likely = [rng.choice(5, p=row) for row in p]
    yield case("five classes", likely, p)
    yield case("some not annotated", [None if i % 3 == 0 else y for i, y in enumerate(likely)], p)
    p = probabilities(50, 2, 100_000)
    yield case("two classes", [rng.choice(2, p=row) for row in p], p)
    p = probabilities(60, 3, 5)
    yield case("ties and certain errors", rng.integers(0, 3, 60), p)
    p = probabilities(40, 4, 10_000)
    yield case("a class absent from the truth", rng.integers(0, 3, 40), p)
    p = probabilities(40, 3, 10_000)
    p[:, [1, 2]] = p[:, [1, 2]] / 2
    p[:, 0] = 1 - p[:, 1] - p[:, 2]
    yield case("a class never predicted", rng.integers(0, 3, 40), p)
    p = probabilities(30, 4, 10_000)
    p[:, 3] = 0
    p = np.round(p / p.sum(axis=1, keepdims=True), 6)
    p[:, 0] = 1 - p[:, 1] - p[:, 2]
    yield case("a class neither true nor predicted", rng.integers(0, 3, 30), p)
    p = probabilities(20, 3, 10_000)
    yield case("one class only", np.full(20, 1), p)
    yield case("one case", [2], probabilities(1, 3, 100))


with open("golden.json", "w") as file:
    versions = {"scikit-learn": sklearn.__version__, "numpy": np.__version__}
    json.dump({"versions": versions, "seed": SEED, "cases": list(cases())}, file, separators=(",", ":"))
    file.write("\n")
