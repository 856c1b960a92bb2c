"""Writes tsne.json: neighbourhoods of t-SNE from their definition, and how well scikit-learn's exact t-SNE keeps them.
Run it in this folder."""

import json

import numpy as np
import scipy
import sklearn
from scipy.optimize import brentq
from scipy.spatial.distance import pdist, squareform
from sklearn.manifold import TSNE
from sklearn.manifold._t_sne import _joint_probabilities

SEED = 20240609
PERPLEXITY = 8.0

rng = np.random.default_rng(SEED)


def weights(distances, log_precision):
    return np.exp(-np.exp(log_precision) * (distances - distances.min()))


def entropy(distances, log_precision):
    p = weights(distances, log_precision)
    p = p[p > 0] / p.sum()
    return -(p * np.log(p)).sum()


def joint(features):
    distances = squareform(pdist(features, "sqeuclidean"))
    n = len(features)
    p = np.zeros((n, n))
    for i in range(n):
        others = np.arange(n) != i
        of_others = distances[i, others]
        root = brentq(lambda log: entropy(of_others, log) - np.log(PERPLEXITY), -20, 20, xtol=1e-14)
        p[i, others] = weights(of_others, root) / weights(of_others, root).sum()
    return (p + p.T) / (2 * n)


features = np.round(rng.normal(0, 1, (36, 4)) + 2.5 * rng.integers(0, 3, (36, 1)), 2)
affinities = joint(features)
theirs = squareform(_joint_probabilities(squareform(pdist(features, "sqeuclidean")).astype(np.float32), PERPLEXITY, 0))
assert np.abs(affinities - theirs).max() < 1e-5

settings = dict(perplexity=PERPLEXITY, early_exaggeration=12, learning_rate=200, max_iter=1000, init="random")
divergences = [TSNE(**settings, method="exact", random_state=seed).fit(features).kl_divergence_ for seed in range(5)]

with open("tsne.json", "w") as file:
    written = {
        "versions": {"scikit-learn": sklearn.__version__, "scipy": scipy.__version__, "numpy": np.__version__},
        "seed": SEED,
        "perplexity": PERPLEXITY,
        "features": features.tolist(),
        "above_the_diagonal": affinities[np.triu_indices(len(features), 1)].tolist(),
        "divergences_of_scikit_learn": [float(value) for value in divergences],
    }
    json.dump(written, file, separators=(",", ":"))
    file.write("\n")
