"""Intervals of means keep their level where videos are few and of unequal sizes."""

import math

import numpy as np
import pytest

from egodtm_robot.core.clustered_means import clustered_interval, clustered_mean

RIGHT = (0.0, 1.0)


def regression(values, clusters, strata):
    """CR2 of the mean of strata's coefficients, with whole matrices: variance and freedom."""
    names = list(dict.fromkeys(strata))
    design = np.array([[s == name for name in names] for s in strata], float)
    bread = np.linalg.inv(design.T @ design)
    hat = design @ bread @ design.T
    rest = np.eye(len(values)) - hat
    residuals = rest @ values
    variance, rows = 0.0, []
    for name in dict.fromkeys(clusters):
        own = np.array([c == name for c in clusters])
        roots, vectors = np.linalg.eigh(rest[np.ix_(own, own)])
        adjusted = vectors @ np.diag(roots**-0.5) @ vectors.T
        weights = adjusted @ design[own] @ bread @ np.full(len(names), 1 / len(names))
        variance += float(weights @ residuals[own]) ** 2
        rows.append(rest[:, own] @ weights)
    gram = np.array(rows) @ np.array(rows).T
    return variance, np.trace(gram) ** 2 / (gram**2).sum()


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_variance_and_freedom_are_those_of_the_regression_on_strata(parts):
    generator = np.random.default_rng(parts)
    clusters = [f"video {n}" for n in generator.integers(0, 5, 60)]
    strata = [int(n) for n in generator.integers(0, parts, 60)]
    values = generator.normal(size=60)
    found = clustered_mean(values, clusters, strata)
    variance, freedom = regression(values, clusters, strata)
    assert found.variance == pytest.approx(variance, rel=1e-10)
    assert found.degrees_of_freedom == pytest.approx(min(freedom, 4), rel=1e-10)
    means = [values[np.array(strata) == n].mean() for n in range(parts)]
    assert found.value == pytest.approx(np.mean(means))


def share_of_studies(generator, clusters, skew, rate, spread, studies=400, rows=200):
    held = 0
    for _ in range(studies):
        weights = generator.lognormal(0, skew, clusters)
        sizes = np.maximum(1, np.round(rows * weights / weights.sum())).astype(int)
        video = np.repeat(np.arange(clusters), sizes)
        # A beta distribution of this mean and deviation.
        total = rate * (1 - rate) / spread**2 - 1
        chance = generator.beta(rate * total, (1 - rate) * total, clusters)[video]
        right = generator.random(len(video)) < chance
        low, high = clustered_interval(clustered_mean(right, [str(v) for v in video]), RIGHT)
        assert 0 <= low <= right.mean() <= high <= 1
        held += low <= rate <= high
    return held / studies


@pytest.mark.parametrize(("clusters", "skew"), [(4, 0.0), (8, 0.7), (16, 0.7)])
@pytest.mark.parametrize("rate", [0.5, 0.9])
def test_intervals_of_shares_hold_the_truth_as_often_as_they_say(clusters, skew, rate):
    generator = np.random.default_rng([clusters, int(10 * rate)])
    held = share_of_studies(generator, clusters, skew, rate, spread=0.1)
    # Three simulation errors of 95 % below; a bootstrap of four videos holds it in 79 to 82 %.
    assert held > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 400)


def test_classes_that_videos_share_unevenly_are_no_chance():
    # Every easy clip is right and every hard one wrong, whatever its video.
    strata = ["easy"] * 40 + ["hard"] * 8
    videos = [str(n % 8) for n in range(40)] + [str(n % 3) for n in range(8)]
    right = np.array([1.0] * 40 + [0.0] * 8)
    found = clustered_mean(right, videos, strata)
    assert (found.value, found.variance) == (0.5, pytest.approx(0, abs=1e-20))
    weights = np.array([48 / (2 * strata.count(s)) for s in strata])
    assert clustered_mean(right * weights, videos).variance > 0.001


def test_a_class_of_one_video_is_not_taken_for_sure():
    strata = ["a"] * 20 + ["b"] * 5
    right = np.array([1.0] * 12 + [0.0] * 8 + [0.0] * 5)
    videos = [str(n % 4) for n in range(20)]
    alone = clustered_mean(right, [*videos, *["alone"] * 5], strata)
    spread = clustered_mean(right, [*videos, "0", "1", "2", "3", "0"], strata)
    # Its distance from the mean of both classes is 0.3, and it is half of the mean.
    assert alone.variance - spread.variance == pytest.approx(0.15**2, rel=0.1)


def test_classes_of_one_clip_each_have_an_interval_of_few_degrees_of_freedom():
    found = clustered_mean(np.array([0.0, 1.0, 0.0]), ["a", "b", "c"], ["x", "y", "z"])
    assert (found.degrees_of_freedom, found.clusters) == (1, 3)
    low, high = clustered_interval(found, RIGHT)
    assert 0 <= low < 0.1
    assert 0.9 < high <= 1


def test_errors_without_bounds_have_students_interval():
    values = np.random.default_rng(1).normal(0.3, 1, (8, 25))
    videos = [str(n) for n in np.repeat(np.arange(8), 25)]
    found = clustered_interval(clustered_mean(values.ravel(), videos))
    means = values.mean(axis=1)
    half = 2.364624 * means.std(ddof=1) / math.sqrt(8)  # t of 7 degrees of freedom
    assert found == pytest.approx((means.mean() - half, means.mean() + half), rel=1e-6)


def test_what_nothing_can_be_said_of():
    alone = clustered_mean(np.ones(3), ["a"] * 3)
    assert (alone.value, alone.clusters) == (1, 1)
    assert np.isnan(clustered_interval(alone, RIGHT)).all()
    # All right is not sure of everything.
    sure = clustered_interval(clustered_mean(np.ones(40), [str(n % 4) for n in range(40)]), RIGHT)
    assert 0.4 < sure.low < 0.9
    assert sure.high == 1


def test_rows_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match="3 clusters"):
        clustered_mean(np.ones(2), ["a", "b", "c"])
    with pytest.raises(ValueError, match="1 strata"):
        clustered_mean(np.ones(2), ["a", "b"], ["x"])
    with pytest.raises(ValueError, match="shape"):
        clustered_mean(np.ones(0), [])
    with pytest.raises(ValueError, match="between 0 and 1"):
        clustered_interval(clustered_mean(np.ones(2), ["a", "b"]), RIGHT, confidence=95)
