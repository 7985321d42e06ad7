"""Off-screen drawing of MuJoCo scenes: RGB, metric depth and segmentation.

One OpenGL context lives in each process that draws. What the graphics library holds of a model
(meshes, textures, buffers) depends on neither poses nor colors, lights and cameras, so that all
renderers of a process with the same assets and quality share it, whatever their sizes; each frame's
scene comes from the renderer's own model and data.

==================  ==========================================  =================================
quality             ``fast``                                    ``full``
==================  ==========================================  =================================
shadows             no                                          yes
reflections         no                                          yes
sky                 black                                       MuJoCo's
multisampling       no                                          as the model asks (8 in the kitchen)
meshes              at most 700 faces each                      as they are
round primitives    10 slices, 4 stacks                         as the model asks (28, 16)
flat primitives     one quad a side                             as the model asks (4 x 4)
==================  ==========================================  =================================

Meshes are decimated in a copy of the model that only the graphics library sees: physics, ray casts
and the caller's model stay untouched.
"""

import atexit
import copy
import hashlib
import importlib
import os
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from types import TracebackType

import mujoco
import numpy as np

from egodtm_robot.core.drawing.gl import (
    EGL_PACKAGES,
    OSMESA_PACKAGES,
    ensure_backend,
    select_backend,
)
from egodtm_robot.core.drawing.mesh_decimation import decimate_meshes
from egodtm_robot.core.errors import RenderingError, UnknownNameError

MODALITIES: tuple[str, ...] = ("rgb", "depth", "segmentation")

BACKGROUND = -1
"""Body id of pixels in segmentation that show no body."""


@dataclass(frozen=True)
class Quality:
    """What to leave out of MuJoCo's own look; see the module's table.

    Attributes:
        name: as in ``env.quality=``.
        effects: draw shadows, reflections and the sky.
        multisampling: smooth edges as the model asks for.
        mesh_faces: most faces of a mesh; None keeps all.
        slices: around spheres, cylinders and capsules; None: as the model asks.
        stacks: along them; None: as the model asks.
        quads: along a side of boxes and planes; None: as the model asks.
    """

    name: str
    effects: bool
    multisampling: bool
    mesh_faces: int | None = None
    slices: int | None = None
    stacks: int | None = None
    quads: int | None = None


QUALITIES: dict[str, Quality] = {
    quality.name: quality
    for quality in (
        Quality("fast", False, False, mesh_faces=700, slices=10, stacks=4, quads=1),
        Quality("full", True, True),
    )
}

_EFFECTS = (
    mujoco.mjtRndFlag.mjRND_SHADOW,
    mujoco.mjtRndFlag.mjRND_REFLECTION,
    mujoco.mjtRndFlag.mjRND_SKYBOX,
    mujoco.mjtRndFlag.mjRND_HAZE,
)

_HEADLESS_HELP = (
    "On a Debian machine without a display install "
    f"{', '.join(EGL_PACKAGES)} (or, instead, {', '.join(OSMESA_PACKAGES)})."
)


class _DrawingContext:
    """What the graphics library holds of one set of assets at one quality.

    Args:
        drawn: the model to load; it is changed.
        height: of the image buffer, pixels.
        width: of the image buffer, pixels.
        quality: what to leave out.
    """

    def __init__(self, drawn: mujoco.MjModel, height: int, width: int, quality: Quality) -> None:
        if quality.mesh_faces is not None:
            decimate_meshes(drawn, quality.mesh_faces)
        drawn.vis.global_.offheight = height
        drawn.vis.global_.offwidth = width
        settings = drawn.vis.quality
        settings.numslices = quality.slices or settings.numslices
        settings.numstacks = quality.stacks or settings.numstacks
        settings.numquads = quality.quads or settings.numquads
        if not quality.multisampling:
            settings.offsamples = 0
        if not quality.effects:
            settings.shadowsize = 0
            # Loading the sky takes longer than everything else; its first pixels stand in for it.
            sky = drawn.tex_type == mujoco.mjtTexture.mjTEXTURE_SKYBOX
            drawn.tex_width[sky] = 1
            drawn.tex_height[sky] = 6
        self.native = mujoco.MjrContext(drawn, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        # Distant things then keep their float precision: the buffer runs from 1 near to 0 far.
        self.native.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self.users = 0

    def make_room(self, height: int, width: int) -> None:
        """Enlarges the image buffer if it is smaller than that; the rest is kept.

        Raises:
            RenderingError: the graphics library gives no buffer of that size.
        """
        native = self.native
        if native.offWidth < width or native.offHeight < height:
            mujoco.mjr_resizeOffscreen(
                max(width, native.offWidth), max(height, native.offHeight), native
            )
        if native.offWidth < width or native.offHeight < height:
            raise RenderingError(
                f"Expected an image buffer of {height} x {width} pixels; the graphics library "
                f"gave {native.offHeight} x {native.offWidth}. Ask for fewer pixels."
            )


class _Process:
    """The OpenGL context of this process and what is loaded into it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.drawing: dict[tuple[Hashable, Quality], _DrawingContext] = {}
        if (backend := select_backend()) is None:
            ensure_backend()
        try:
            # From the backend's own module: mujoco.gl_context keeps whatever MUJOCO_GL said when
            # MuJoCo was first imported, which may have been before it was set.
            module = f"mujoco.{backend}" if backend in ("egl", "osmesa") else "mujoco.gl_context"
            self.gl = importlib.import_module(module).GLContext(64, 64)
            self.gl.make_current()
        # Each backend fails in its own way: ImportError, RuntimeError, GLError, AttributeError.
        except Exception as error:
            raise RenderingError(
                f"Expected an off-screen OpenGL context (MUJOCO_GL="
                f"{os.environ.get('MUJOCO_GL', '')!r}), got {type(error).__name__}: {error} "
                f"{_HEADLESS_HELP}"
            ) from error
        # Runs before the backend's own exit handler, which was registered earlier.
        atexit.register(self.close)

    def make_current(self) -> None:
        if self.owner != os.getpid():
            raise RenderingError(
                "This process was forked from one that had drawn already, and OpenGL does not "
                'survive a fork. Start workers with multiprocessing.get_context("spawn").'
            )
        try:
            self.gl.make_current()
        except Exception as error:
            raise RenderingError(
                "The OpenGL context of this process is in use by another thread; draw from one "
                f"thread only. ({type(error).__name__}: {error})"
            ) from error

    def close(self) -> None:
        if self.owner != os.getpid():
            return
        self.gl.make_current()
        for drawing in self.drawing.values():
            drawing.native.free()
        self.drawing.clear()
        self.gl.free()
        global _process
        _process = None


_process: _Process | None = None


def _this_process() -> _Process:
    global _process
    if _process is None:
        _process = _Process()
    return _process


def _assets_digest(model: mujoco.MjModel) -> str:
    """Hash of everything that is loaded into the graphics library."""
    digest = hashlib.blake2b(digest_size=16)
    for name in (
        "mesh_vert",
        "mesh_normal",
        "mesh_face",
        "mesh_facenormal",
        "mesh_facetexcoord",
        "mesh_texcoord",
        "mesh_vertadr",
        "mesh_faceadr",
        "mesh_facenum",
        "tex_type",
        "tex_height",
        "tex_width",
        "tex_data",
        "mat_texid",
        "mat_texuniform",
        "mat_texrepeat",
        "hfield_data",
        "hfield_size",
    ):
        values = np.ascontiguousarray(getattr(model, name))
        digest.update(f"{name}{values.shape}".encode())
        digest.update(values.data)
    quality = model.vis.quality
    settings = (
        quality.numslices,
        quality.numstacks,
        quality.numquads,
        quality.offsamples,
        quality.shadowsize,
    )
    digest.update(repr(settings).encode())
    return digest.hexdigest()


class OffscreenRenderer:
    """Draws one model's cameras at one size.

    The OpenGL context is made at the first :meth:`draw`, in the process that calls it; use one
    thread, and start workers by spawn.

    Args:
        model: the live model; changes of its colors, lights and cameras show in the next frame
            (cameras and lights after ``mj_camlight``). Meshes and textures are read once.
        height: of the images, pixels.
        width: of the images, pixels.
        quality: a name in :data:`QUALITIES`.
        assets: builds a model with the meshes and textures to draw, the same as ``model`` in all
            else but cameras; called once a process. ``model`` then needs no textures of its own,
            which are most of its memory. None reads them from ``model``.

    Raises:
        UnknownNameError: there is no such quality.
        RenderingError: the size is not positive.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        height: int,
        width: int,
        quality: str = "fast",
        assets: Callable[[], mujoco.MjModel] | None = None,
    ) -> None:
        if quality not in QUALITIES:
            raise UnknownNameError("rendering quality", quality, tuple(QUALITIES))
        if height < 1 or width < 1:
            raise RenderingError(
                f"Expected a positive height and width in pixels, got {height} x {width}."
            )
        self.model = model
        self.height = height
        self.width = width
        self.quality = QUALITIES[quality]
        self._assets = assets
        self._drawing: _DrawingContext | None = None
        self._closed = False
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + 64)
        self._options = mujoco.MjvOption()
        # Sites mark points for the programmer; nothing there is to be seen.
        self._options.sitegroup[:] = 0
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.empty((height, width, 3), np.uint8)
        self._depth = np.empty((height, width), np.float32)
        if not self.quality.effects:
            for flag in _EFFECTS:
                self._scene.flags[flag] = False

    def _load(self) -> _DrawingContext:
        if self._closed:
            raise RenderingError("This renderer has been closed; make a new one.")
        process = _this_process()
        process.make_current()
        if self._drawing is None:
            key = (self._assets or _assets_digest(self.model), self.quality)
            if key not in process.drawing:
                drawn = copy.copy(self.model) if self._assets is None else self._assets()
                process.drawing[key] = _DrawingContext(drawn, self.height, self.width, self.quality)
            self._key = key
            self._drawing = process.drawing[key]
            self._drawing.users += 1
            self._drawing.make_room(self.height, self.width)
        # The bound buffer is a state of the OpenGL context, which all renderers share.
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._drawing.native)
        return self._drawing

    def draw(
        self, data: mujoco.MjData, camera: str | int, modalities: Sequence[str] = ("rgb",)
    ) -> dict[str, np.ndarray]:
        """Draws one camera.

        Args:
            data: state with kinematics up to date (``mj_forward``).
            camera: name or index of a camera in the model.
            modalities: any of ``rgb``, ``depth`` and ``segmentation``.

        Returns:
            By modality: ``rgb`` uint8 (H, W, 3); ``depth`` float32 (H, W), meters along the
            optical axis, the far plane's distance where nothing is seen; ``segmentation`` int32
            (H, W), ids of bodies, -1 where none is seen; a skin counts as the body of its first
            bone. ``depth`` comes from the pass of ``rgb``;
            where that is multisampled (``full``), from the pass of ``segmentation``.

        Raises:
            UnknownNameError: the camera is not in the model, or a modality is unknown.
            RenderingError: no OpenGL context could be made, or the renderer is closed.
        """
        for modality in modalities:
            if modality not in MODALITIES:
                raise UnknownNameError("modality", modality, MODALITIES)
        drawing = self._look(data, camera)
        images: dict[str, np.ndarray] = {}
        # A multisampled buffer keeps the depth of one sample, somewhere in the pixel; the pass
        # that draws identities takes all samples at the pixel's center.
        depth_of_identities = "depth" in modalities and self.quality.multisampling
        depth_of_colors = "depth" in modalities and not depth_of_identities
        if "rgb" in modalities or depth_of_colors:
            self._render(drawing, depth=depth_of_colors)
            # OpenGL's rows run upwards; copies keep frames apart from the buffers used again.
            if "rgb" in modalities:
                images["rgb"] = self._pixels[::-1].copy()
        if "segmentation" in modalities or depth_of_identities:
            self._render_identities(drawing, depth=depth_of_identities)
            if "segmentation" in modalities:
                images["segmentation"] = self._bodies()
        if "depth" in modalities:
            images["depth"] = self._metric_depth(self._depth[::-1])
        return images

    def draw_solids(self, data: mujoco.MjData, camera: str | int) -> tuple[np.ndarray, np.ndarray]:
        """Draws which solid each pixel shows, where :meth:`draw` tells bodies.

        Args:
            data: state with kinematics up to date.
            camera: name or index of a camera in the model.

        Returns:
            ``depth`` as of :meth:`draw`, and int32 (H, W): ids of geoms, -1 where there is none,
            -2 - id of a skin.

        Raises:
            UnknownNameError: the camera is not in the model.
            RenderingError: no OpenGL context could be made, or the renderer is closed.
        """
        self._render_identities(self._look(data, camera), depth=True)
        return self._metric_depth(self._depth[::-1]), self._identities(
            lambda geom: geom, lambda skin: -2 - skin
        )

    def _look(self, data: mujoco.MjData, camera: str | int) -> _DrawingContext:
        """Arranges the scene as a camera sees it."""
        self._camera.fixedcamid = self._camera_index(camera)
        drawing = self._load()
        mujoco.mjv_updateScene(
            self.model,
            data,
            self._options,
            None,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL.value,
            self._scene,
        )
        return drawing

    def _render(self, drawing: _DrawingContext, depth: bool) -> None:
        mujoco.mjr_render(self._rectangle, self._scene, drawing.native)
        mujoco.mjr_readPixels(
            self._pixels, self._depth if depth else None, self._rectangle, drawing.native
        )

    def _render_identities(self, drawing: _DrawingContext, depth: bool) -> None:
        flags = self._scene.flags
        before = flags.copy()
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = True
        flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = True
        try:
            self._render(drawing, depth)
        finally:
            flags[:] = before

    def _camera_index(self, camera: str | int) -> int:
        if isinstance(camera, str):
            index = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_CAMERA.value, camera)
        else:
            index = camera if 0 <= camera < self.model.ncam else -1
        if index < 0:
            names = tuple(self.model.camera(i).name for i in range(self.model.ncam))
            raise UnknownNameError("camera", camera, names)
        return index

    def _metric_depth(self, buffer: np.ndarray) -> np.ndarray:
        extent = self.model.stat.extent
        # The clip planes are single precision in MuJoCo's projection.
        near = np.float64(np.float32(self.model.vis.map.znear * extent))
        far = np.float64(np.float32(self.model.vis.map.zfar * extent))
        return (near * far / (buffer * (far - near) + near)).astype(np.float32)

    def _bodies(self) -> np.ndarray:
        """Body ids (H, W) from the colors of the pass that draws identities."""
        return self._identities(
            lambda geom: self.model.geom_bodyid[geom],
            lambda skin: self.model.skin_bonebodyid[self.model.skin_boneadr[skin]],
        )

    def _identities(
        self, of_geom: Callable[[int], int], of_skin: Callable[[int], int]
    ) -> np.ndarray:
        """What the geoms and skins (H, W) of the pass that draws identities stand for."""
        # Colors are 1 + the index of a geom in the scene; 0 is the background.
        channels = self._pixels[::-1].astype(np.int32)
        identifiers = channels[..., 0] + (channels[..., 1] << 8) + (channels[..., 2] << 16)
        found = np.full(self._scene.ngeom + 1, BACKGROUND, np.int32)
        for geom in self._scene.geoms[: self._scene.ngeom]:
            if geom.segid < 0:
                continue
            if geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                found[geom.segid + 1] = of_geom(geom.objid)
            elif geom.objtype == mujoco.mjtObj.mjOBJ_SKIN:
                found[geom.segid + 1] = of_skin(geom.objid)
        return found[identifiers]

    def close(self) -> None:
        """Frees this renderer's share of the graphics memory; further calls do nothing."""
        if self._closed:
            return
        self._closed = True
        drawing, self._drawing = self._drawing, None
        if drawing is None or _process is None or _process.owner != os.getpid():
            return
        drawing.users -= 1
        if drawing.users == 0 and _process.drawing.pop(self._key, None) is drawing:
            _process.make_current()
            drawing.native.free()

    def __enter__(self) -> "OffscreenRenderer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
