"""What holds for every format that is written."""

import json
import sys
from pathlib import Path

import pytest

from egodtm_robot.core.configuration.instantiation import group_names
from egodtm_robot.core.errors import (
    ConfigurationError,
    DatasetError,
    DiskSpaceError,
    ResumeMismatchError,
    StoreExistsError,
    StoreLockedError,
    UnknownNameError,
)
from egodtm_robot.demos import DemonstrationStore, foreign_attributes
from egodtm_robot.demos.convert import contract, exporting, importing
from egodtm_robot.demos.convert.contract import ConversionError, make_format
from egodtm_robot.demos.convert.exporting import export_demonstrations
from egodtm_robot.demos.convert.importing import import_demonstrations

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_conversions import assert_same, files_of, read, written
from fake_foreign_stores import ORIGIN, make_foreign_store
from fake_stores import make_store

FORMATS = {
    "lerobot": {"images": "image", "fps": 10.0},
    "robomimic": {},
    "minari": {},
    "diffusion_policy": {},
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return {
        "native": make_store(folder / "native", 2),
        "foreign": make_foreign_store(folder / "foreign", 3),
    }


@pytest.fixture(params=FORMATS)
def format(request):
    return make_format({"name": request.param, **FORMATS[request.param]})


class Killed(BaseException):
    pass


def killing(at):
    def report(done):
        if done == at:
            raise Killed

    return lambda _: report


def test_every_format_that_is_written_is_here():
    assert set(group_names("format")) == {*FORMATS, "r3m_paths", "custom"}


@pytest.mark.parametrize("kind", ["native", "foreign"])
def test_a_store_comes_back_whole(stores, format, kind, tmp_path):
    store = stores[kind]
    back = read(format, written(format, store, tmp_path / "data"), tmp_path / "back")
    assert_same(store, back)
    assert back.fingerprint == store.fingerprint
    assert back.attributes == store.attributes
    assert back.verify() == []


def test_kills_change_no_byte(stores, format, tmp_path):
    store = stores["foreign"]
    whole = files_of(written(format, store, tmp_path / "whole"))
    out = tmp_path / "resumed"
    with pytest.raises(Killed):
        export_demonstrations(format, store.path, out, 0, progress=killing(2))
    assert not out.exists()
    seen = []
    export_demonstrations(format, store.path, out, 0, progress=lambda _: seen.append)
    assert seen == [2, 3]
    assert files_of(out) == whole
    with pytest.raises(StoreExistsError, match="is there"):
        written(format, store, out)

    expected = read(format, out, tmp_path / "store")
    with pytest.raises(Killed):
        import_demonstrations(format, out, tmp_path / "again", 0, progress=killing(1))
    again = read(format, out, tmp_path / "again")
    assert_same(expected, again)
    for part in ("observations", "actions"):
        assert files_of(again.path / part) == files_of(expected.path / part)


def test_workers_change_no_byte(stores, tmp_path):
    format = make_format("robomimic")
    whole = files_of(written(format, stores["foreign"], tmp_path / "whole"))
    assert files_of(written(format, stores["foreign"], tmp_path / "spread", workers=2)) == whole
    one = read(format, tmp_path / "whole", tmp_path / "one")
    assert_same(one, read(format, tmp_path / "whole", tmp_path / "two", workers=2))


def test_a_format_passes_on_what_another_has_kept(stores, tmp_path):
    """LeRobot to robomimic to Minari to Zarr and back, by way of stores."""
    store = stores["foreign"]
    for number, name in enumerate([*FORMATS, "lerobot"]):
        format = make_format({"name": name, **FORMATS[name]})
        data = written(format, store, tmp_path / f"data_{number}")
        store = read(format, data, tmp_path / f"store_{number}")
    assert_same(stores["foreign"], store)


def test_chosen_cameras_alone_are_written(stores, tmp_path):
    for name, options in FORMATS.items():
        format = make_format({"name": name, **options, "cameras": ["wrist"]})
        out = written(format, stores["foreign"], tmp_path / name)
        assert read(format, out, tmp_path / f"{name}_back").attributes.cameras == ("wrist",)


def test_parts_of_another_store_are_refused(stores, format, tmp_path):
    out = tmp_path / "data"
    with pytest.raises(Killed):
        export_demonstrations(format, stores["native"].path, out, 0, progress=killing(1))
    with pytest.raises(ResumeMismatchError, match="this very store and these settings"):
        written(format, stores["foreign"], out)


def test_a_kill_behind_the_last_step_is_no_failure(stores, tmp_path, monkeypatch):
    format = make_format("diffusion_policy")
    out = tmp_path / "data"

    def die(parts):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(format, "summary", die)
        with pytest.raises(Killed):
            written(format, stores["foreign"], out)
    before = files_of(out)
    written(format, stores["foreign"], out)
    assert files_of(out) == before
    assert not (tmp_path / "data.partial").exists()


def test_one_process_writes_a_data_set(stores, tmp_path):
    format = make_format("diffusion_policy")
    refused = []

    def second(done):
        with pytest.raises(StoreLockedError):
            written(format, stores["foreign"], tmp_path / "data")
        refused.append(done)

    export_demonstrations(
        format, stores["foreign"].path, tmp_path / "data", 0, progress=lambda _: second
    )
    assert refused


def test_a_store_of_something_else_is_not_added_to(stores, format, tmp_path):
    data = written(format, stores["foreign"], tmp_path / "data")
    with pytest.raises(ResumeMismatchError, match="beginning of this very data set"):
        read(format, data, make_store(tmp_path / "other", 1).path)


def test_an_empty_store_is_refused(format, tmp_path):
    DemonstrationStore.create(tmp_path / "empty", foreign_attributes(ORIGIN)).close()
    with pytest.raises(DatasetError, match="it holds none"):
        export_demonstrations(format, tmp_path / "empty", tmp_path / "data", 0)


def test_room_is_asked_for_before_anything_is_written(stores, format, tmp_path, monkeypatch):
    data = written(format, stores["foreign"], tmp_path / "data")

    def full(path, size):
        assert size > 1000
        raise DiskSpaceError(28, "full")

    monkeypatch.setattr(exporting, "check_free_space", full)
    monkeypatch.setattr(importing, "check_free_space", full)
    with pytest.raises(DiskSpaceError):
        written(format, stores["foreign"], tmp_path / "other")
    assert not list(tmp_path.glob("other*/episode*"))
    with pytest.raises(DiskSpaceError):
        read(format, data, tmp_path / "store")


def test_a_first_episode_that_cannot_be_read_leaves_nothing(stores, format, tmp_path, monkeypatch):
    """The next try may have other settings, which a store that is there would refuse."""
    data = written(format, stores["foreign"], tmp_path / "data")
    source = type(format.open(data))
    right = source.read

    def damaged(at):
        def read_some(self, index):
            if index == at:
                raise KeyError("actions")
            return right(self, index)

        monkeypatch.setattr(source, "read", read_some)

    damaged(0)
    with pytest.raises(ConversionError, match="Expected episode 0 of .* got KeyError: 'actions'"):
        read(format, data, tmp_path / "store")
    assert not (tmp_path / "store").exists()
    damaged(1)
    with pytest.raises(ConversionError, match="Expected episode 1 of"):
        read(format, data, tmp_path / "store")
    assert DemonstrationStore.open(tmp_path / "store").num_episodes == 1
    damaged(None)
    assert_same(stores["foreign"], read(format, data, tmp_path / "store"))


def test_nothing_is_named(format, tmp_path):
    with pytest.raises(ConversionError, match="Expected"):
        read(format, tmp_path / "nowhere", tmp_path / "store")


class OnlyRead(contract.DemonstrationFormat):
    kind = "mine"

    def open(self, path):
        return make_format("diffusion_policy").open(path)


def test_a_format_of_ones_own_is_an_import_path(stores, tmp_path):
    data = written(make_format("diffusion_policy"), stores["foreign"], tmp_path / "data")
    own = make_format({"name": "custom", "_target_": f"{__name__}.OnlyRead"})
    assert_same(stores["foreign"], read(own, data, tmp_path / "store"))
    with pytest.raises(ConversionError, match="mine, which is only read"):
        written(own, stores["foreign"], tmp_path / "other")


def test_unknown_formats_and_options_are_refused():
    with pytest.raises(UnknownNameError, match="lerobot"):
        make_format("lerobots")
    with pytest.raises(UnknownNameError, match="camera"):
        make_format({"name": "minari", "camera": "left"})
    with pytest.raises(ConfigurationError, match="subclass"):
        make_format("egodtm_robot.demos.store.DemonstrationStore")
    assert issubclass(ConversionError, ValueError)
    assert contract.Part(0, Path()).facts == {}


def test_a_data_set_that_was_changed_is_read_as_anyones(stores, tmp_path):
    format = make_format({"name": "diffusion_policy"})
    data = written(format, stores["native"], tmp_path / "data")
    attributes = json.loads((data / ".zattrs").read_text())
    attributes["egodtm_robot"]["lengths"][0] += 1
    (data / ".zattrs").write_text(json.dumps(attributes))
    assert read(format, data, tmp_path / "store").attributes.foreign
