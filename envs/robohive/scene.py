"""Builds RoboHive's FK1 kitchen from its own assets (simhive), which are not part of this package.

RoboHive itself is not imported here (:mod:`envs.robohive.native` does that). The scene is composed
as its ``franka_kitchen.xml`` (Vikash Kumar, Apache-2.0) composes it, from the same files, and then
given the names of :mod:`envs.kitchen`, so that tasks, resets, experts and observations are shared.
Three things differ from that file: the kettle rides on one free joint
instead of three slides and three hinges, the mocap body of the teleoperation is left out, and so
are the key frames, whose posture is :data:`envs.kitchen.scene.ROBOT_REST`.
"""

import copy
import functools
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import mujoco

from envs.cameras import Camera
from envs.kitchen.cameras import KITCHEN_CAMERAS
from envs.kitchen.scene import (
    BASE_BODY,
    KETTLE_JOINT,
    KITCHEN_BODY,
    rename_joints,
)
from envs.mujoco_models import add_cameras, remove_textures
from envs.robohive.simhive import KETTLE_ASSET, kettle_asset, simhive_folder

KETTLE_REST = (-0.269, 0.35, 1.6203)
"""Where the kettle's body stands at reset, world meters: on its burner, where RoboHive lets it fall
from a centimeter above."""

JOINT_NAMES = {
    "knob1_joint": "knob1",
    "knob2_joint": "knob2",
    "knob3_joint": "knob3",
    "knob4_joint": "knob4",
    "lightswitch_joint": "light",
    "slidedoor_joint": "slide_cabinet",
    "leftdoorhinge": "left_hinge",
    "rightdoorhinge": "right_hinge",
    "micro0joint": "microwave",
}

_ASSETS = (
    "scene_sim/topfloor_scene",
    "franka_sim/assets/assets",
    "franka_sim/assets/gripper_assets",
    "franka_sim/assets/actuator0",
    "franka_sim/assets/gripper_actuator0",
    "furniture_sim/oven/oven_asset",
    "furniture_sim/counters/counters_asset",
    "furniture_sim/backwall/backwall_asset",
    "furniture_sim/slidecabinet/slidecabinet_asset",
    "furniture_sim/hingecabinet/hingecabinet_asset",
    "furniture_sim/microwave/microwave_asset",
    KETTLE_ASSET,
)

# Each part of the kitchen: where its body stands, how it is turned, and its files.
_FURNITURE = (
    ("counters", "0 0 0", "0 0 0", ("counters/sink_counter_body", "counters/box_counter_body")),
    ("oven", "0 0 0", "0 0 0", ("oven/oven_body",)),
    ("slidecabinet", "0.4 0.28 2.6", "0 0 0", ("slidecabinet/slidecabinet_body",)),
    ("hingecabinet", "-0.504 0.28 2.6", "0 0 0", ("hingecabinet/hingecabinet_body",)),
    ("microwave", "-0.750 -0.025 1.6", "0 0 0.3", ("microwave/microwave_body0",)),
)


def robohive_spec(
    cameras: Sequence[Camera] = tuple(KITCHEN_CAMERAS.values()),
) -> mujoco.MjSpec:
    """RoboHive's FK1 kitchen as an editable specification, with the given cameras in it.

    Raises:
        SimhiveNotFoundError: see :func:`envs.robohive.simhive.simhive_folder`.
    """
    folder = simhive_folder()
    spec = mujoco.MjSpec.from_string(_xml(folder))
    rename_joints(spec, JOINT_NAMES)
    for site in spec.sites:
        if site.name == "kettle_site0":
            site.name = "kettle_site"
    add_cameras(spec, cameras)
    return spec


def build_model(
    cameras: Sequence[Camera] = tuple(KITCHEN_CAMERAS.values()),
) -> mujoco.MjModel:
    """RoboHive's kitchen without textures, compiled once a process; every call gives a copy."""
    return copy.copy(_compiled(simhive_folder(), tuple(cameras)))


def textured_model(
    cameras: Sequence[Camera] = tuple(KITCHEN_CAMERAS.values()),
) -> mujoco.MjModel:
    """RoboHive's kitchen with its textures; otherwise the same as :func:`build_model`'s."""
    return robohive_spec(cameras).compile()


@functools.lru_cache(maxsize=8)
def _compiled(folder: Path, cameras: tuple[Camera, ...]) -> mujoco.MjModel:
    del folder  # another folder is another kitchen
    spec = robohive_spec(cameras)
    remove_textures(spec)
    return spec.compile()


def _xml(folder: Path) -> str:
    def include(file: str) -> str:
        return f'<include file="{folder / file}.xml"/>'

    kettle = "".join(ET.tostring(element, "unicode") for element in kettle_asset(folder))
    assets = "".join(kettle if file == KETTLE_ASSET else include(file) for file in _ASSETS)
    furniture = "".join(
        f'<body name="{name}" pos="{position}" euler="{turn}">'
        + "".join(include(f"furniture_sim/{file}") for file in files)
        + "</body>"
        for name, position, turn, files in _FURNITURE
    )
    return f"""
<mujoco model="Franka_in_Kitchen">
  {assets}
  <visual>
    <quality shadowsize="4096" offsamples="4"/>
    <map force="0.1" fogend="5"/>
  </visual>
  <compiler inertiafromgeom="auto" inertiagrouprange="3 5" angle="radian"
    meshdir="{folder}/franka_sim" texturedir="{folder}/franka_sim"/>
  <worldbody>
    <body name="{BASE_BODY}" pos="0 0 1.8" euler="0 0 1.57">
      <geom type="cylinder" size=".120 .90" pos="-.04 0 -0.90" class="panda_viz"/>
      {include("franka_sim/assets/chain0")}
    </body>
    <body name="{KITCHEN_BODY}" pos="-0.1 0.75 0">{furniture}</body>
    <body name="kettle0" pos="{" ".join(map(str, KETTLE_REST))}">
      <freejoint name="{KETTLE_JOINT}"/>
      {include("furniture_sim/kettle/kettle_body0")}
    </body>
  </worldbody>
</mujoco>
"""
