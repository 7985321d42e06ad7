"""RoboHive's assets (simhive): where they lie, and how their kettle is read by a current MuJoCo.

The assets are three repositories of their own, furniture_sim, franka_sim and scene_sim. Two states
of furniture_sim are in use: the one that RoboHive 0.7.0's ``robohive_init`` checks out, and the
newest. They differ in two textures and in where ``kettle_asset.xml`` puts its defaults, which a
current MuJoCo takes in the newest form alone; :func:`kettle_asset` gives both the same form.
"""

import importlib.util
import os
import xml.etree.ElementTree as ET
from pathlib import Path

from egodtm_robot.core.errors import EgoDTMRobotError

PATH_VARIABLE = "ROBOHIVE_SIMHIVE"
"""Environment variable with the folder that holds franka_sim, furniture_sim and scene_sim."""

KETTLE_ASSET = "furniture_sim/kettle/kettle_asset"
"""Meshes, materials and defaults of the kettle, without its suffix ``.xml``."""

# One file of each part: robohive_init leaves empty folders where it could not clone.
_PROBES = (
    "franka_sim/assets/assets.xml",
    "furniture_sim/kettle/kettle_asset.xml",
    "scene_sim/topfloor_scene.xml",
)


class SimhiveNotFoundError(EgoDTMRobotError, FileNotFoundError):
    """RoboHive's assets are not where they are looked for."""


def simhive_folder() -> Path:
    """The folder with RoboHive's assets.

    The one that ``ROBOHIVE_SIMHIVE`` names, else the one that ``robohive_init`` fills inside an
    installed RoboHive.

    Raises:
        SimhiveNotFoundError: there is none, or a part of it is missing or empty.
    """
    given = os.environ.get(PATH_VARIABLE, "")
    folder = Path(given).expanduser() if given else _folder_of_robohive()
    if folder is None:
        raise SimhiveNotFoundError(
            f"Expected RoboHive's assets; {PATH_VARIABLE} is not set and no robohive is installed. "
            "Clone franka_sim, furniture_sim and scene_sim from github.com/vikashplus into one "
            f"folder and set {PATH_VARIABLE} to it."
        )
    parts = {part: file for part, _, file in (probe.partition("/") for probe in _PROBES)}
    lacking = [
        f"{part} has no {file}" if (folder / part).is_dir() else f"{part} is not there"
        for part, file in parts.items()
        if not (folder / part / file).is_file()
    ]
    if lacking:
        how = (
            "Clone what is missing from github.com/vikashplus"
            if given
            else "Run robohive_init, which fills the folder and needs to reach github.com (it "
            "leaves empty folders and reports success where it could not)"
        )
        raise SimhiveNotFoundError(
            f"Expected {', '.join(parts)} in {folder}; {', '.join(lacking)}. {how}, or set "
            f"{PATH_VARIABLE} to another folder."
        )
    return folder.resolve()


def _folder_of_robohive() -> Path | None:
    # find_spec does not run the package, which needs edits on a current MuJoCo.
    spec = importlib.util.find_spec("robohive")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "simhive"


def kettle_asset(folder: Path) -> list[ET.Element]:
    """The contents of ``kettle_asset.xml`` with its defaults inside an outer ``<default>``.

    Args:
        folder: see :func:`simhive_folder`.
    """
    contents = list(ET.parse(folder / f"{KETTLE_ASSET}.xml").getroot())
    for index, element in enumerate(contents):
        if element.tag == "default" and "class" in element.attrib:
            contents[index] = ET.Element("default")
            contents[index].append(element)
    return contents
