import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.core.errors import DatasetError
from egodtm_robot.encoders.shifts import AugmentationConfig
from egodtm_robot.learning.dataset import CachedFeatureDataset, split_episodes

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_demonstrations import make_dataset


def test_validation_holds_out_whole_episodes():
    training, validation = split_episodes(50, 0.1, seed=0)
    assert len(validation) == 5
    assert sorted([*training, *validation]) == list(range(50))
    assert not np.array_equal(validation, split_episodes(50, 0.1, seed=1)[1])
    np.testing.assert_array_equal(validation, split_episodes(50, 0.1, seed=0)[1])
    assert len(split_episodes(3, 0.1, seed=0)[1]) == 1
    assert len(split_episodes(1, 0.5, seed=0)[1]) == 0
    assert len(split_episodes(25, 0.0, seed=0)[1]) == 0


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("actions", lambda a: a[:-1], "actions with 2 axes"),
        ("actions", lambda a: np.where(a == a.max(), np.nan, a), "not finite"),
        ("proprioception", lambda a: a.astype(np.float64), "float32"),
        ("features", lambda f: {"left": f["left"][:, 0]}, "3 axes"),
        ("features", lambda f: {"right": f["left"]}, "one grid"),
        ("episode_offsets", lambda o: o[:1], "at least one demonstration"),
        ("episode_offsets", lambda o: o[::-1].copy(), "demonstration|start at 0"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(field, change, message):
    dataset = make_dataset()
    with pytest.raises(DatasetError, match=message):
        dataclasses.replace(dataset, **{field: change(getattr(dataset, field))})


class FakeStore:
    """What from_store needs of a demonstration store."""

    num_episodes = 3
    episode_offsets = np.array([0, 4, 9, 12])

    def __init__(self):
        generator = np.random.default_rng(0)
        self.rows = {
            "proprioception": generator.normal(size=(12, 9)).astype(np.float32),
            "actions": generator.uniform(-1, 1, (12, 9)).astype(np.float32),
        }

    def prefix_fingerprint(self, episodes):
        return f"store:{episodes}"

    def steps(self, selection, arrays):
        return {name: self.rows[name][selection] for name in arrays}


def test_a_dataset_takes_the_first_episodes_of_a_store():
    store = FakeStore()
    features = {"left": np.arange(12 * 2, dtype=np.float32).reshape(12, 1, 2)}
    dataset = CachedFeatureDataset.from_store(store, features, {"left": None}, "enc", episodes=2)
    assert dataset.num_episodes == 2
    np.testing.assert_array_equal(dataset.actions, store.rows["actions"][:9])
    np.testing.assert_array_equal(dataset.features["left"], features["left"][:9])
    assert dataset.spec.features["left"].dimension == 2
    prints = {
        CachedFeatureDataset.from_store(store, features, {"left": None}, encoder, n).fingerprint
        for encoder, n in (("enc", 2), ("enc", None), ("other", 2))
    }
    assert len(prints) == 3
    with pytest.raises(DatasetError, match="at least 4 demonstrations, the store holds 3"):
        CachedFeatureDataset.from_store(store, features, {"left": None}, "enc", episodes=4)


def test_shifted_copies_are_cut_to_the_episodes_and_tell_datasets_apart():
    store = FakeStore()
    features = {"left": np.arange(24, dtype=np.float32).reshape(12, 1, 2)}
    shifted = {"left": np.stack([features["left"] + 1, features["left"] + 2])}

    def load(copies, augmentation):
        return CachedFeatureDataset.from_store(
            store, features, {"left": None}, "enc", 2, copies, augmentation
        )

    plain = load({}, AugmentationConfig())
    augmented = load(shifted, AugmentationConfig(crops=2))
    np.testing.assert_array_equal(augmented.shifted["left"], shifted["left"][:, :9])
    prints = {plain.fingerprint, augmented.fingerprint}
    prints.add(load(shifted, AugmentationConfig(crops=2, pixels=5)).fingerprint)
    assert len(prints) == 3
    assert plain.fingerprint == load(None, None).fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {"right": a["left"]}, "shifted copies of the features of every camera"),
        (lambda a: {"left": a["left"][:, 1:]}, "shifted copies of the features of every camera"),
        (lambda a: {"left": a["left"] * np.nan}, "copy 0 of features/left holds values"),
    ],
)
def test_shifted_copies_that_do_not_fit_are_refused(change, message):
    dataset = make_dataset()
    copies = {"left": np.stack([dataset.features["left"]] * 2)}
    dataclasses.replace(dataset, shifted=copies)
    with pytest.raises(DatasetError, match=message):
        dataclasses.replace(dataset, shifted=change(copies))
