"""Choose the library that draws without a display, before MuJoCo reads ``MUJOCO_GL``.

MuJoCo binds its OpenGL context to a library once, when the module that draws is first imported.
:func:`select_backend` therefore runs at the top of whatever imports it. A value of ``MUJOCO_GL``
that the user has set is respected; on Linux without one, EGL is tried and then OSMesa, by loading
the library in this process; macOS draws with its own OpenGL.
"""

import ctypes
import functools
import os
import platform
import subprocess
import sys

from egodtm_robot.core.errors import GLUnavailableError

EGL_PACKAGES = ("libegl1", "libegl-mesa0", "libgl1", "libgl1-mesa-dri")
"""Debian's packages for EGL: the libraries and Mesa's drivers, which need no GPU."""

OSMESA_PACKAGES = ("libosmesa6",)
"""Debian's package for OSMesa (up to Debian 12)."""

_OFF = ("disable", "disabled", "off", "false", "0")
VARIABLE = "MUJOCO_GL"
"""The environment variable that MuJoCo reads."""

_DRAW = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom size='1'/>"
    "<camera name='eye' pos='0 0 4'/></worldbody></mujoco>"
)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 32, 32)
renderer.update_scene(data, camera="eye")
image = renderer.render()
assert image.max() > image.min(), "the image is empty"
renderer.close()
"""

# From EGL/egl.h and EGL/eglext.h.
_EGL_PLATFORM_DEVICE_EXT = 0x313F


def select_backend() -> str | None:
    """Set ``MUJOCO_GL`` on Linux where the user has not, if a library for it is at hand.

    Returns:
        The backend in force: ``egl``, ``osmesa``, what the user has set, or ``cgl`` on macOS; None
        where nothing can draw. Simulation without images works all the same.
    """
    given = os.environ.get(VARIABLE, "").strip().lower()
    if given:
        return None if given in _OFF else given
    if platform.system() != "Linux":
        return "cgl" if platform.system() == "Darwin" else "glfw"
    backend = _find_linux_backend()
    if backend is not None:
        os.environ[VARIABLE] = backend
    return backend


def ensure_backend() -> str:
    """As :func:`select_backend`, for those about to draw.

    Returns:
        The backend in force.

    Raises:
        GLUnavailableError: no backend is at hand, drawing is switched off, or MuJoCo's drawing
            module was imported before a backend was chosen and is bound to another.
    """
    backend = select_backend()
    if backend is None:
        given = os.environ.get(VARIABLE, "")
        if given:
            raise GLUnavailableError(
                f"Expected a way to draw, but {VARIABLE}={given} switches drawing off. Unset it, "
                "or ask for no cameras."
            )
        raise GLUnavailableError(advice())
    bound = _bound_backend()
    if bound is not None and backend in ("egl", "osmesa") and bound != backend:
        raise GLUnavailableError(
            f"Expected MuJoCo to draw with {backend}, but it is bound to {bound}: its drawing "
            f"module was imported before {VARIABLE} was set. Set {VARIABLE}={backend} before "
            "Python starts, or import envs before mujoco."
        )
    return backend


def draw_test(backend: str) -> str | None:
    """Draw a frame in a process of its own.

    Args:
        backend: a value of ``MUJOCO_GL``; empty for the system's own choice.

    Returns:
        None if an image came out, else the last line of what went wrong.
    """
    environment = {**os.environ, VARIABLE: backend}
    if not backend:
        del environment[VARIABLE]
    try:
        process = subprocess.run(
            [sys.executable, "-c", _DRAW],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no image within 120 s"
    if process.returncode == 0:
        return None
    lines = [line for line in process.stderr.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "Error" in line), "the process died")


@functools.cache
def _find_linux_backend() -> str | None:
    if _egl_works():
        return "egl"
    return "osmesa" if _osmesa_is_there() else None


def _egl_works() -> bool:
    """Whether a display on one of EGL's devices can be initialized; it is released again."""
    try:
        egl = ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    egl.eglGetProcAddress.argtypes = [ctypes.c_char_p]
    query = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    get_display = egl.eglGetProcAddress(b"eglGetPlatformDisplayEXT")
    if not query or not get_display:
        return False
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    query_devices = ctypes.CFUNCTYPE(
        ctypes.c_uint, integer, ctypes.POINTER(pointer), ctypes.POINTER(integer)
    )(query)
    get_platform_display = ctypes.CFUNCTYPE(pointer, ctypes.c_uint, pointer, pointer)(get_display)
    egl.eglInitialize.argtypes = [pointer, pointer, pointer]
    egl.eglTerminate.argtypes = [pointer]
    devices, count = (pointer * 16)(), integer(0)
    if not query_devices(len(devices), devices, ctypes.byref(count)):
        return False
    for device in devices[: count.value]:
        display = get_platform_display(_EGL_PLATFORM_DEVICE_EXT, device, None)
        if display and egl.eglInitialize(display, None, None):
            egl.eglTerminate(display)
            return True
    return False


def _osmesa_is_there() -> bool:
    for name in ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def _bound_backend() -> str | None:
    """The backend that MuJoCo has bound its contexts to; None while that is still open."""
    for name in ("mujoco.rendering.classic.gl_context", "mujoco.gl_context"):
        context = getattr(sys.modules.get(name), "GLContext", None)
        if context is not None:
            module: str = context.__module__
            return module.split(".")[1] if module.startswith("mujoco.") else None
    return None


def advice() -> str:
    """What to install on this system, in a sentence."""
    if platform.system() != "Linux":
        return "Expected a working OpenGL of the system's own; found none."
    return (
        "Expected EGL or OSMesa for drawing without a display; found neither. On Debian or Ubuntu: "
        f"apt-get install -y {' '.join(EGL_PACKAGES)} (or, instead, {' '.join(OSMESA_PACKAGES)})."
    )
