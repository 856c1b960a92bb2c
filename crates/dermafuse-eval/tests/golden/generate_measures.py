"""Expected values for crates/dermafuse-eval/tests/measures.rs: areas above a sensitivity, sensitivities at a specificity and the other
way round, net benefit, and the variance of areas.

Run `python generate_measures.py` with scikit-learn; it writes measures.json. The table is drawn from Lehmer's generator, so the test makes
the same one.
"""

import json
import platform
from pathlib import Path

import numpy as np
import sklearn
from sklearn.metrics import roc_auc_score, roc_curve

CASES = 300


def table():
    state, numbers = 1, []
    for _ in range(2 * CASES):
        state = state * 48271 % 2147483647
        numbers.append(state / 2147483647)
    numbers = np.array(numbers).reshape(CASES, 2)
    positive = numbers[:, 0] < 0.3
    # Two decimals, so that scores tie.
    score = np.round(0.7 * numbers[:, 1] + 0.3 * positive, 2)
    return positive, score


def isic_2024(positive, score, least=0.8):
    """The challenge's own metric: the area in terms of the flipped labels and scores, undone from scikit-learn's standardisation."""
    most = 1 - least
    scaled = roc_auc_score(~positive, -score, max_fpr=most)
    return 0.5 * most**2 + (most - 0.5 * most**2) / 0.5 * (scaled - 0.5)


def delong_variance(positive, score):
    """By definition: Mann-Whitney kernels of all pairs (DeLong et al. 1988)."""
    a, b = score[positive][:, None], score[~positive][None, :]
    kernel = (a > b) + 0.5 * (a == b)
    return kernel.mean(1).var(ddof=1) / kernel.shape[0] + kernel.mean(0).var(ddof=1) / kernel.shape[1]


positive, score = table()
fpr, tpr, _ = roc_curve(positive, score, drop_intermediate=False)
specificity = 1 - fpr


def net_benefit(threshold):
    treated = score >= threshold
    rate = threshold / (1 - threshold)
    return float(((treated & positive).sum() - (treated & ~positive).sum() * rate) / CASES)


golden = {
    "generator": "crates/dermafuse-eval/tests/golden/generate_measures.py",
    "python": platform.python_version(),
    "scikit_learn": sklearn.__version__,
    "positives": int(positive.sum()),
    "auc": roc_auc_score(positive, score),
    "auc_variance": delong_variance(positive, score),
    "partial_auc": isic_2024(positive, score),
    "sensitivity_at": [float(tpr[specificity >= aim - 1e-12].max()) for aim in (0.9, 0.95)],
    "specificity_at": [float(specificity[tpr >= aim - 1e-12].max()) for aim in (0.9, 0.95)],
    "net_benefit": [net_benefit(threshold) for threshold in (0.1, 0.25, 0.5)],
}
Path(__file__).with_name("measures.json").write_text(json.dumps(golden, indent=1) + "\n")
