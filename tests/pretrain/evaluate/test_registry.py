import sys
from pathlib import Path

import pytest

from egodtm_robot.core.errors import ConfigurationError, UnknownNameError
from pretrain.evaluate.model import make_video_text_model
from pretrain.evaluate.registry import make_task, make_tasks, task_names
from pretrain.evaluate.retrieval import Retrieval
from pretrain.evaluate.task import EvaluationTask


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_parts.py").write_text(
        "from pretrain.evaluate.retrieval import Retrieval\n"
        "class Mine(Retrieval):\n"
        "    def __init__(self, k=1):\n"
        "        self.k = k\n"
        "class Nameless(Retrieval):\n"
        "    name = ''\n"
        "class Half:\n"
        "    name = fingerprint = 'half'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("my_parts", None)


def test_every_file_makes_a_task_of_its_name():
    tasks = make_tasks("all")
    assert [task.name for task in tasks] == list(task_names())
    assert {"retrieval", "multiple_choice", "depth", "regions"} <= set(task_names())
    assert all(task.headline and isinstance(task, EvaluationTask) for task in tasks)
    assert isinstance(make_task("retrieval"), Retrieval)


@pytest.mark.usefixtures("user_module")
def test_an_import_path_and_a_mapping_make_a_users_task():
    assert make_task("my_parts.Mine").k == 1
    task = make_task({"_target_": "my_parts.Mine", "k": 3, "name": "harder"})
    assert (task.k, task.name, dict(task.options)) == (3, "harder", {"k": 3})


@pytest.mark.usefixtures("user_module")
def test_mistakes_are_named():
    with pytest.raises(UnknownNameError, match="Did you mean 'retrieval'"):
        make_task("retreival")
    with pytest.raises(ConfigurationError, match="import path"):
        make_task("nowhere.Task")
    with pytest.raises(ConfigurationError, match="EvaluationTask, got 'pathlib.Path'"):
        make_task("pathlib.Path")
    with pytest.raises(UnknownNameError, match="option of Mine 'q'"):
        make_task({"_target_": "my_parts.Mine", "q": 3})
    with pytest.raises(ConfigurationError, match="to have a name"):
        make_task("my_parts.Nameless")
    with pytest.raises(ConfigurationError, match="each name once"):
        make_tasks(["retrieval", "my_parts.Mine"])
    with pytest.raises(ConfigurationError, match="at least one"):
        make_tasks([])
    with pytest.raises(ConfigurationError, match="tasks=all or a list of tasks .* got None"):
        make_tasks(None)
    with pytest.raises(ConfigurationError, match="Half lacks frames, resolution, encode_video"):
        make_video_text_model("my_parts.Half")
