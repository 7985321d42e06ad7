"""What every run's folder holds: its settings, its results, and how long its stages took."""

import importlib.metadata
import json
import math
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from egodtm_robot.core.configuration import from_yaml, to_yaml
from egodtm_robot.core.errors import EgoDTMRobotError, ResumeMismatchError
from egodtm_robot.core.storage.atomic_files import write_atomically
from egodtm_robot.core.training.identity import Difference, decisive, differences, listed

CONFIG_FILE = "config.yaml"
"""Every setting of a run, written when it starts."""

RESULTS_FILE = "results.json"
"""What came of a run, written when it is finished."""


def claim_run_dir(run_dir: Path, config: object) -> None:
    """Write ``config.yaml``, or check that the run there has the same settings.

    Commands claim the folder of a run after everything else that can be known at the start has
    been checked: a value that is out of range is not hidden behind a folder that is taken, and a
    command that is refused leaves no folder behind.

    Settings whose fields are marked :data:`~egodtm_robot.core.training.identity.NOT_DECISIVE` may
    differ; the file keeps those that the run was started with.

    Args:
        run_dir: folder of the run; made if missing.
        config: the command's configuration dataclass.

    Raises:
        ResumeMismatchError: the folder holds a run with other settings, which the message names,
            or a ``config.yaml`` that cannot be read.
    """
    found = _differing_settings(run_dir, config)
    if found is None:
        run_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(run_dir / CONFIG_FILE, to_yaml(config).encode())
    elif found:
        raise ResumeMismatchError(
            f"{run_dir} holds a run with other settings (before -> now): {listed(found)}. "
            "Choose another run_dir, or remove this one."
        )


def holds_run(run_dir: Path, config: object) -> bool:
    """Whether a folder holds a run with these settings, finished or not; nothing is written."""
    try:
        return _differing_settings(run_dir, config) == []
    except ResumeMismatchError:
        return False


def is_finished(run_dir: Path, config: object) -> bool:
    """Whether a folder holds a run with these settings that has results; nothing is written."""
    return (run_dir / RESULTS_FILE).is_file() and holds_run(run_dir, config)


def read_results(run_dir: Path) -> dict[str, Any] | None:
    """The content of a finished run's ``results.json``; None while there is none."""
    file = run_dir / RESULTS_FILE
    if not file.is_file():
        return None
    results: dict[str, Any] = json.loads(file.read_text())
    return results


def write_results(run_dir: Path, results: Mapping[str, Any]) -> None:
    """Write ``results.json``, whole or not at all; see :func:`json_values` for infinite numbers."""
    text = json.dumps(json_values(results), indent=2) + "\n"
    write_atomically(run_dir / RESULTS_FILE, text.encode())


def json_values(value: Any) -> Any:
    """The same nested values with None for numbers that JSON has no notation for."""
    if isinstance(value, Mapping):
        return {name: json_values(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_values(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class StageClock:
    """Wall seconds of each stage, kept in ``timings.json`` over interruptions."""

    def __init__(self, run_dir: Path) -> None:
        self._file = run_dir / "timings.json"
        self.seconds: dict[str, float] = {}
        if self._file.is_file():
            self.seconds = json.loads(self._file.read_text())

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time of the block to the stage's, also when it raises."""
        began = time.perf_counter()
        try:
            yield
        finally:
            spent = self.seconds.get(stage, 0.0) + time.perf_counter() - began
            self.seconds[stage] = round(spent, 3)
            write_atomically(self._file, json.dumps(self.seconds).encode())


def package_versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of the toolkit, Python, the platform and the packages named."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("egodtm-robot", *packages):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _differing_settings(run_dir: Path, config: object) -> list[Difference] | None:
    """What decides the run in a folder and differs from a configuration; None without a run.

    Raises:
        ResumeMismatchError: its settings cannot be read.
    """
    file = run_dir / CONFIG_FILE
    if not file.is_file():
        return None
    return differences(_read_settings(file, type(config)), config)


def _read_settings(file: Path, config_class: type) -> dict[str, Any]:
    try:
        text = file.read_text()
        settings = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError):
        settings = None
    if not isinstance(settings, dict):
        raise ResumeMismatchError(
            f"Expected the settings of a run in {file}, and could not read them. "
            "Choose another run_dir, or remove this one."
        )
    try:
        # Read as a command reads them, so that what an earlier version spelled otherwise agrees.
        read: dict[str, Any] = decisive(from_yaml(config_class, text))
    except EgoDTMRobotError:
        return settings  # of another command or of settings that are gone: they are named
    return read
