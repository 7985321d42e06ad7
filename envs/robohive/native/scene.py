"""Compiles the FK1 scene of the installed RoboHive, from the XML that its wheel holds.

Two edits make a current MuJoCo take it, both in memory: the defaults that ``franka_kitchen.xml``
gives a second time to the class ``kettle`` (MuJoCo 3.1.3 merged them) stand on the six joints that
inherit them, and the asset of the kettle is read as :func:`envs.robohive.simhive.kettle_asset`
reads it. All that moves is then as MuJoCo 3.1.3 compiles it.
"""

import copy
import functools
import importlib.util
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import mujoco

from envs.cameras import Camera
from envs.mujoco_models import add_cameras, remove_textures
from envs.robohive.native.cameras import ADDED_CAMERAS
from envs.robohive.native.package import import_robohive
from envs.robohive.simhive import KETTLE_ASSET, kettle_asset, simhive_folder

_XML = "envs/multi_task/common/kitchen/franka_kitchen.xml"
_ASSETS_FROM_XML = "../../../../simhive"
_KETTLE_JOINT = {"damping": "0", "frictionloss": "0", "pos": "0 0 0", "limited": "true"}


def fk1_spec(cameras: Sequence[Camera] = ()) -> mujoco.MjSpec:
    """RoboHive's FK1 scene as an editable specification, with further cameras in it.

    Args:
        cameras: free ones, beside RoboHive's own and :data:`ADDED_CAMERAS`.

    Raises:
        RoboHiveNotFoundError: see :func:`envs.robohive.native.package.import_robohive`.
        SimhiveNotFoundError: see :func:`envs.robohive.simhive.simhive_folder`.
    """
    import_robohive()
    package = importlib.util.find_spec("robohive")
    assert package is not None
    assert package.origin is not None
    spec = mujoco.MjSpec.from_string(_xml(Path(package.origin).parent, simhive_folder()))
    add_cameras(spec, [*ADDED_CAMERAS, *cameras])
    return spec


def build_model(cameras: Sequence[Camera] = ()) -> mujoco.MjModel:
    """The scene without textures, compiled once a process; every call gives a copy."""
    return copy.copy(_compiled(simhive_folder(), tuple(cameras)))


def textured_model() -> mujoco.MjModel:
    """The scene with its textures; otherwise the same as :func:`build_model`'s."""
    return fk1_spec().compile()


@functools.lru_cache(maxsize=8)
def _compiled(folder: Path, cameras: tuple[Camera, ...]) -> mujoco.MjModel:
    del folder  # another folder is another scene
    spec = fk1_spec(cameras)
    remove_textures(spec)
    return spec.compile()


def _xml(package: Path, simhive: Path) -> str:
    root = ET.parse(package / _XML).getroot()
    for parent in list(root.iter()):
        for index, element in reversed(list(enumerate(parent))):
            file = element.get("file", "")
            if element.tag == "include" and file.endswith(f"{KETTLE_ASSET}.xml"):
                parent[index : index + 1] = kettle_asset(simhive)
            elif element.tag == "default" and element.find("default[@class='kettle']") is not None:
                if not file and parent is root and element.find(".//geom") is None:
                    parent.remove(element)
            elif element.tag == "joint" and element.get("class") == "kettle":
                for name, value in _KETTLE_JOINT.items():
                    element.set(name, value)
            for name in ("file", "meshdir", "texturedir"):
                path = element.get(name, "")
                if path.startswith(_ASSETS_FROM_XML):
                    element.set(name, path.replace(_ASSETS_FROM_XML, str(simhive), 1))
    return ET.tostring(root, "unicode")
