"""Expected values for gradient boosting in crates/dermafuse-ensemble/tests/scikit_learn.rs.

The table is that of generate.py. Run `python generate_gradient_boosting.py` with scikit-learn 1.9; it writes gradient_boosting.json.
"""

import json
import platform
from pathlib import Path

import numpy as np
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier

TRAIN, TEST, FEATURES = 120, 40, 8


def table():
    state, numbers = 1, []
    for _ in range((TRAIN + TEST) * (FEATURES + 1)):
        state = state * 48271 % 2147483647
        numbers.append(state / 2147483647)
    numbers = np.array(numbers).reshape(TRAIN + TEST, FEATURES + 1)
    labels = np.searchsorted([0.45, 0.70, 0.88], numbers[:, FEATURES], side="right")
    records = numbers[:, :FEATURES].copy()
    for row, label in enumerate(labels):
        records[row, label] += 0.5
        records[row, label + 4] += 0.25
    return records, labels


def rounded(values):
    return [float(f"{value:.8g}") for value in np.asarray(values).ravel()]


records, labels = table()
x, y, test = records[:TRAIN], labels[:TRAIN], records[TRAIN:]
pair = y < 2
with_missing = records.copy()
with_missing[::5, 2] = np.nan
with_missing[::7, 0] = np.nan


def fitted(x, y, test, bins=255, balanced=False):
    model = HistGradientBoostingClassifier(
        max_iter=30, learning_rate=0.1, max_leaf_nodes=6, min_samples_leaf=8, l2_regularization=0.5, max_bins=bins,
        early_stopping=False, class_weight="balanced" if balanced else None,
    )
    return rounded(model.fit(x, y).predict_proba(test))


golden = {
    "generator": "crates/dermafuse-ensemble/tests/golden/generate_gradient_boosting.py",
    "python": platform.python_version(),
    "scikit_learn": sklearn.__version__,
    "plain": fitted(x, y, test),
    "balanced": fitted(x, y, test, balanced=True),
    "of_two": fitted(x[pair], y[pair], test),
    "few_bins": fitted(x, y, test, bins=16),
    "missing": fitted(with_missing[:TRAIN], y, with_missing[TRAIN:]),
    "missing_unseen": fitted(x, y, with_missing[TRAIN:]),
}
Path(__file__).with_name("gradient_boosting.json").write_text(json.dumps(golden) + "\n")
