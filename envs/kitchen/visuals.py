"""What a reset randomizes in the looks of the scene: lights, colors and camera poses.

Every episode draws from the environment's generator *after* its physical draws, so that a seed
gives the same physical episode under every preset. What ``shifted`` draws lies outside what
``varied`` draws, in every quantity of the table.

========================  =========  ===========================  ================================
quantity                  ``fixed``  ``varied``                   ``shifted``
========================  =========  ===========================  ================================
camera position           nominal    0 to 2 cm, any direction     3 to 5 cm, any direction
camera rotation           nominal    0 to 1.5 degrees, any axis   2.5 to 4 degrees, any axis
light position            nominal    0 to 0.5 m, any direction    0.7 to 1.0 m, any direction
light strength            1          0.7 to 1.3                   0.4 to 0.6 or 1.4 to 1.7
light color, a channel   1          0.94 to 1.06                 0.80 to 0.90 or 1.10 to 1.20
surface hue               nominal    nominal +- 25 degrees        nominal +- 60 to 180 degrees
surface saturation        nominal    nominal * 0.7 to 1.3,        nominal * 1.5 to 2.0,
                                     whites 0 to 0.15             whites 0.25 to 0.40
surface brightness        nominal    nominal * 0.85 to 1          nominal * 0.6 to 0.75
========================  =========  ===========================  ================================

- Each camera moves by a draw of its own; those that ride on a body (``wrist``) a quarter as far,
  since what they see is near. All others share one draw (``wrist_fk1``, ``left_cap2``,
  ``right_cap2``, free ones), and those with a target are shifted but not turned.
- The strength is one draw an episode for all lights, the head light included. The three
  directional lights keep their aim while they move; the lamp under the hood moves a fifth as far.
- Surfaces are cabinets, counter, the wall's panels and tiles, and the floor; a color tints the
  texture where there is one.
"""

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass

import mujoco
import numpy as np

from egodtm_robot.core.errors import InvalidStateError, UnknownNameError

Intervals = tuple[tuple[float, float], ...]
"""A draw is uniform over their union."""


@dataclass(frozen=True)
class VisualPreset:
    """Ranges of a preset; see the module's table.

    Attributes:
        name: as in ``env.visual=``.
        camera_shift: meters.
        camera_turn: degrees.
        light_shift: meters.
        light_strength: factor.
        light_color: factor of each channel of each light.
        hue: degrees added.
        saturation: factor.
        white_saturation: of surfaces whose nominal color is white.
        brightness: factor.
    """

    name: str
    camera_shift: Intervals = ((0.0, 0.0),)
    camera_turn: Intervals = ((0.0, 0.0),)
    light_shift: Intervals = ((0.0, 0.0),)
    light_strength: Intervals = ((1.0, 1.0),)
    light_color: Intervals = ((1.0, 1.0),)
    hue: Intervals = ((0.0, 0.0),)
    saturation: Intervals = ((1.0, 1.0),)
    white_saturation: Intervals = ((0.0, 0.0),)
    brightness: Intervals = ((1.0, 1.0),)


VISUAL_PRESETS: dict[str, VisualPreset] = {
    preset.name: preset
    for preset in (
        VisualPreset("fixed"),
        VisualPreset(
            "varied",
            camera_shift=((0.0, 0.02),),
            camera_turn=((0.0, 1.5),),
            light_shift=((0.0, 0.5),),
            light_strength=((0.7, 1.3),),
            light_color=((0.94, 1.06),),
            hue=((-25.0, 25.0),),
            saturation=((0.7, 1.3),),
            white_saturation=((0.0, 0.15),),
            brightness=((0.85, 1.0),),
        ),
        VisualPreset(
            "shifted",
            camera_shift=((0.03, 0.05),),
            camera_turn=((2.5, 4.0),),
            light_shift=((0.7, 1.0),),
            light_strength=((0.4, 0.6), (1.4, 1.7)),
            light_color=((0.80, 0.90), (1.10, 1.20)),
            hue=((-180.0, -60.0), (60.0, 180.0)),
            saturation=((1.5, 2.0),),
            white_saturation=((0.25, 0.40),),
            brightness=((0.6, 0.75),),
        ),
    )
}


@dataclass(frozen=True)
class Surface:
    """What is colored as one.

    Attributes:
        materials: of the model.
        white_hue: of the tint where the nominal color has no hue of its own, degrees.
    """

    materials: tuple[str, ...]
    white_hue: float = 0.0


SURFACES: dict[str, Surface] = {
    "cabinets": Surface(("counter_blue", "M_slide_blue", "M_hinge_blue")),
    "counter": Surface(("counter_marble",), white_hue=35.0),
    "wall_panels": Surface(("wall_blue",)),
    "wall_tiles": Surface(("wall_white",), white_hue=210.0),
    "floor": Surface(("MatPlane",), white_hue=30.0),
}

CAMERA_ROWS: tuple[str, ...] = ("left", "right", "top", "wrist", "free")
"""Whose pose each row of the record's camera arrays moves; the last is every other camera's. A row
more would change what every seed draws."""

_MOUNTED_CAMERA_SCALE = 0.25
_LAMP_SCALE = 0.2
# MuJoCo ignores a directional light's position; it stands this far from what it aims at, meters.
_AIM_DISTANCE = np.sqrt(3.0)


def get_visual_preset(name: str) -> VisualPreset:
    """The visual preset of that name.

    Raises:
        UnknownNameError: there is no such preset.
    """
    if name not in VISUAL_PRESETS:
        raise UnknownNameError("visual preset", name, tuple(VISUAL_PRESETS))
    return VISUAL_PRESETS[name]


class KitchenVisuals:
    """The looks of one model: draws them, applies them and puts them back.

    Args:
        model: looks nominal now; changed by :meth:`apply`.
        surfaces: what is colored, by name.
    """

    def __init__(self, model: mujoco.MjModel, surfaces: Mapping[str, Surface] = SURFACES) -> None:
        self._model = model
        self._surfaces = surfaces
        self._materials = [
            np.array([model.material(name).id for name in surface.materials])
            for surface in surfaces.values()
        ]
        self._colors = np.array([model.mat_rgba[ids[0], :3] for ids in self._materials], np.float64)
        self._camera_row = np.array(
            [
                CAMERA_ROWS.index(name if name in CAMERA_ROWS else "free")
                for name in (model.camera(index).name for index in range(model.ncam))
            ]
        )
        self._nominal = {name: values.copy() for name, values in self._looks().items()}
        self._nominal_record = self.draw(VISUAL_PRESETS["fixed"], np.random.default_rng(0))
        self.record = self._nominal_record

    def _looks(self) -> dict[str, np.ndarray]:
        """Views of all arrays of the model that :meth:`apply` changes."""
        model = self._model
        head = model.vis.headlight
        return {
            "cam_pos": model.cam_pos,
            "cam_quat": model.cam_quat,
            "light_pos": model.light_pos,
            "light_dir": model.light_dir,
            "light_diffuse": model.light_diffuse,
            "light_specular": model.light_specular,
            "head_ambient": head.ambient,
            "head_diffuse": head.diffuse,
            "head_specular": head.specular,
            "mat_rgba": model.mat_rgba,
        }

    def draw(self, preset: VisualPreset, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """Looks for one episode, not yet applied.

        Returns:
            float64 arrays by name, C = 5 camera rows (:data:`CAMERA_ROWS`), L lights, S surfaces:
            ``visual_camera_shift`` (C, 3) meters in the camera's frame, ``visual_camera_turn``
            (C, 3) rotation vectors in the camera's frame, radians, ``visual_light_shift`` (L, 3)
            meters, ``visual_light_strength`` (L + 1, 3) factors of each light's color, the head
            light last, ``visual_colors`` (S, 3) RGB.
        """
        lights = self._model.nlight
        strength = _uniform(generator, preset.light_strength, 1)
        return {
            "visual_camera_shift": _directions(generator, len(CAMERA_ROWS))
            * _uniform(generator, preset.camera_shift, len(CAMERA_ROWS))[:, None],
            "visual_camera_turn": _directions(generator, len(CAMERA_ROWS))
            * np.deg2rad(_uniform(generator, preset.camera_turn, len(CAMERA_ROWS)))[:, None],
            "visual_light_shift": _directions(generator, lights)
            * _uniform(generator, preset.light_shift, lights)[:, None],
            "visual_light_strength": strength
            * _uniform(generator, preset.light_color, 3 * (lights + 1)).reshape(-1, 3),
            "visual_colors": self._draw_colors(preset, generator),
        }

    def _draw_colors(self, preset: VisualPreset, generator: np.random.Generator) -> np.ndarray:
        count = len(self._surfaces)
        hues = _uniform(generator, preset.hue, count) / 360.0
        factors = _uniform(generator, preset.saturation, count)
        whites = _uniform(generator, preset.white_saturation, count)
        brightness = _uniform(generator, preset.brightness, count)
        if preset.name == "fixed":
            # Through HSV and back a color may change in its last bit.
            return self._colors.copy()
        colors = np.empty((count, 3))
        for index, surface in enumerate(self._surfaces.values()):
            hue, saturation, value = colorsys.rgb_to_hsv(*self._colors[index])
            if saturation == 0.0:
                hue, saturation = surface.white_hue / 360.0, whites[index]
            else:
                saturation = min(saturation * factors[index], 1.0)
            colors[index] = colorsys.hsv_to_rgb(
                (hue + hues[index]) % 1.0, saturation, value * brightness[index]
            )
        return colors

    def apply(self, record: Mapping[str, np.ndarray]) -> None:
        """Gives the model the looks of a record; nothing of earlier looks remains.

        Cameras and lights of an ``MjData`` follow with ``mj_camlight`` or ``mj_forward``.

        Raises:
            InvalidStateError: an array is missing, or its shape or values do not fit.
        """
        record = self._checked(record)
        model, nominal = self._model, self._nominal
        for name, values in self._looks().items():
            values[:] = nominal[name]
        self._move_cameras(record["visual_camera_shift"], record["visual_camera_turn"])
        for index, shift in enumerate(record["visual_light_shift"]):
            if model.light_type[index] == mujoco.mjtLightType.mjLIGHT_DIRECTIONAL:
                if shift.any():
                    aim = model.light_dir[index] * _AIM_DISTANCE - shift
                    model.light_dir[index] = aim / np.linalg.norm(aim)
                    model.light_pos[index] += shift
            else:
                model.light_pos[index] += _LAMP_SCALE * shift
        strength = record["visual_light_strength"]
        model.light_diffuse[:] *= strength[:-1]
        model.light_specular[:] *= strength[:-1]
        head = model.vis.headlight
        for color in (head.ambient, head.diffuse, head.specular):
            color[:] *= strength[-1]
        for ids, color in zip(self._materials, record["visual_colors"], strict=True):
            model.mat_rgba[ids, :3] = color
        self.record = record

    def _move_cameras(self, shifts: np.ndarray, turns: np.ndarray) -> None:
        model = self._model
        rotation = np.empty(9)
        turn = np.empty(4)
        for index, row in enumerate(self._camera_row):
            scale = 1.0 if model.cam_bodyid[index] == 0 else _MOUNTED_CAMERA_SCALE
            if not shifts[row].any() and not turns[row].any():
                continue
            nominal = self._nominal["cam_quat"][index]
            mujoco.mju_quat2Mat(rotation, nominal)
            model.cam_pos[index] += rotation.reshape(3, 3) @ (scale * shifts[row])
            angle = scale * np.linalg.norm(turns[row])
            axis = turns[row] / max(float(np.linalg.norm(turns[row])), 1e-12)
            mujoco.mju_axisAngle2Quat(turn, axis, angle)
            mujoco.mju_mulQuat(model.cam_quat[index], nominal, turn)

    def _checked(self, record: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        checked = {}
        for name, nominal in self._nominal_record.items():
            values = np.array(record[name], np.float64) if name in record else None
            if values is None or values.shape != nominal.shape or not np.isfinite(values).all():
                got = "nothing" if values is None else f"shape {values.shape}"
                raise InvalidStateError(
                    f"Expected {name} of shape {nominal.shape}, all finite, got {got}. Was the "
                    "record stored with another version of the kitchen?"
                )
            checked[name] = values
        return checked


def _uniform(generator: np.random.Generator, intervals: Intervals, count: int) -> np.ndarray:
    """Float64 (count,) uniform over the union of the intervals."""
    lengths = np.array([high - low for low, high in intervals])
    draws = generator.uniform(size=count) * lengths.sum()
    values = np.full(count, intervals[0][0])
    start = 0.0
    for (low, _), length in zip(intervals, lengths, strict=True):
        inside = (draws >= start) & (draws <= start + length)
        values[inside] = low + draws[inside] - start
        start += length
    return values


def _directions(generator: np.random.Generator, count: int) -> np.ndarray:
    """Float64 (count, 3) unit vectors, uniform over the sphere."""
    vectors = generator.normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
