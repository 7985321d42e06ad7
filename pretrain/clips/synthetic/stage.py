"""Draws clips: one MuJoCo model whose parts are set again for every scene.

Compiling a model and loading it into the graphics library takes longer than drawing four frames.
So each process compiles one model, a stage: all meshes and surfaces, two hands, a camera, lights,
and a pool of empty geoms. A scene tells each geom it needs what to be, and each frame where to
stand. Nothing is simulated: poses are written where kinematics would leave them, so that ray casts
see what is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import mujoco
import numpy as np

from egodtm_robot.core.drawing.offscreen import OffscreenRenderer
from pretrain.clips.dense import DenseKind, Label
from pretrain.clips.synthetic.hand import SIDES, Side, hand_shape
from pretrain.clips.synthetic.meshes import all_meshes
from pretrain.clips.synthetic.poses import quaternions
from pretrain.clips.synthetic.textures import Surface
from pretrain.clips.synthetic.truth import FINER, Solids, class_number, dense_truth

NEAR, FAR = 0.03, 12.0
"""Nearest and farthest distance that is drawn, meters."""

POOL = 300
"""Most parts of a scene."""

_TRACKS = 48
_HIDDEN = 5
_LIGHTS = 3

SHAPES: dict[str, int] = {
    "box": mujoco.mjtGeom.mjGEOM_BOX.value,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE.value,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE.value,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER.value,
    "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID.value,
}


@dataclass(frozen=True)
class Part:
    """One solid of a thing.

    Attributes:
        shape: a name in :data:`SHAPES` or of a mesh.
        size: MuJoCo's half sizes, meters; of meshes, nothing.
        local: float (4, 4), its pose on the thing.
        surface: index in the bank of surfaces, -1 for none.
        color: red, green, blue, opacity.
        label: what it is, a name in :data:`pretrain.clips.dense.CLASSES`; None for its thing's.
    """

    shape: str
    size: tuple[float, float, float]
    local: np.ndarray
    surface: int
    color: tuple[float, float, float, float]
    label: Label | None = None


@dataclass
class Thing:
    """Parts that move together.

    Attributes:
        parts: its solids.
        poses: float (T, 4, 4), in the world.
        track: number in masks and boxes; None for the room.
        opacity: float (T,) that multiplies the colors' own, or None.
        label: what its parts are, those that do not say themselves.
        is_shadow: whether it lies on the room like paint, and is no surface of its own.
    """

    parts: list[Part]
    poses: np.ndarray
    track: int | None = None
    opacity: np.ndarray | None = None
    label: Label = "room"
    is_shadow: bool = False


@dataclass
class Light:
    """A lamp in the room, or the sun.

    Attributes:
        position: meters.
        direction: where it shines.
        color: red, green, blue.
        kind: ``point``, ``spot`` or ``directional``.
    """

    position: np.ndarray
    direction: np.ndarray
    color: np.ndarray
    kind: str


@dataclass
class Picture:
    """All that is drawn in one clip of T frames.

    Attributes:
        things: room, furniture, objects, limbs.
        hands: bones of each hand that is seen, float (T, 25, 4, 4).
        camera: float (T, 4, 4), looking along -z.
        field_of_view: vertical, degrees.
        lights: up to three.
        ambient: light without direction, 0 to 1.
        headlight: light from the camera, 0 to 1.
        skin: color of the hands.
    """

    things: list[Thing]
    hands: dict[Side, np.ndarray]
    camera: np.ndarray
    field_of_view: float
    lights: list[Light]
    ambient: float
    headlight: float
    skin: tuple[float, float, float]
    frames: int = field(init=False)

    def __post_init__(self) -> None:
        self.frames = len(self.camera)


@dataclass
class Drawing:
    """What was drawn.

    Attributes:
        frames: uint8 (T, H, W, 3).
        depth: float32 (T, h, w), meters along the optical axis at the centers of the map's pixels.
        masks: uint8 (T, h, w), track + 1, 0 for the room.
        dense: further truth by kind, see :mod:`pretrain.clips.dense`.
    """

    frames: np.ndarray
    depth: np.ndarray
    masks: np.ndarray
    dense: dict[DenseKind, np.ndarray]


class Stage:
    """The model and its renderers.

    Args:
        bank: surfaces; parts name them by index.
        resolution: side of the frames, pixels.
        map_resolution: side of depth maps and masks, pixels.
        dense: kinds of further truth to draw.
    """

    def __init__(
        self,
        bank: Sequence[Surface],
        resolution: int,
        map_resolution: int,
        dense: Sequence[DenseKind] = (),
    ) -> None:
        self.model = _compile(bank)
        self.data = mujoco.MjData(self.model)
        mujoco.mj_forward(self.model, self.data)
        self._first_geom = self.model.geom("pool0").id
        self._first_track = self.model.body("track0").id
        self._bones = {
            side: np.array(
                [self.model.body(f"{side}/{name}").id for name in hand_shape(side).names]
            )
            for side in SIDES
        }
        self._mesh_ids = {name: self.model.mesh(name).id for name in all_meshes()}
        self._mesh_poses = {}
        for name, index in self._mesh_ids.items():
            # The compiler moves meshes into their principal axes.
            rotation = np.zeros(9)
            mujoco.mju_quat2Mat(rotation, self.model.mesh_quat[index])
            matrix = np.eye(4)
            matrix[:3, :3] = rotation.reshape(3, 3)
            matrix[:3, 3] = self.model.mesh_pos[index]
            self._mesh_poses[name] = matrix
        self._materials = {
            index: self.model.material(f"surface{index}").id for index in range(len(bank))
        }
        self._tracks = np.zeros(self.model.nbody + 1, np.uint8)  # -1, the background, is the last
        for track in range(_TRACKS):
            self._tracks[self._first_track + track] = track + 1
        for track, side in enumerate(SIDES):
            self._tracks[self._bones[side]] = track + 1
        self._colors = OffscreenRenderer(self.model, resolution, resolution)
        self._maps = OffscreenRenderer(self.model, map_resolution, map_resolution)
        # Another look is drawn by :meth:`draw_frames`.
        self._dense: list[DenseKind] = [kind for kind in dense if kind != "looks"]
        finer = FINER * map_resolution
        self._solids = OffscreenRenderer(self.model, finer, finer) if self._dense else None

    def close(self) -> None:
        """Frees the graphics memory."""
        self._colors.close()
        self._maps.close()
        if self._solids is not None:
            self._solids.close()

    def draw(self, picture: Picture) -> Drawing:
        """Draws all frames of a clip."""
        self._set_scene(picture)
        frames, depth, masks, solids = [], [], [], []
        for index in range(picture.frames):
            self.set_frame(index)
            frames.append(self._colors.draw(self.data, "head")["rgb"])
            maps = self._maps.draw(self.data, "head", ("depth", "segmentation"))
            depth.append(maps["depth"])
            masks.append(self._tracks[maps["segmentation"]])
            if self._solids is not None:
                solids.append(self._solids.draw_solids(self.data, "head"))
        dense = dense_truth(self._read(picture, solids), self._dense) if solids else {}
        return Drawing(np.stack(frames), np.stack(depth), np.stack(masks), dense)

    def draw_frames(self, picture: Picture) -> np.ndarray:
        """The frames of a clip alone, uint8 (T, H, W, 3)."""
        self._set_scene(picture)
        frames = []
        for index in range(picture.frames):
            self.set_frame(index)
            frames.append(self._colors.draw(self.data, "head")["rgb"])
        return np.stack(frames)

    def _read(self, picture: Picture, drawn: list[tuple[np.ndarray, np.ndarray]]) -> Solids:
        """What the truth is worked out from; skin and nothing come behind all parts."""
        things = picture.things
        owners = [index for index, thing in enumerate(things) for _ in thing.parts]
        parts = [part for thing in things for part in thing.parts]
        labels = [
            part.label or things[owner].label for part, owner in zip(parts, owners, strict=True)
        ]
        labels += ["hand", "room"]
        # A shadow is a spot of the room, which is the first thing.
        rigid = [0 if things[owner].is_shadow else owner for owner in owners]
        depth = np.stack([one for one, _ in drawn])
        part = np.stack([one for _, one in drawn])
        first = self._first_geom
        # Geoms are numbered through the model, skins by -2 - their number.
        part = np.where(part >= first, part - first, np.where(part < -1, -2, -1))
        return Solids(
            depth=depth,
            part=part,
            label=np.array([class_number(label) for label in labels]),
            thing=np.array([*rigid, -1, -1]),
            is_box=np.array([*(one.shape == "box" for one in parts), False, False]),
            half=np.array([*(one.size for one in parts), (0, 0, 0), (0, 0, 0)], dtype=float),
            parts=self._world,
            things=np.stack([thing.poses for thing in things], axis=1),
            camera=picture.camera,
            field_of_view=picture.field_of_view,
        )

    def _set_scene(self, picture: Picture) -> None:
        model = self.model
        self._picture = picture
        parts = [part for thing in picture.things for part in thing.parts]
        owners = np.repeat(
            np.arange(len(picture.things)), [len(thing.parts) for thing in picture.things]
        )
        if len(parts) > POOL:
            raise RuntimeError(f"A scene has {len(parts)} parts; the stage holds {POOL}.")
        pool = slice(self._first_geom, self._first_geom + POOL)
        used = slice(self._first_geom, self._first_geom + len(parts))
        model.geom_group[pool] = _HIDDEN
        model.geom_group[used] = 0
        is_mesh = [part.shape in self._mesh_ids for part in parts]
        model.geom_type[used] = [
            mujoco.mjtGeom.mjGEOM_MESH.value if mesh else SHAPES[part.shape]
            for part, mesh in zip(parts, is_mesh, strict=True)
        ]
        model.geom_dataid[used] = [self._mesh_ids.get(part.shape, -1) for part in parts]
        model.geom_size[used] = [part.size for part in parts]
        model.geom_matid[used] = [self._materials.get(part.surface, -1) for part in parts]
        model.geom_rgba[used] = self._rgba = np.array([part.color for part in parts])
        tracks = [thing.track for thing in picture.things]
        bodies = np.array([0 if track is None else self._first_track + track for track in tracks])
        model.geom_bodyid[used] = bodies[owners]
        local = np.stack(
            [
                part.local @ self._mesh_poses[part.shape] if mesh else part.local
                for part, mesh in zip(parts, is_mesh, strict=True)
            ]
        )
        world = np.stack([thing.poses for thing in picture.things], axis=1)
        self._world = world[:, owners] @ local
        opacity = np.ones((picture.frames, len(picture.things)))
        for index, thing in enumerate(picture.things):
            if thing.opacity is not None:
                opacity[:, index] = thing.opacity
        self._opacity = opacity[:, owners]
        self._used = used
        for index in range(_LIGHTS):
            model.light_active[index] = index < len(picture.lights)
        for index, light in enumerate(picture.lights):
            model.light_type[index] = {
                "spot": mujoco.mjtLightType.mjLIGHT_SPOT.value,
                "directional": mujoco.mjtLightType.mjLIGHT_DIRECTIONAL.value,
                "point": mujoco.mjtLightType.mjLIGHT_POINT.value,
            }[light.kind]
            model.light_diffuse[index] = light.color
            self.data.light_xpos[index] = light.position
            self.data.light_xdir[index] = light.direction
        model.vis.headlight.ambient[:] = picture.ambient
        model.vis.headlight.diffuse[:] = picture.headlight
        model.cam_fovy[0] = picture.field_of_view
        for side in SIDES:
            skin = model.skin(side).id
            model.skin_rgba[skin] = (*picture.skin, 1.0)
            if side not in picture.hands:
                # Out of sight: behind the camera, where nothing is drawn.
                self.data.xpos[self._bones[side]] = [0.0, 0.0, -50.0]
        self._quaternions = {
            side: quaternions(bones[..., :3, :3]) for side, bones in picture.hands.items()
        }

    def set_frame(self, index: int) -> None:
        """Puts everything where it is in that frame of the clip that was drawn last."""
        data, used = self.data, self._used
        data.geom_xpos[used] = self._world[index, :, :3, 3]
        data.geom_xmat[used] = self._world[index, :, :3, :3].reshape(-1, 9)
        self.model.geom_rgba[used, 3] = self._rgba[:, 3] * self._opacity[index]
        for side, bones in self._picture.hands.items():
            data.xpos[self._bones[side]] = bones[index, :, :3, 3]
            data.xquat[self._bones[side]] = self._quaternions[side][index]
        data.cam_xpos[0] = self._picture.camera[index, :3, 3]
        data.cam_xmat[0] = self._picture.camera[index, :3, :3].reshape(9)


def _compile(bank: Sequence[Surface]) -> mujoco.MjModel:
    spec = mujoco.MjSpec()
    spec.visual.map.znear, spec.visual.map.zfar = NEAR, FAR
    spec.stat.extent = 1.0
    spec.stat.center = [0, 0, 0]
    spec.visual.headlight.specular = [0.05] * 3
    for index, surface in enumerate(bank):
        name = f"surface{index}"
        height, width, channels = surface.image.shape
        texture = spec.add_texture(
            name=name,
            type=mujoco.mjtTexture.mjTEXTURE_2D,
            width=width,
            height=height,
            nchannel=channels,
        )
        texture.data = surface.image.tobytes()
        material = spec.add_material(
            name=name,
            specular=surface.specular,
            shininess=0.4,
            reflectance=0,
            texrepeat=surface.repeat,
            texuniform=not surface.coordinates,
        )
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    for name, mesh in all_meshes().items():
        spec.add_mesh(
            name=name,
            uservert=mesh.vertices.ravel(),
            userface=mesh.faces.ravel(),
            usertexcoord=mesh.texture.ravel(),
            userfacetexcoord=np.arange(3 * len(mesh.faces)),
            inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
        )
    world = spec.worldbody
    world.add_camera(name="head")
    for _ in range(_LIGHTS):
        world.add_light(castshadow=False, ambient=[0, 0, 0], specular=[0.2] * 3, cutoff=60)
    for index in range(POOL):
        world.add_geom(name=f"pool{index}", size=[0.1] * 3, contype=0, conaffinity=0, group=_HIDDEN)
    for index in range(_TRACKS):
        world.add_body(name=f"track{index}")
    skin_surface = f"surface{len(bank) - 1}"
    for side in SIDES:
        _add_hand(spec, side, skin_surface)
    return spec.compile()


def _add_hand(spec: mujoco.MjSpec, side: Side, material: str) -> None:
    shape = hand_shape(side)
    for name in shape.names:
        spec.worldbody.add_body(name=f"{side}/{name}")
    moving = [bone for bone, members in enumerate(shape.members) if len(members)]
    spec.add_skin(
        name=side,
        material=material,
        vert=shape.vertices.ravel(),
        texcoord=shape.texture.ravel(),
        face=shape.faces.ravel(),
        bodyname=[f"{side}/{shape.names[bone]}" for bone in moving],
        bindpos=shape.bind[moving, :3, 3].ravel(),
        bindquat=quaternions(shape.bind[moving, :3, :3]).ravel(),
        vertid=[shape.members[bone].tolist() for bone in moving],
        vertweight=[shape.weights[bone].tolist() for bone in moving],
    )
