"""Paired differences keep their level where videos are few and of unequal sizes."""

import math

import numpy as np
import pytest

from egodtm_robot.core.paired_means import paired_difference


def study(generator, clusters, skew, spread, rows=200):
    """Two equal models' answers to questions about videos, and the video of each question."""
    weights = generator.lognormal(0, skew, clusters)
    sizes = np.maximum(1, np.round(rows * weights / weights.sum())).astype(int)
    names = np.repeat(np.arange(clusters), sizes)
    shift = generator.normal(0, spread, clusters)[names] / 2
    draws = generator.random(len(names))
    # A third of the rows is answered differently, by the one or the other.
    first = draws < np.clip(0.3 + shift, 0, 1)
    second = (draws >= 0.15) & (draws < np.clip(0.45 - shift, 0, 1))
    return first, second, [str(name) for name in names]


@pytest.mark.parametrize("spread", [0.0, 0.2])
@pytest.mark.parametrize(("clusters", "skew"), [(5, 0.0), (6, 1.2), (20, 1.2)])
def test_intervals_hold_no_difference_as_often_as_they_say(clusters, skew, spread):
    generator = np.random.default_rng([clusters, int(10 * skew), int(10 * spread)])
    held, studies = 0, 400
    for _ in range(studies):
        low, high = paired_difference(*study(generator, clusters, skew, spread)).interval
        held += low <= 0 <= high
    # Three simulation errors of 95 % below, and not far above.
    assert 0.95 - 3 * math.sqrt(0.95 * 0.05 / studies) < held / studies <= 1.0


def test_rows_of_one_video_are_no_independent_evidence():
    generator = np.random.default_rng(0)
    shift = np.repeat(generator.normal(0, 1, 10), 30)
    first, second = shift + generator.normal(0, 0.1, 300), np.zeros(300)
    videos = [str(number) for number in np.repeat(np.arange(10), 30)]
    by_video = paired_difference(first, second, videos)
    by_row = paired_difference(first, second, [str(number) for number in range(300)])
    assert by_video.value == by_row.value == pytest.approx(shift.mean(), abs=0.02)
    widths = [one.interval.high - one.interval.low for one in (by_video, by_row)]
    assert widths[0] > 4 * widths[1]
    assert (by_video.clusters, by_video.rows, by_video.degrees_of_freedom) == (
        10, 300, pytest.approx(9),
    )  # fmt: skip


def test_equal_videos_give_students_t_of_their_means():
    generator = np.random.default_rng(1)
    differences = generator.normal(0.3, 1, (8, 25))
    videos = [str(number) for number in np.repeat(np.arange(8), 25)]
    found = paired_difference(differences.ravel(), np.zeros(200), videos)
    means = differences.mean(axis=1)
    variance = means.var(ddof=1) / 8 + 2 * (np.abs(differences).max() / 200) ** 2
    half = 2.364624 * math.sqrt(variance)  # t of 7 degrees of freedom
    assert found.interval == pytest.approx((means.mean() - half, means.mean() + half), rel=1e-6)
    # The interval ends at 0 where the test decides, up to what the largest difference adds.
    edge = paired_difference(differences.ravel(), np.full(200, found.interval.low), videos)
    assert edge.p_value == pytest.approx(0.05, rel=0.1)


def test_one_large_video_leaves_few_degrees_of_freedom():
    videos = ["large"] * 90 + [f"small {number}" for number in range(10)]
    found = paired_difference(np.arange(100.0) % 2, np.zeros(100), videos)
    assert 1 <= found.degrees_of_freedom < 1.5


def test_what_nothing_can_be_said_of():
    same = paired_difference(np.ones(4), np.ones(4), list("aabb"))
    assert (same.value, same.p_value) == (0, 1)
    assert math.isnan(same.interval.low)
    alone = paired_difference(np.ones(3), np.zeros(3), ["a"] * 3)
    assert alone.value == 1
    assert math.isnan(alone.p_value)
    assert math.isnan(alone.interval.high)
    # Rows that all differ alike are still not sure of everything.
    alike = paired_difference(np.ones(20), np.zeros(20), [str(n) for n in range(20)])
    assert alike.interval.low < 1 < alike.interval.high


def test_rows_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match="a cluster a row"):
        paired_difference(np.ones(3), np.ones(3), ["a", "b"])
    with pytest.raises(ValueError, match="between 0 and 1"):
        paired_difference(np.ones(2), np.zeros(2), ["a", "b"], confidence=1.0)
