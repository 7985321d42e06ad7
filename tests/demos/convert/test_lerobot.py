"""LeRobot's data sets, both ways. lerobot's own loader is tried by benchmarks/lerobot_loader.py."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from egodtm_robot.demos.convert.contract import ConversionError
from egodtm_robot.demos.convert.exporting import export_demonstrations
from egodtm_robot.demos.convert.lerobot import LeRobotFormat

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_conversions import assert_same, files_of, read, written
from fake_foreign_stores import make_foreign_store
from fake_stores import make_store

EXACT = LeRobotFormat(images="image", fps=10.0)
VIDEO = LeRobotFormat(fps=10.0)
RECORD = "meta/egodtm_robot.json"


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    return make_foreign_store(tmp_path_factory.mktemp("foreign") / "so100", 3)


@pytest.fixture(scope="module")
def videos(tmp_path_factory, foreign):
    """A data set with videos and without our record, as anyone's is."""
    out = written(VIDEO, foreign, tmp_path_factory.mktemp("videos") / "pick")
    (out / RECORD).unlink()
    return out


@pytest.fixture
def data(videos, tmp_path):
    """A copy to spoil."""
    return Path(shutil.copytree(videos, tmp_path / "pick"))


def change_info(data, **values):
    info = json.loads((data / "meta/info.json").read_text())
    (data / "meta/info.json").write_text(json.dumps(info | values))


def test_a_data_set_comes_back_whole(videos, tmp_path):
    store = read(VIDEO, videos, tmp_path / "store")
    again = written(VIDEO, store, tmp_path / "again")
    for name in ("data/chunk-000/file-000.parquet", "meta/tasks.parquet"):
        assert (again / name).read_bytes() == (videos / name).read_bytes()
    before, after = (json.loads((d / "meta/info.json").read_text()) for d in (videos, again))
    assert before == after
    (again / RECORD).unlink()
    assert_same(store, read(VIDEO, again, tmp_path / "store_again"), but_images=True)


def test_a_data_set_of_anyone_becomes_a_foreign_store(videos, foreign, tmp_path):
    store = read(VIDEO, videos, tmp_path / "store")
    origin = store.attributes.origin
    assert store.attributes.foreign
    assert (origin.format, origin.version, origin.name) == ("lerobot", "v3.0", "pick")
    assert (origin.fps, origin.robot_type) == (10.0, "so100")
    assert origin.tasks == foreign.attributes.origin.tasks
    assert origin.resolutions == {"top": (16, 20), "wrist": (12, 12)}
    assert store.successes == [None] * 3
    assert store.array("extra/extra.next.reward").spec.dtype == "float64"
    assert store.array("extra/extra.done").spec.dtype == "bool"
    for name in ("actions", "proprioception", "task_index"):
        assert np.array_equal(store.array(name).read(), foreign.array(name).read())
    assert store.verify() == []


def test_the_loss_of_the_codec_is_told(foreign, tmp_path):
    summaries = [
        export_demonstrations(LeRobotFormat(crf=crf), foreign.path, tmp_path / f"{crf}", 0)
        for crf in (10, 35)
    ]
    values = [float(s.split("top: PSNR ")[1].split(" dB")[0]) for s in summaries]
    assert values[0] > values[1] + 5
    record = json.loads((tmp_path / "10" / RECORD).read_text())
    back = read(VIDEO, tmp_path / "10", tmp_path / "back")
    off = foreign.array("rgb/top").read().astype(float) - back.array("rgb/top").read()
    expected = 10 * np.log10(255**2 / np.mean(off**2))
    assert record["images"]["observation.images.top"]["psnr_db"] == pytest.approx(
        expected, abs=0.01
    )
    assert values[0] == pytest.approx(expected, abs=0.1)


def test_av1_is_written_and_joined(foreign, tmp_path):
    out = written(LeRobotFormat(codec="av1", cameras=["top"]), foreign, tmp_path / "data")
    back = read(VIDEO, out, tmp_path / "back")
    off = np.abs(foreign.array("rgb/top").read().astype(int) - back.array("rgb/top").read())
    assert off.mean() < 5
    assert back.attributes.cameras == ("top",)


def test_the_same_images_give_the_same_videos(foreign, tmp_path):
    whole = files_of(written(VIDEO, foreign, tmp_path / "whole"))
    for number in range(3):
        np.full(10_000 * number + 1, number)  # other bytes in memory that is used again
        assert files_of(written(VIDEO, foreign, tmp_path / f"{number}")) == whole


def test_chosen_columns_and_cameras(videos, tmp_path):
    chosen = LeRobotFormat(
        actions="observation.state", proprioception=["action", "extra.done"], cameras=["wrist"]
    )
    store = read(chosen, videos, tmp_path / "store")
    assert store.array("actions").spec.row_shape == (4,)
    assert store.array("proprioception").spec.row_shape == (4,)
    assert store.attributes.cameras == ("wrist",)
    assert "extra/action" in store.array_names  # one of several columns: kept as it was


def spoil_version(data):
    change_info(data, codebase_version="v2.1")


def spoil_info(data):
    (data / "meta/info.json").unlink()


def spoil_video(data):
    file = data / "videos/observation.images.top/chunk-000/file-000.mp4"
    file.write_bytes(file.read_bytes()[:700])


def lose_video(data):
    (data / "videos/observation.images.top/chunk-000/file-000.mp4").unlink()


def shorten_video(data):
    file = data / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    name = "videos/observation.images.top/from_timestamp"
    place = table.column_names.index(name)
    late = pa.array([value + 5.0 for value in table[name].to_pylist()])
    pq.write_table(table.set_column(place, name, late), file)


def spoil_rows(data):
    file = data / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    pq.write_table(table.slice(0, len(table) - 3), file)


def swap_rows(data):
    file = data / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    pq.write_table(table.take(np.arange(len(table))[::-1].copy()), file)


def spoil_length(data):
    file = data / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    place = table.column_names.index("length")
    longer = pa.array([n + 1 for n in table["length"].to_pylist()])
    pq.write_table(table.set_column(place, "length", longer), file)


def spoil_parquet(data):
    file = data / "data/chunk-000/file-000.parquet"
    file.write_bytes(file.read_bytes()[:-40])


def spoil_feature(data):
    info = json.loads((data / "meta/info.json").read_text())
    del info["features"]["action"]["dtype"]
    change_info(data, features=info["features"])


def lose_column(data):
    file = data / "meta/episodes/chunk-000/file-000.parquet"
    name = "videos/observation.images.top/chunk_index"
    pq.write_table(pq.read_table(file).drop_columns([name]), file)


def change_actions(data):
    info = json.loads((data / "meta/info.json").read_text())
    info["features"]["action"]["shape"] = [5]
    change_info(data, features=info["features"])


def damage_video(data):
    file = data / "videos/observation.images.top/chunk-000/file-000.mp4"
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 1000] = bytes(1000)
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_feature, "Expected the data set .* readable, got KeyError: 'dtype'"),
        (lose_column, "Expected episode 0 of .* readable, got KeyError: 'videos/"),
        (change_actions, r"'action' of episode 0 .* with \(\d+, 5\) numbers, as info.json says"),
        (damage_video, "video"),
        (lambda data: change_info(data, fps="many"), "Expected 'fps' in .*, got 'many'"),
        (lambda data: change_info(data, fps=-3), "Expected 'fps' above 0"),
        (lambda data: change_info(data, fps=15), "to be 1/15 s apart, .* 0.1000 s apart"),
        (lambda data: change_info(data, features=["action"]), "Expected 'features' in"),
        (spoil_version, "Expected codebase_version v3.0 .* got v2.1"),
        (spoil_info, "Expected a LeRobot data set"),
        (spoil_video, "images 'observation.images.top' of episode 0 in a video that decodes"),
        (lose_video, "video"),
        (shorten_video, "video"),
        (spoil_rows, "ragged or the file was cut short"),
        (swap_rows, "got rows of the episodes"),
        (spoil_length, "to have its length"),
        (spoil_parquet, "Expected whole Parquet"),
    ],
)
def test_what_is_damaged_is_named(data, tmp_path, spoil, message):
    spoil(data)
    with pytest.raises(ConversionError, match=message) as refused:
        read(VIDEO, data, tmp_path / "store")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cameras": ["front"]}, "Expected a camera 'front' .* found top, wrist"),
        ({"actions": "motors"}, "Expected a column 'motors'"),
        ({"proprioception": ["joints"]}, "Expected a column 'joints'"),
    ],
)
def test_what_is_not_there_is_named(videos, tmp_path, options, message):
    with pytest.raises(ConversionError, match=message):
        read(LeRobotFormat(**options), videos, tmp_path / "store")


def test_a_store_without_frame_rate_is_refused(tmp_path):
    store = make_store(tmp_path / "store", 1)
    with pytest.raises(ConversionError, match=r"format\.fps=30"):
        written(LeRobotFormat(), store, tmp_path / "data")


def test_videos_of_odd_size_are_refused(tmp_path):
    store = make_foreign_store(tmp_path / "store", 1, odd=True)
    with pytest.raises(ConversionError, match="15 x 20 of camera 'top'.*format.images=image"):
        written(LeRobotFormat(), store, tmp_path / "data")
    out = written(LeRobotFormat(images="image"), store, tmp_path / "data")
    assert_same(store, read(VIDEO, out, tmp_path / "back"))
