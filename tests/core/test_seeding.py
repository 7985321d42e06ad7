import itertools

import numpy as np
import pytest

from egodtm_robot.core.seeding import Split, episode_seeds

SPLITS: tuple[Split, ...] = ("demonstrations", "selection", "final", "tuning", "reinforcement")


def test_splits_and_run_seeds_never_share_an_episode():
    # The whole range of two neighboring run seeds and of the first and last one.
    ranges = [
        set(episode_seeds(split, seed, 100_000)) for split in SPLITS for seed in (0, 1, 9_999)
    ]
    for one, other in itertools.combinations(ranges, 2):
        assert not one & other


def test_same_arguments_give_the_same_seeds_and_start_continues_them():
    whole = episode_seeds("final", 3, 10)
    assert whole.dtype == np.int64
    np.testing.assert_array_equal(whole, episode_seeds("final", 3, 10))
    np.testing.assert_array_equal(whole[4:], episode_seeds("final", 3, 6, start=4))
    assert len(set(whole)) == 10


def test_no_episodes_give_no_seeds():
    assert episode_seeds("tuning", 0, 0).shape == (0,)


@pytest.mark.parametrize(
    ("seed", "count", "start"), [(-1, 1, 0), (10_000, 1, 0), (0, -1, 0), (0, 1, -1), (0, 2, 99_999)]
)
def test_seeds_that_would_leave_their_range_are_refused(seed, count, start):
    with pytest.raises(ValueError, match="Expected"):
        episode_seeds("final", seed, count, start)


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match="Unknown split 'validation'"):
        episode_seeds("validation", 0, 1)  # type: ignore[arg-type]
