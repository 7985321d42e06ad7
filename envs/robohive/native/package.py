"""Imports RoboHive 0.7.0 beside a current MuJoCo; nothing of the installed package is changed.

The wheel pins MuJoCo 3.1.3, Gymnasium 0.29.1 and an h5py that has no wheel for Python 3.11, so it
is installed without its dependencies. What FK1 needs of them is the extra ``robohive``. Three
things are then mended in memory, in this process alone:

- its check for assets inside its own folder, which :func:`envs.robohive.simhive.simhive_folder`
  does in its place;
- ``np.product``, which NumPy 2 no longer has, in the one module that calls it;
- names in dm_control's table of arrays that the installed MuJoCo does not have (any more).
"""

import contextlib
import functools
import importlib
import importlib.util
import io
import os
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
from packaging.requirements import Requirement

from egodtm_robot.core.errors import EgoDTMRobotError

VERSION = "0.7.0"
"""The version whose environments these are; constraints.txt pins the same."""

INSTALL_COMMAND = f"pip install --no-deps robohive=={VERSION}"
"""Without dependencies, see the module; the extra ``robohive`` has those that FK1 imports."""

EXTRA_COMMAND = "pip install 'egodtm-robot[robohive]'"
"""What the package imports: dm-control, flatten-dict, gitpython, sk-video, termcolor."""


class RoboHiveNotFoundError(EgoDTMRobotError, ImportError):
    """The package robohive, its version or something that it imports is not there."""


class RoboHiveVersionError(EgoDTMRobotError, RuntimeError):
    """The installed dm_control and MuJoCo do not work together."""


@functools.cache
def import_robohive() -> types.ModuleType:
    """The package ``robohive`` with its FK1 environments registered in Gymnasium.

    Its import prints, registers some 500 environments and sets NumPy's print options; the output
    is swallowed and the options are put back.

    Raises:
        RoboHiveNotFoundError: the package or one that it imports is missing, or is another version.
        RoboHiveVersionError: dm_control does not know the installed MuJoCo.
    """
    _check_version()
    _check_mujoco()
    try:
        with _quietly(), _without_its_check_of_assets():
            robohive = importlib.import_module("robohive")
            base = importlib.import_module("robohive.envs.multi_task.multi_task_base_v1")
    except ImportError as error:
        for name in [name for name in sys.modules if name.partition(".")[0] == "robohive"]:
            del sys.modules[name]
        raise RoboHiveNotFoundError(
            f"Expected the packages that robohive imports, got {error}. Install them with: "
            f"{EXTRA_COMMAND}"
        ) from error
    numpy_with_product = types.ModuleType("numpy")
    vars(numpy_with_product).update(vars(np), product=np.prod)
    base.np = numpy_with_product  # type: ignore[attr-defined]
    return robohive


def make_kitchen(environment: str, model: mujoco.MjModel) -> Any:
    """One of RoboHive's FK1 environments, as its own class, without Gymnasium's wrappers.

    Args:
        environment: the id that RoboHive registers, such as ``FK1_MicroOpenRandom_v2d-v4``.
        model: its compiled scene, see :mod:`envs.robohive.native.scene`. Pictures are drawn by
            whoever holds the environment: RoboHive's own ``visual_keys`` are off.

    Raises:
        RoboHiveNotFoundError: see :func:`import_robohive`.
        RoboHiveVersionError: dm_control does not know the installed MuJoCo.
    """
    import_robohive()
    with _quietly(), _binary(model) as path:
        try:
            made = gymnasium.make(environment, model_path=path, visual_keys=None)
        except AttributeError as error:
            raise _versions_apart(str(error)) from error
    return made.unwrapped


def _check_version() -> None:
    try:
        found = version("robohive")
    except PackageNotFoundError as error:
        raise RoboHiveNotFoundError(
            f"Expected the package robohive {VERSION}; it is not installed. Install it with: "
            f"{EXTRA_COMMAND} && {INSTALL_COMMAND} && robohive_init"
        ) from error
    if found != VERSION:
        raise RoboHiveNotFoundError(
            f"Expected robohive {VERSION}, whose FK1 environments these are, got {found}. Install "
            f"it with: {INSTALL_COMMAND}"
        )


def _check_mujoco() -> None:
    """Drop from dm_control's table what MuJoCo lacks, unless dm_control wants a newer MuJoCo."""
    try:
        wanted = [Requirement(text) for text in requires("dm-control") or ()]
    except PackageNotFoundError as error:
        raise RoboHiveNotFoundError(
            f"Expected the package dm-control, through which robohive simulates; it is not "
            f"installed. Install it with: {EXTRA_COMMAND}"
        ) from error
    for requirement in wanted:
        if requirement.name == "mujoco" and mujoco.__version__ not in requirement.specifier:
            raise _versions_apart(f"it needs mujoco{requirement.specifier}")
    try:
        # We draw ourselves: dm_control's own drawing would end the EGL display that we draw on.
        with _environment("MUJOCO_GL", "disable"):
            importlib.import_module("dm_control.mujoco")
        sizes = importlib.import_module("dm_control.mujoco.wrapper.mjbindings.sizes").array_sizes
    except (ImportError, AttributeError) as error:
        raise _versions_apart(str(error)) from error
    model = mujoco.MjModel.from_xml_string("<mujoco/>")
    for struct, holder in (("mjmodel", model), ("mjdata", mujoco.MjData(model))):
        for name in [name for name in sizes[struct] if not hasattr(holder, name)]:
            del sizes[struct][name]


def _versions_apart(reason: str) -> RoboHiveVersionError:
    return RoboHiveVersionError(
        f"Expected a dm_control that works with the installed MuJoCo {mujoco.__version__}; "
        f"dm_control {version('dm-control')} does not: {reason}. Tested together are dm_control "
        "1.0.50 and MuJoCo 3.17 to 4.0: pip install 'dm-control==1.0.50' 'mujoco>=3.17,<4.1'"
    )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Swallows what robohive prints and warns of, and keeps NumPy's print options."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        np.printoptions(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _without_its_check_of_assets() -> Iterator[None]:
    """Puts robohive's own module of checks in place before the package runs, less one check."""
    name = "robohive.utils.import_utils"
    spec = importlib.util.find_spec("robohive")
    if name in sys.modules or spec is None or spec.origin is None:
        yield
        return
    path = Path(spec.origin).parent / "utils/import_utils.py"
    checks_spec = importlib.util.spec_from_file_location(name, path)
    assert checks_spec is not None
    assert checks_spec.loader is not None
    checks = importlib.util.module_from_spec(checks_spec)
    # It imports gitpython, which by default refuses to be imported where there is no git.
    with _environment("GIT_PYTHON_REFRESH", "quiet"):
        checks_spec.loader.exec_module(checks)
    checks.simhive_isavailable = lambda robohive_version: None  # type: ignore[attr-defined]
    sys.modules[name] = checks
    yield


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Sets a variable of the environment for a while."""
    given = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if given is None:
            del os.environ[name]
        else:
            os.environ[name] = given


@contextlib.contextmanager
def _binary(model: mujoco.MjModel) -> Iterator[str]:
    """The model as a file, which RoboHive takes a path of."""
    with tempfile.TemporaryDirectory(prefix="egodtm_robohive_") as folder:
        path = Path(folder) / "kitchen.mjb"
        mujoco.mj_saveModel(model, str(path))
        yield str(path)
