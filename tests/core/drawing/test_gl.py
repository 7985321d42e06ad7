import os
import subprocess
import sys
import types

import pytest

from egodtm_robot.core.drawing import gl
from egodtm_robot.core.errors import GLUnavailableError, RenderingError


@pytest.fixture
def on_linux(monkeypatch):
    """No choice made, nothing bound, no library: each test adds what it is about."""
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(gl.platform, "system", lambda: "Linux")
    monkeypatch.setattr(gl, "_egl_works", lambda: False)
    monkeypatch.setattr(gl, "_osmesa_is_there", lambda: False)
    monkeypatch.setattr(gl, "_bound_backend", lambda: None)
    gl._find_linux_backend.cache_clear()
    yield monkeypatch
    gl._find_linux_backend.cache_clear()


@pytest.mark.parametrize(
    ("egl", "osmesa", "expected"),
    [(True, True, "egl"), (True, False, "egl"), (False, True, "osmesa")],
)
def test_egl_comes_before_osmesa_and_the_choice_is_put_into_the_environment(
    on_linux, egl, osmesa, expected
):
    on_linux.setattr(gl, "_egl_works", lambda: egl)
    on_linux.setattr(gl, "_osmesa_is_there", lambda: osmesa)
    assert gl.ensure_backend() == expected
    assert os.environ["MUJOCO_GL"] == expected


def test_a_users_choice_is_respected(on_linux):
    on_linux.setattr(gl, "_egl_works", lambda: True)
    on_linux.setenv("MUJOCO_GL", "osmesa")
    assert gl.ensure_backend() == "osmesa"
    assert os.environ["MUJOCO_GL"] == "osmesa"


def test_without_any_library_only_drawing_fails_and_names_the_packages(on_linux):
    assert gl.select_backend() is None
    assert "MUJOCO_GL" not in os.environ
    with pytest.raises(GLUnavailableError, match="apt-get install -y libegl1 .*libosmesa6"):
        gl.ensure_backend()


def test_drawing_switched_off_by_the_user_is_said_to_be_so(on_linux):
    on_linux.setenv("MUJOCO_GL", "off")
    with pytest.raises(RenderingError, match="MUJOCO_GL=off switches drawing off"):
        gl.ensure_backend()


def test_mujoco_bound_to_another_library_before_is_refused(on_linux):
    on_linux.undo()
    on_linux.setenv("MUJOCO_GL", "egl")
    context = type("GLContext", (), {"__module__": "mujoco.glfw"})
    module = types.ModuleType("mujoco.gl_context")
    module.GLContext = context  # type: ignore[attr-defined]
    on_linux.setitem(sys.modules, "mujoco.rendering.classic.gl_context", module)
    with pytest.raises(GLUnavailableError, match="bound to glfw"):
        gl.ensure_backend()


def test_macos_keeps_its_own(on_linux):
    on_linux.setattr(gl.platform, "system", lambda: "Darwin")
    assert gl.ensure_backend() == "cgl"
    assert "MUJOCO_GL" not in os.environ


def test_the_check_draws_here():
    process = subprocess.run(
        [sys.executable, "-m", "egodtm_robot.core.drawing.check"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "Off-screen drawing works" in process.stdout


def test_a_backend_that_cannot_draw_is_reported_by_its_error():
    problem = gl.draw_test("nonsense")
    assert problem is not None
    assert "invalid value for environment variable MUJOCO_GL" in problem


@pytest.mark.skipif(sys.platform != "linux", reason="EGL and OSMesa are Linux's")
def test_what_the_cheap_search_finds_can_really_draw():
    gl._find_linux_backend.cache_clear()
    backend = gl._find_linux_backend()
    assert backend is not None
    assert gl.draw_test(backend) is None
