import sys
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.core.configuration import from_mapping
from egodtm_robot.core.errors import (
    ConfigurationError,
    DatasetError,
    StoreNotFoundError,
    UnknownNameError,
)
from pretrain.clips import ClipStore, ClipStoreWriter
from pretrain.clips import splits as data
from pretrain.clips.splits import DataConfig, make_clips, open_splits
from pretrain.clips.synthetic import SyntheticClipConfig

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_clips import make_clip, make_store


def scenes(part) -> set[str]:
    return set(part.store.read(part.clips, ["scene"])["scene"])


def test_a_store_holds_out_whole_scenes_that_do_not_depend_on_the_order(tmp_path):
    with ClipStoreWriter.create(tmp_path / "a") as writer:
        for seed in range(60):
            clip = make_clip(seed, size=8, grid=2)
            clip.scene = f"kitchen {seed // 3}"
            writer.append([clip])
    config = DataConfig(
        kind="store", path=str(tmp_path / "a"), clips=None, validation_clips=9, test_clips=4
    )
    splits = open_splits(config)
    parts = [splits.train, splits.validation, splits.test]
    assert [len(part.clips) for part in parts] == [60 - 6 - 6, 6, 4]
    assert sum(len(scenes(part)) for part in parts) == len(set.union(*map(scenes, parts)))
    again = open_splits(config)
    assert again.description == splits.description
    # Clips that come later do not move a scene from one part to another.
    fewer = open_splits(DataConfig(kind="store", path=str(tmp_path / "a"), clips=57,
                                   validation_clips=6, test_clips=4))  # fmt: skip
    assert fewer.description["train"]["clips"] <= 57


def test_several_stores_and_stores_to_measure_on(tmp_path):
    for name, seeds in {
        "a": range(4),
        "b": range(4, 9),
        "v": range(9, 29),
        "t": range(30, 33),
    }.items():
        make_store(tmp_path / name, seeds, size=8, grid=2)
    both = [str(tmp_path / "a"), str(tmp_path / "b")]
    given = {"validation": str(tmp_path / "v"), "validation_clips": 5, "test_clips": 7}
    splits = open_splits(DataConfig(kind="store", path=both, clips=8, **given))
    assert splits.train.clips.tolist() == list(range(8))
    assert splits.validation.clips.tolist() == [0, 4, 8, 12, 16]
    assert len(splits.test.clips) == 7  # of the validation's store: there is no other
    splits = open_splits(
        DataConfig(kind="store", path=both, clips=None, test=[str(tmp_path / "t")], **given)
    )
    assert len(splits.train.clips) == 9
    assert [len(splits.test.clips), splits.description["test"]["clips"]] == [3, 3]
    assert splits.description["train"]["paths"] == both


def test_the_description_stays_when_a_store_grows(tmp_path):
    make_store(tmp_path / "a", range(6), size=8, grid=2)
    make_store(tmp_path / "v", range(10, 14), size=8, grid=2)
    config = DataConfig(
        kind="store", path=str(tmp_path / "a"), clips=6, validation=str(tmp_path / "v")
    )
    before = open_splits(config).description
    with ClipStoreWriter.open(tmp_path / "a") as writer:
        writer.append([make_clip(6, size=8, grid=2)])
    assert open_splits(config).description == before


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(StoreNotFoundError, match="nothing"):
        open_splits(DataConfig(kind="store", path=str(tmp_path / "nothing"), clips=None))
    make_store(tmp_path / "a", range(4), size=8, grid=2)
    with pytest.raises(DatasetError, match="Name other stores in data.validation"):
        open_splits(DataConfig(kind="store", path=str(tmp_path / "a"), clips=None))
    with pytest.raises(DatasetError, match="at least 5 clips"):
        open_splits(
            DataConfig(kind="store", path=str(tmp_path / "a"), clips=5, validation="anywhere")
        )


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"kind": "webdataset"}, UnknownNameError),
        ({"kind": "store"}, ConfigurationError),
        ({"kind": "store", "path": 3}, ConfigurationError),
        ({"kind": "store", "path": ["a", ""]}, ConfigurationError),
        ({"kind": "synthetic", "clips": None}, ConfigurationError),
        ({"kind": "synthetic", "clips": 5, "path": "a"}, ConfigurationError),
        ({"clips": 0}, ConfigurationError),
        ({"clips": 5, "test_clips": 1}, ConfigurationError),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, error):
    with pytest.raises(error):
        from_mapping(DataConfig, settings)


def test_drawn_clips_are_kept_by_what_decides_them_and_drawn_once(tmp_path, monkeypatch):
    drawn = []

    def draw(config, split, count, out, workers):
        drawn.append((split, count))
        if not Path(out).exists():
            make_store(Path(out), range(count), size=8, grid=2)

    monkeypatch.setattr(data, "generate", draw)
    config = DataConfig(clips=5, validation_clips=3, test_clips=2, cache=str(tmp_path))
    make_clips(config)
    assert drawn == [("train", 5), ("validation", 3), ("test", 2)]
    splits = open_splits(config)
    assert [len(p.clips) for p in (splits.train, splits.validation, splits.test)] == [5, 3, 2]
    assert isinstance(splits.train.store, ClipStore)
    np.testing.assert_array_equal(splits.test.clips, [0, 1])
    (folder,) = tmp_path.iterdir()
    other = DataConfig(clips=5, cache=str(tmp_path), synthetic=SyntheticClipConfig(resolution=64))
    assert data.cache_folder(other) != data.cache_folder(config) == folder
