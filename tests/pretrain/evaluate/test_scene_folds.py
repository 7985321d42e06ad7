import numpy as np
import pytest

from pretrain.evaluate.scene_folds import scene_folds
from pretrain.evaluate.task import EvaluationDataError

SCENES = [f"kitchen {number // 3}" for number in range(60)]


def test_every_row_is_tested_once_by_what_shares_no_scene_with_it():
    names = np.array(SCENES)
    folds = list(scene_folds(SCENES))
    assert len(folds) == 5
    tested = np.sort(np.concatenate([fold.test for fold in folds]))
    np.testing.assert_array_equal(tested, np.arange(60))
    for fold in folds:
        parts = [set(names[rows]) for rows in (fold.fit, fold.validation, fold.test)]
        assert sum(map(len, parts)) == len(set().union(*parts)) == 20
        assert len(fold.fit) + len(fold.validation) + len(fold.test) == 60
        np.testing.assert_array_equal(fold.training, np.sort([*fold.fit, *fold.validation]))


def test_folds_depend_on_the_names_of_scenes_alone():
    order = np.random.default_rng(0).permutation(60)
    shuffled = list(scene_folds([SCENES[row] for row in order]))
    for own, other in zip(scene_folds(SCENES), shuffled, strict=True):
        assert set(order[other.test].tolist()) == set(own.test.tolist())


def test_training_rows_are_not_measured_and_others_not_fitted_on():
    training = np.arange(60) >= 20
    (fold,) = scene_folds(SCENES, training)
    np.testing.assert_array_equal(fold.test, np.arange(20))
    np.testing.assert_array_equal(fold.training, np.arange(20, 60))
    names = np.array(SCENES)
    assert not set(names[fold.fit]) & set(names[fold.validation])


def test_too_few_scenes_are_named():
    with pytest.raises(EvaluationDataError, match=r"at least three scenes.*\['a', 'b'\]"):
        list(scene_folds(["a", "a", "b"]))
    with pytest.raises(EvaluationDataError, match=r"at least two scenes.*\['b'\]"):
        list(scene_folds(["a", "b", "b"], np.array([False, True, True])))
