import numpy as np
import pytest

from egodtm_robot.comparison.arms import Condition
from egodtm_robot.comparison.inference.variance import variance_of

PLACES = [Condition(name, "", "") for name in ("knob", "light", "microwave")]


def cells(generator, seeds, episodes=30):
    return {
        (place, seed): generator.normal(size=episodes) for place in PLACES for seed in range(seeds)
    }


def same(values, first):
    """Episode seeds of cells, of which each run seed's begin at its own number."""
    return {key: first(key[1]) + np.arange(len(values[key])) for key in values}


def seed_means(values, seeds):
    return np.array(
        [np.mean([values[place, seed].mean() for place in PLACES]) for seed in range(seeds)]
    )


def test_run_seeds_with_episodes_of_their_own_vary_as_their_means_do():
    values = cells(np.random.default_rng(0), 4)
    found = variance_of(PLACES, range(4), values, same(values, lambda seed: 100 * seed))
    assert found.total == pytest.approx(seed_means(values, 4).var(ddof=1) / 4)
    assert found.degrees_of_freedom == 3


def test_the_part_of_the_episodes_is_the_variance_within_runs():
    values = cells(np.random.default_rng(1), 4)
    episodes = same(values, lambda seed: 100 * seed)
    found = variance_of(PLACES, range(4), values, episodes)
    over_tasks = np.array(
        [np.mean([values[place, seed] for place in PLACES], axis=0) for seed in range(4)]
    )
    within = over_tasks.var(axis=1, ddof=1).mean()
    assert found.episode == pytest.approx(within)
    assert found.by_episodes == pytest.approx(within / 30 / 4 + 2 / (30 * 4 * 3) ** 2)
    expected = max(float(found.total - found.by_episodes), 0) * 4
    assert found.training == pytest.approx(expected)


def test_episodes_of_different_conditions_with_one_seed_are_one_piece_of_chance():
    one = np.random.default_rng(2).normal(size=30)
    values = {(place, 0): one for place in PLACES}
    shared = variance_of(PLACES, [0], values, {key: np.arange(30) for key in values})
    alone = variance_of(PLACES, [0], values, None)
    smoothing = 2 / 90**2
    assert shared.by_episodes - smoothing == pytest.approx(3 * (alone.by_episodes - smoothing))


def test_the_same_episodes_for_all_run_seeds_do_not_average_out():
    """Mean squares of the two-way table of run seeds and episodes."""
    generator = np.random.default_rng(3)
    hard, lucky = generator.normal(size=30), generator.normal(size=4)
    values = {
        (place, seed): hard + lucky[seed] + generator.normal(size=30)
        for place in PLACES
        for seed in range(4)
    }
    found = variance_of(PLACES, range(4), values, same(values, lambda seed: 0))
    table = np.array(
        [np.mean([values[place, seed] for place in PLACES], axis=0) for seed in range(4)]
    )
    by_seed, by_episode = table.mean(axis=1), table.mean(axis=0)
    rest = table - by_seed[:, None] - by_episode + table.mean()
    square_seed = 30 * by_seed.var(ddof=1)
    square_episode = 4 * by_episode.var(ddof=1)
    square_rest = (rest**2).sum() / (3 * 29)
    assert found.total == pytest.approx((square_seed + square_episode - square_rest) / 120)
    assert 3 < found.degrees_of_freedom < 3 + 29
    assert found.by_episodes == pytest.approx(square_episode / 120 + 2 / 360**2)


def test_partly_shared_episodes_never_give_less_than_the_run_seeds_means():
    values = cells(np.random.default_rng(4), 3)
    nested = variance_of(PLACES, range(3), values, same(values, lambda seed: 100 * seed))
    mixed = variance_of(PLACES, range(3), values, same(values, lambda seed: 10 * seed))
    assert mixed.total > nested.total


def test_one_run_seed_shows_nothing_of_training():
    values = cells(np.random.default_rng(5), 1)
    found = variance_of(PLACES, [0], values, None)
    assert np.isnan([found.total, found.training, found.degrees_of_freedom]).all()
    assert found.by_episodes > 0


def test_without_episode_seeds_every_episode_is_another_one():
    values = cells(np.random.default_rng(6), 3)
    found = variance_of(PLACES, range(3), values, None)
    cell_errors = [values[place, seed].var(ddof=1) / 30 for place in PLACES for seed in range(3)]
    assert found.total == pytest.approx(seed_means(values, 3).var(ddof=1) / 3)
    assert found.by_episodes == pytest.approx(np.sum(cell_errors) / 81 + 2 / 270**2)


def test_episodes_that_all_went_alike_leave_a_little_doubt():
    values = {(place, seed): np.zeros(30) for place in PLACES for seed in range(3)}
    found = variance_of(PLACES, range(3), values, None)
    assert found.total == 0
    assert found.by_episodes > 0


def test_runs_of_one_episode_each_are_taken():
    values = {(place, seed): np.array([float(seed)]) for place in PLACES for seed in range(3)}
    found = variance_of(PLACES, range(3), values, None)
    assert found.total == pytest.approx(1 / 3)
