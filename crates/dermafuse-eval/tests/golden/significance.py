"""Writes significance.json: tests of significance by SciPy and statsmodels, or from their definition where these have
none. Run it in this folder."""

import json

import mpmath
import numpy as np
import scipy
import statsmodels
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

SEED = 20240608

rng = np.random.default_rng(SEED)


def friedman_of(name, scores):
    result = stats.friedmanchisquare(*scores.T)
    ranks = np.mean([stats.rankdata(-row) for row in scores], axis=0)
    return {
        "name": name,
        "scores": scores.tolist(),
        "mean_ranks": ranks.tolist(),
        "statistic": float(result.statistic),
        "p": float(result.pvalue),
    }


def friedman():
    yield friedman_of("five methods", np.round(rng.normal(70, 4, (6, 5)), 2))
    yield friedman_of("ties", rng.integers(0, 4, (9, 4)).astype(float))
    # The field's tables have 8 methods on 25 blocks and p-values of 1e-12 to 2e-24.
    for step in [0.25, 0.5, 1.0]:
        scores = rng.normal(0, 1, (25, 8)) + step * np.arange(8)
        yield friedman_of(f"eight methods {step} apart", np.round(scores, 1))
    yield friedman_of("always the same order", np.round(rng.normal(0, 0.1, (60, 9)) + np.arange(9), 2))


def wilcoxon_by_counting(d):
    """SciPy before 1.9 in exact mode: ranks with ties, the statistic rounded down, the distribution without ties."""
    ranks = stats.rankdata(np.abs(d))
    w = min(ranks[d > 0].sum(), ranks[d < 0].sum())
    sums = [sum(rank for bit, rank in enumerate(range(1, len(d) + 1)) if mask >> bit & 1) for mask in range(2 ** len(d))]
    return float(w), min(1.0, 2 * sum(total <= int(w) for total in sums) / 2 ** len(d))


def wilcoxon():
    def entry(name, first, second, statistic, p, exact):
        pairs = {"first": first.tolist(), "second": second.tolist()}
        return {"name": name, **pairs, "statistic": float(statistic), "p": float(p), "exact": exact}

    for n in [5, 12, 25]:
        first, second = rng.normal(0, 1, n), rng.normal(0.5, 1, n)
        result = stats.wilcoxon(first, second, method="exact")
        yield entry(f"{n} pairs", first, second, result.statistic, result.pvalue, True)
    first, second = rng.integers(0, 9, 11).astype(float), np.full(11, 2.5)
    yield entry("ties", first, second, *wilcoxon_by_counting(first - second), True)
    for name, first, second in [
        ("26 pairs", rng.normal(0, 1, 26), rng.normal(0.5, 1, 26)),
        ("60 pairs with ties", rng.integers(0, 9, 60).astype(float), np.full(60, 3.5)),
        ("zeros and ties", rng.integers(0, 6, 20).astype(float), np.full(20, 2.0)),
    ]:
        result = stats.wilcoxon(first, second, zero_method="wilcox", correction=False, method="asymptotic")
        yield entry(name, first, second, result.statistic, result.pvalue, False)


def holm():
    for p in [rng.uniform(0, 1, 6) ** 3, np.round(rng.uniform(0, 0.2, 10), 2), np.array([0.04]), np.array([1e-8] * 3)]:
        yield {"p": p.tolist(), "adjusted": multipletests(p, method="holm")[1].tolist()}


def studentized_range():
    for k in [2, 3, 5, 8, 13, 30]:
        for level in [0.1, 0.05, 0.01, 0.001]:
            yield {"k": k, "level": level, "q": float(stats.studentized_range.isf(level, k, np.inf))}


def range_survival():
    """By quadrature with 40 digits: SciPy has one minus the distribution function, which ends at 1e-16."""
    mpmath.mp.dps = 40
    for k in [2, 3, 8, 20]:
        for q in [0.1, 1.0, 4.0, 9.0, 20.0]:
            def density(z):
                return k * mpmath.npdf(z) * (mpmath.ncdf(z) - mpmath.ncdf(z - q)) ** (k - 1)

            p = 1 - mpmath.quad(density, [-14, -6, -3, -1, 0, 1, 3, 6, 9, 14, 20, 34])
            if p > 1e-30:
                yield {"k": k, "q": q, "p": float(p)}


def nemenyi():
    """p-values from the distribution of the range, integrated over the largest of k normal numbers."""
    for k, n in [(4, 14), (8, 25)]:
        ranks = np.mean([stats.rankdata(rng.normal(0, 1, k) + 0.5 * np.arange(k)) for _ in range(n)], axis=0)
        deviation = np.sqrt(k * (k + 1) / (6 * n))
        p = [[float(stats.studentized_range.sf(abs(a - b) / deviation * np.sqrt(2), k, np.inf)) for b in ranks] for a in ranks]
        q = stats.studentized_range.isf(0.05, k, np.inf) / np.sqrt(2)
        yield {"mean_ranks": ranks.tolist(), "blocks": n, "critical_difference": float(q * deviation), "p": p}


def wins(positives, negatives):
    return np.array([[(x > y) + 0.5 * (x == y) for y in negatives] for x in positives])


def delong_of(first, second, positive):
    """From the definition of DeLong et al. 1988: all pairs of a positive and a negative."""
    kernels = [wins(score[positive], score[~positive]) for score in (first, second)]
    areas = [kernel.mean() for kernel in kernels]
    m, n = kernels[0].shape
    s10 = np.cov([kernel.mean(axis=1) for kernel in kernels])
    s01 = np.cov([kernel.mean(axis=0) for kernel in kernels])
    s = s10 / m + s01 / n
    z = (areas[0] - areas[1]) / np.sqrt(s[0, 0] + s[1, 1] - 2 * s[0, 1])
    intervals = [
        [max(0.0, area - stats.norm.ppf(0.975) * np.sqrt(s[i, i])), min(1.0, area + stats.norm.ppf(0.975) * np.sqrt(s[i, i]))]
        for i, area in enumerate(areas)
    ]
    return {
        "first": first.tolist(),
        "second": second.tolist(),
        "positive": positive.tolist(),
        "aucs": [float(area) for area in areas],
        "variances": [float(s[0, 0]), float(s[1, 1])],
        "covariance": float(s[0, 1]),
        "intervals": [[float(end) for end in interval] for interval in intervals],
        "z": float(z),
        "p": float(2 * stats.norm.sf(abs(z))),
    }


def delong():
    for n, decimals in [(40, 4), (60, 1)]:
        positive = rng.uniform(0, 1, n) < 0.35
        shared = rng.normal(0, 1, n) + 1.2 * positive
        first = np.round(shared + rng.normal(0, 0.5, n), decimals)
        second = np.round(shared + rng.normal(0, 1.5, n), decimals)
        yield delong_of(first, second, positive)


def mcnemar_tests():
    for first_only, second_only in [(0, 6), (3, 9), (12, 12), (10, 13), (11, 30), (200, 140), (5, 95)]:
        table = [[17, first_only], [second_only, 4]]
        for exact in [True, False]:
            result = mcnemar(table, exact=exact, correction=True)
            counts = {"first_only": first_only, "second_only": second_only, "exact": exact}
            yield {**counts, "statistic": float(result.statistic), "p": float(result.pvalue)}


if __name__ == "__main__":
    versions = {"scipy": scipy.__version__, "statsmodels": statsmodels.__version__, "numpy": np.__version__}
    versions["mpmath"] = mpmath.__version__
    groups = {
        "friedman": friedman,
        "wilcoxon": wilcoxon,
        "holm": holm,
        "studentized_range": studentized_range,
        "range_survival": range_survival,
        "nemenyi": nemenyi,
        "delong": delong,
        "mcnemar": mcnemar_tests,
    }
    with open("significance.json", "w") as file:
        written = {name: list(group()) for name, group in groups.items()}
        json.dump({"versions": versions, "seed": SEED, **written}, file, separators=(",", ":"))
        file.write("\n")
