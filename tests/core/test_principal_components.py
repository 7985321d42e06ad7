import numpy as np
import pytest

from egodtm_robot.core.principal_components import scaled_components


def decomposed(rows):
    values, vectors = np.linalg.eigh(rows.T @ rows)
    return vectors[:, ::-1][:, :2], values[::-1][:2]


def test_signs_do_not_depend_on_those_of_the_decomposition():
    directions, squares = decomposed(np.random.default_rng(0).normal(size=(50, 4)))
    components = scaled_components(directions, squares, count=50)
    np.testing.assert_array_equal(scaled_components(-directions, squares, count=50), components)
    largest = np.abs(components).argmax(axis=0)
    assert (components[largest, [0, 1]] > 0).all()


def test_projections_have_mean_square_one_and_keep_their_order():
    rows = np.random.default_rng(1).normal(size=(500, 4)) * [10, 1, 0.1, 3]
    directions, squares = decomposed(rows)
    projected = rows @ scaled_components(directions, squares, count=len(rows))
    assert np.square(projected).mean() == pytest.approx(1.0)
    assert projected[:, 0].std() > 3 * projected[:, 1].std(), "they are not whitened"


def test_data_that_never_vary_give_finite_components():
    assert np.isfinite(scaled_components(np.eye(3)[:, :2], np.zeros(2))).all()
