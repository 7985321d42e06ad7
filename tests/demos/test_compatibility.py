"""What makes a store of demonstrations foreign."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from egodtm_robot.core.errors import ForeignStoreError, UnknownNameError
from egodtm_robot.demos import DemonstrationStore
from egodtm_robot.demos.compatibility import check_compatible, check_foreign_recordings
from envs.cameras import Camera
from envs.contract import EnvironmentDescription

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_foreign_stores import make_foreign_store
from fake_stores import ATTRIBUTES, make_episode

LEFT = Camera("left", (-1.4, -0.75, 3.0), (0.78, 0.49, -0.22, -0.32))
KITCHEN = EnvironmentDescription(
    kind="franka_kitchen",
    task="light",
    randomization="default",
    visual="fixed",
    model_hash="0123abcd",
    engine_version="4.0.0",
    horizon=75,
    control_dt=0.08,
    cameras=(LEFT,),
    state_size=31,
    privileged_size=15,
    proprioception_size=9,
    action_size=9,
    license="Apache-2.0",
)


def make_store(path: Path, **changes: Any) -> DemonstrationStore:
    attributes = replace(
        ATTRIBUTES,
        environment="franka_kitchen_light",
        task="light",
        camera_poses=KITCHEN.camera_poses,
        kind="franka_kitchen",
        horizon=75,
        control_dt=0.08,
    )
    with DemonstrationStore.create(path, replace(attributes, **changes)):
        pass
    return DemonstrationStore.open(path)


def test_a_store_of_the_same_environment_is_accepted(tmp_path: Path) -> None:
    check_compatible(make_store(tmp_path / "demos"), KITCHEN)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "robohive_kitchen"),
        ("task", "knob"),
        ("randomization", "fk1"),
        ("visual", "varied"),
        ("model_hash", "ffff0000"),
        ("horizon", 60),
        ("control_dt", 0.04),
    ],
)
def test_each_thing_that_makes_a_store_foreign_is_named(
    tmp_path: Path, name: str, value: Any
) -> None:
    store = make_store(tmp_path / "demos")
    other = replace(KITCHEN, **{name: value})
    with pytest.raises(ForeignStoreError, match=f"{name} {value!r}, but .* made with {name} "):
        check_compatible(store, other)
    check_compatible(store, other, allow_foreign=True)


def test_all_differences_are_named_together(tmp_path: Path) -> None:
    store = make_store(tmp_path / "demos")
    with pytest.raises(ForeignStoreError, match="task 'knob', visual 'varied', but"):
        check_compatible(store, replace(KITCHEN, task="knob", visual="varied"))


@pytest.mark.parametrize("allow_foreign", [False, True])
def test_a_camera_that_stood_elsewhere_is_refused(tmp_path: Path, allow_foreign: bool) -> None:
    store = make_store(tmp_path / "demos")
    moved = replace(KITCHEN, cameras=(replace(LEFT, position=(-1.4, -0.75, 2.0)),))
    with pytest.raises(ForeignStoreError, match="'left' with position"):
        check_compatible(store, moved, allow_foreign=allow_foreign)
    other_name = replace(KITCHEN, cameras=(replace(LEFT, name="high", fovy=60.0),))
    check_compatible(store, other_name)


def test_what_decides_a_collection_is_compared_where_it_is_asked_for(tmp_path: Path) -> None:
    store = make_store(tmp_path / "demos")
    check_compatible(store, KITCHEN, collection={"noise": 0.1, "seed": 0, "expert_version": "1"})
    with pytest.raises(ForeignStoreError, match="noise 0.3, but .* noise 0.1"):
        check_compatible(store, KITCHEN, collection={"noise": 0.3})


def test_a_store_of_an_earlier_version_is_read_and_compared_by_what_it_says(
    tmp_path: Path,
) -> None:
    store = make_store(tmp_path / "demos", kind=None, horizon=None, control_dt=None)
    assert store.attributes.environment_kind == "franka_kitchen"
    check_compatible(store, replace(KITCHEN, horizon=60))
    with pytest.raises(ForeignStoreError, match="kind 'robohive_kitchen', but"):
        check_compatible(store, replace(KITCHEN, kind="robohive_kitchen"))


def test_another_robots_actions_are_refused_even_where_foreign_stores_are_allowed(
    tmp_path: Path,
) -> None:
    arm = make_foreign_store(tmp_path / "arm", episodes=1)
    with pytest.raises(ForeignStoreError, match=r"actions of size 9.*size 3.*env=recorded"):
        check_compatible(arm, KITCHEN, allow_foreign=True)
    fitting = replace(KITCHEN, action_size=3, proprioception_size=4)
    check_compatible(arm, fitting, allow_foreign=True)
    with DemonstrationStore.create(tmp_path / "own", ATTRIBUTES) as own:
        own.append_episode(make_episode(0))
    with pytest.raises(ForeignStoreError, match="proprioception of size 4.*have size 9"):
        check_compatible(own, replace(KITCHEN, proprioception_size=4), allow_foreign=True)


@pytest.mark.parametrize(
    ("cameras", "error", "message"),
    [
        ({"front": (16, 20)}, UnknownNameError, "camera of .*'front'.*top, wrist"),
        ({"top": (112, 112)}, ForeignStoreError, "112 x 112.*have 16 x 20.*env.resolution"),
        ({"top": (16, 20)}, ForeignStoreError, r"actions in \[-1, 1\].*own units"),
    ],
)
def test_recordings_that_an_environment_could_not_have_brought_about_are_refused(
    tmp_path: Path, cameras: dict[str, tuple[int, int]], error: type[Exception], message: str
) -> None:
    arm = make_foreign_store(tmp_path / "arm", episodes=1)
    with pytest.raises(error, match=message):
        check_foreign_recordings(arm, cameras, "my_robot")
