"""Our arm and kitchen against RoboHive's own assets, where a folder of samples has them."""

from collections.abc import Callable
from pathlib import Path

import mujoco
import numpy as np
import pytest

from envs.kitchen.scene import ROBOT_COMMAND_RANGE, ROBOT_JOINTS, build_model


def test_the_arm_moves_as_robohives(sample: Callable[[str], Path]) -> None:
    theirs = mujoco.MjModel.from_xml_path(str(sample("simhive/franka_sim/franka_panda.xml")))
    ours = build_model()
    for index, name in enumerate(ROBOT_JOINTS):
        one, two = ours.joint(name), theirs.joint(name)
        assert np.array_equal(one.range, two.range), name
        for quantity in ("dof_damping", "dof_armature", "dof_frictionloss"):
            values = (
                getattr(ours, quantity)[one.dofadr[0]],
                getattr(theirs, quantity)[two.dofadr[0]],
            )
            assert values[0] == values[1], (name, quantity)
        assert ours.actuator_gainprm[index, 0] == theirs.actuator_gainprm[index, 0], name
        assert np.array_equal(ours.actuator_forcerange[index], theirs.actuator_forcerange[index])
        # The wheel's command range of the sixth joint is wider; the environment clips to FK1's.
        assert np.array_equal(ROBOT_COMMAND_RANGE[index], theirs.actuator_ctrlrange[index]), name


@pytest.mark.parametrize(
    ("file", "theirs_name", "name"),
    [
        ("microwave", "micro0joint", "microwave"),
        ("slidecabinet", "slidedoor_joint", "slide_cabinet"),
        ("hingecabinet", "leftdoorhinge", "left_hinge"),
        ("hingecabinet", "rightdoorhinge", "right_hinge"),
        ("oven", "knob1_joint", "knob1"),
        ("oven", "lightswitch_joint", "light"),
    ],
)
def test_the_kitchen_opens_as_robohives(
    sample: Callable[[str], Path], file: str, theirs_name: str, name: str
) -> None:
    path = sample(f"simhive/furniture_sim/{file}.xml")
    theirs = mujoco.MjModel.from_xml_path(str(path))
    ours = build_model()
    one, two = ours.joint(name), theirs.joint(theirs_name)
    assert np.array_equal(one.range, two.range)
    for quantity in ("dof_damping", "dof_frictionloss"):
        assert getattr(ours, quantity)[one.dofadr[0]] == getattr(theirs, quantity)[two.dofadr[0]]
