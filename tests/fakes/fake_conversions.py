"""What tests of every format do with small stores."""

from pathlib import Path

import numpy as np

from egodtm_robot.demos import DemonstrationStore
from egodtm_robot.demos.convert.contract import DemonstrationFormat
from egodtm_robot.demos.convert.exporting import export_demonstrations
from egodtm_robot.demos.convert.importing import import_demonstrations


def written(format: DemonstrationFormat, store: DemonstrationStore, out: Path, workers=0) -> Path:
    """The data set of a store."""
    export_demonstrations(format, store.path, out, workers)
    return out


def read(format: DemonstrationFormat, source: Path, out: Path, workers=0) -> DemonstrationStore:
    """The store of a data set."""
    return import_demonstrations(format, source, out, workers)


def files_of(folder: Path) -> dict[str, bytes]:
    """Content of every file in a folder, or of one file."""
    if folder.is_file():
        return {"": folder.read_bytes()}
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.suffix != ".lock"
    }


def assert_same(first: DemonstrationStore, second: DemonstrationStore, but_images=False) -> None:
    """Both stores hold the same, to the bit and the type."""
    assert first.array_names == second.array_names
    assert first.seeds.tolist() == second.seeds.tolist()
    assert first.successes == second.successes
    for index in range(first.num_episodes):
        ours, theirs = first.episode(index), second.episode(index)
        for name, values in ours.items():
            if but_images and name.startswith("rgb/"):
                assert values.shape == theirs[name].shape
                continue
            assert values.dtype == theirs[name].dtype, name
            assert np.array_equal(values, theirs[name]), name
        assert first.notes(index) == second.notes(index)
        reset, other = first.reset_record(index), second.reset_record(index)
        assert reset.keys() == other.keys()
        assert all(np.array_equal(reset[name], other[name]) for name in reset)
