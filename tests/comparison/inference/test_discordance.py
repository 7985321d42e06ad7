import math

import numpy as np
import pytest
from scipy import optimize, stats

from egodtm_robot.comparison.inference.discordance import mcnemar_exact, tango_interval


@pytest.mark.parametrize("counts", [(0, 0), (1, 0), (0, 7), (5, 5), (3, 11), (40, 25)])
def test_mcnemars_test_is_the_binomial_one_of_discordant_episodes(counts):
    discordant = sum(counts)
    expected = stats.binomtest(counts[0], discordant).pvalue if discordant else 1.0
    assert mcnemar_exact(*counts) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("counts", "confidence", "low", "high"),
    [
        # Fagerland, Lydersen & Laake, Statistics in Medicine 2014, airway hyper-responsiveness.
        ((1, 1, 7, 12), 0.95, -0.517, -0.026),
        # R's PropCIs::scoreci.mp(25, 28, 618), 90 %.
        ((500, 28, 25, 65), 0.9, -0.0148, 0.0247),
    ],
)
def test_tangos_interval_is_the_published_one(counts, confidence, low, high):
    found = tango_interval(*counts, confidence)
    assert found == pytest.approx((low, high), abs=1e-3 if confidence == 0.95 else 1e-4)


def test_at_tangos_limits_the_score_test_is_at_its_level():
    """The score by its definition, with the restricted likelihood maximized by search."""
    counts = (43, 8, 2, 17)
    number, (_, first, second, _) = sum(counts), counts
    for limit in tango_interval(*counts):

        def loss(share, limit=limit):
            return -(
                second * math.log(share)
                + first * math.log(share + limit)
                + (number - first - second) * math.log(1 - 2 * share - limit)
            )

        bounds = (max(0, -limit) + 1e-9, (1 - limit) / 2 - 1e-9)
        share = optimize.minimize_scalar(loss, bounds=bounds, method="bounded").x
        variance = number * (2 * share + limit - limit**2)
        score = (first - second - number * limit) / math.sqrt(variance)
        assert abs(score) == pytest.approx(stats.norm.ppf(0.975), abs=1e-3)


def test_tangos_interval_mirrors_when_the_policies_change_places():
    low, high = tango_interval(3, 9, 2, 6)
    assert tango_interval(3, 2, 9, 6) == pytest.approx((-high, -low))


@pytest.mark.parametrize(
    "counts", [(0, 0, 0, 1), (70, 0, 0, 0), (0, 70, 0, 0), (0, 0, 70, 0), (0, 1, 1, 0)]
)
def test_tangos_interval_has_a_width_and_stays_in_range_at_the_edges(counts):
    low, high = tango_interval(*counts)
    assert -1 <= low < high <= 1
    assert low <= (counts[1] - counts[2]) / sum(counts) <= high


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="0 or more"):
        mcnemar_exact(-1, 3)
    for counts in ((0, 0, 0, 0), (5, -1, 0, 0)):
        with pytest.raises(ValueError, match="at least one episode"):
            tango_interval(*counts)
    with pytest.raises(ValueError, match="between 0 and 1"):
        tango_interval(1, 1, 1, 1, confidence=np.inf)
