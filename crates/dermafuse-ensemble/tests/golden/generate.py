"""Expected values for crates/dermafuse-ensemble/tests/scikit_learn.rs.

The table is drawn from Lehmer's generator, so the test makes the same one and only results are stored.
Run `python generate.py` with scikit-learn 1.9 (1.11 removes `SVC(probability=True)`); it writes golden.json.
"""

import json
import platform
import warnings
from pathlib import Path

import numpy as np
import sklearn
from sklearn.ensemble import AdaBoostClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

TRAIN, TEST, FEATURES, CLASSES, SEEDS = 120, 40, 8, 4, 20


def table():
    state, numbers = 1, []
    for _ in range((TRAIN + TEST) * (FEATURES + 1)):
        state = state * 48271 % 2147483647
        numbers.append(state / 2147483647)
    numbers = np.array(numbers).reshape(TRAIN + TEST, FEATURES + 1)
    labels = np.searchsorted([0.45, 0.70, 0.88], numbers[:, FEATURES], side="right")  # unequal classes
    records = numbers[:, :FEATURES].copy()
    for row, label in enumerate(labels):
        records[row, label] += 0.5
        records[row, label + 4] += 0.25
    return records, labels


def rounded(values):
    return [float(f"{value:.10g}") for value in np.asarray(values).ravel()]


warnings.simplefilter("ignore", FutureWarning)
records, labels = table()
x, y, test = records[:TRAIN], labels[:TRAIN], records[TRAIN:]
pair = y < 2

binary = SVC(C=1, gamma="scale").fit(x[pair], y[pair])
multi = SVC(C=1, gamma="scale", decision_function_shape="ovo").fit(x, y)
weights = {0: 1, 1: 2, 2: 3, 3: 4}
# Solved to the end: libsvm keeps kernels in single precision, which at the usual tolerance may stop it elsewhere.
weighted = SVC(C=0.7, gamma=0.3, class_weight=weights, decision_function_shape="ovo", tol=1e-8).fit(x, y)
probabilities = np.array(
    [SVC(C=1, gamma="scale", probability=True, random_state=seed).fit(x, y).predict_proba(test) for seed in range(SEEDS)]
)
logistic = LogisticRegression(C=0.01, class_weight="balanced", tol=1e-12, max_iter=10000).fit(x, y)
# Version 1.6 and later fit one row of weights for two classes, which is the softmax of two rows with C doubled.
two_classes = LogisticRegression(C=2 * 0.01, class_weight="balanced", tol=1e-12, max_iter=10000).fit(x[pair], y[pair])


def boosted(x, y):
    """As in the code released with FusionM4Net. Where cuts are equally good, one is drawn; here none are."""
    tree = DecisionTreeClassifier(max_depth=2, min_samples_split=20, min_samples_leaf=5)
    drawn = [
        AdaBoostClassifier(tree, n_estimators=200, learning_rate=0.8, random_state=seed).fit(x, y).predict_proba(test)
        for seed in range(3)
    ]
    assert all(np.array_equal(drawn[0], other) for other in drawn)
    return drawn[0]


golden = {
    "generator": "crates/dermafuse-ensemble/tests/golden/generate.py",
    "python": platform.python_version(),
    "scikit_learn": sklearn.__version__,
    "numpy": np.__version__,
    "sizes": [TRAIN, TEST, FEATURES, CLASSES],
    "checksum": float(f"{records.sum() + labels.sum():.12g}"),
    "binary_decisions": rounded(binary.decision_function(test)),
    "pair_decisions": rounded(multi.decision_function(test)),
    "weighted_pair_decisions": rounded(weighted.decision_function(test)),
    "mean_probabilities": rounded(probabilities.mean(axis=0)),
    "logistic_probabilities": rounded(logistic.predict_proba(test)),
    "logistic_probabilities_of_two": rounded(two_classes.predict_proba(test)),
    "adaboost_probabilities": rounded(boosted(x, y)),
    "adaboost_probabilities_of_two": rounded(boosted(x[pair], y[pair])),
}
Path(__file__).with_name("golden.json").write_text(json.dumps(golden) + "\n")
print({c: int((y == c).sum()) for c in range(CLASSES)}, "seed to seed:", np.abs(probabilities[0] - probabilities[1]).mean())
