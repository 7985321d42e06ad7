"""Clips for training, validation and test, by configuration: drawn here or stored before."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from egodtm_robot.core.configuration import OutputFolder, PositiveInt, Workers
from egodtm_robot.core.errors import ConfigurationError, DatasetError
from egodtm_robot.core.training.identity import NOT_DECISIVE, without_later_defaults
from pretrain.clips.augmentation import AugmentationConfig
from pretrain.clips.store import ClipStore
from pretrain.clips.synthetic import SPLITS, Split, SyntheticClipConfig
from pretrain.clips.synthetic.generate import generate, store_attributes

HELD_OUT: Split = "test"
"""The split that is never trained nor chosen on."""

_LARGEST_SHARE = 0.1
"""Of a store without stores for validation and test, at most so much is held out for each."""


@dataclass
class DataConfig:
    """The ``data`` part of the configuration."""

    kind: Literal["synthetic", "store"] = "synthetic"
    """``synthetic`` draws the clips that are missing; ``store`` takes stores by their paths."""

    path: Any = None
    """Folder of the clip store to train on, or a list of several: ``data.path=[a,b]``. Only for
    ``data=store``."""

    clips: PositiveInt | None = 3000
    """Clips to train on, the first of the store; null takes all of a store."""

    validation: Any = None
    """Store or stores of other scenes to choose the best checkpoint on; null holds out scenes of
    ``path``."""

    test: Any = None
    """Store or stores of other scenes that the results are measured on; null holds out scenes of
    ``path``, or takes ``validation`` if that is given."""

    validation_clips: int = 256
    """Clips of the validation, at most."""

    test_clips: int = 256
    """Clips of the test, at most: the gallery of retrieval."""

    cache: OutputFolder = field(default="clips", metadata=NOT_DECISIVE)
    """Folder that drawn clips are kept in, a folder a configuration; later runs take them there."""

    workers: Workers = field(default=2, metadata=NOT_DECISIVE)
    """Processes that draw clips."""

    synthetic: SyntheticClipConfig = field(default_factory=SyntheticClipConfig)
    """What is drawn."""

    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    """Random changes of training clips."""

    def __post_init__(self) -> None:
        """Refuse what the types let through.

        Raises:
            ConfigurationError: a path or a number is missing or does not fit.
        """
        if self.kind == "synthetic" and (self.path or self.validation or self.test):
            raise ConfigurationError(
                "Expected data=store with data.path, data.validation or data.test; got "
                "data=synthetic, which draws its own clips."
            )
        if self.kind == "synthetic" and self.clips is None:
            raise ConfigurationError("Expected a number in data.clips for data=synthetic.")
        if self.kind == "store" and not self.path:
            raise ConfigurationError(
                "Expected the folder of a clip store in data.path, such as data.path=clips/mine."
            )
        for name in ("path", "validation", "test"):
            paths(getattr(self, name))
        if self.validation_clips < 2 or self.test_clips < 2:
            raise ConfigurationError(
                "Expected at least two clips of validation and of test, got "
                f"{self.validation_clips} and {self.test_clips}."
            )


@dataclass
class HeldOutConfig:
    """The ``data`` part of the evaluation command: clips that no model was trained on."""

    path: Any = None
    """Folder of a clip store, or a list of several; null draws synthetic clips of scenes and
    surfaces that no training clip has."""

    clips: int | None = 256
    """Clips to measure on; of a store they are spread evenly. null takes all of a store."""

    cache: OutputFolder = "clips"
    """Folder that drawn clips are kept in, the same as that of ``pretrain/run.py``."""

    workers: Workers = 2
    """Processes that draw clips."""

    synthetic: SyntheticClipConfig = field(default_factory=SyntheticClipConfig)
    """What is drawn."""

    def __post_init__(self) -> None:
        """Refuse what the types let through.

        Raises:
            ConfigurationError: a path is no path, or a number is out of range.
        """
        if not paths(self.path) and self.clips is None:
            raise ConfigurationError(
                "Expected a number in data.clips where clips are drawn; null is for data.path."
            )
        if self.clips is not None and self.clips < 2:
            raise ConfigurationError(f"Expected data.clips >= 2, got {self.clips}.")


@dataclass(frozen=True)
class Part:
    """Some clips of a store.

    Attributes:
        store: where they lie.
        clips: int64 (n,), which they are.
    """

    store: ClipStore
    clips: np.ndarray

    @property
    def description(self) -> dict[str, Any]:
        """Plain JSON of where they come from: paths, number and fingerprint."""
        last = int(self.clips.max()) + 1
        return {
            "paths": [str(path) for path in self.store.paths],
            "clips": len(self.clips),
            "fingerprint": self.store.prefix_fingerprint(last),
        }


@dataclass(frozen=True)
class Splits:
    """Clips whose scenes do not meet.

    Attributes:
        train: to learn from.
        validation: to choose a checkpoint on.
        test: to measure the results on.
        description: plain JSON of where they come from, with fingerprints.
    """

    train: Part
    validation: Part
    test: Part
    description: dict[str, Any]


def paths(value: Any) -> list[Path]:
    """A path, a list of paths or None, as a list.

    Raises:
        ConfigurationError: something else.
    """
    if value is None:
        return []
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(one, (str, Path)) and str(one) for one in values):
        raise ConfigurationError(f"Expected a path or a list of paths, got {value!r}.")
    return [Path(one) for one in values]


def make_clips(config: DataConfig) -> None:
    """Draw the synthetic clips that are missing; the work of one process.

    Raises:
        EgoDTMRobotError: see :func:`pretrain.clips.synthetic.generate.generate`.
    """
    if config.kind == "synthetic":
        for split, count in _synthetic_counts(config).items():
            folder = cache_folder(config) / split
            generate(config.synthetic, split, count, folder, config.workers)


def open_splits(config: DataConfig) -> Splits:
    """The clips of a configuration; those drawn by :func:`make_clips` must be there.

    Raises:
        StoreNotFoundError: there is no clip store at a path.
        DatasetError: a store holds too few clips or scenes.
    """
    if config.kind == "synthetic":
        parts = {
            split: _first(ClipStore.open(cache_folder(config) / split), count)
            for split, count in _synthetic_counts(config).items()
        }
        train, validation, test = (parts[split] for split in SPLITS)
    else:
        store = ClipStore.open(paths(config.path))
        if config.validation:
            train = _first(store, config.clips)
            validation = _at_most(config.validation, config.validation_clips)
            test = _at_most(config.test or config.validation, config.test_clips)
        else:
            train, validation, test = _by_scene(store, config)
            if config.test:
                test = _at_most(config.test, config.test_clips)
    named = {"train": train, "validation": validation, "test": test}
    description: dict[str, Any] = {"kind": config.kind}
    for name, part in named.items():
        description[name] = part.description
    if config.kind == "synthetic":
        description["synthetic"] = without_later_defaults(config.synthetic)
    return Splits(train, validation, test, description)


def make_held_out(config: HeldOutConfig) -> None:
    """Draw the synthetic clips of the test split that are missing; the work of one process.

    Raises:
        EgoDTMRobotError: see :func:`pretrain.clips.synthetic.generate.generate`.
    """
    if not paths(config.path):
        assert config.clips is not None
        folder = cache_folder(config) / HELD_OUT
        generate(config.synthetic, HELD_OUT, config.clips, folder, config.workers)


def open_held_out(config: HeldOutConfig) -> Part:
    """The clips of a configuration; those drawn by :func:`make_held_out` must be there.

    Raises:
        StoreNotFoundError: there is no clip store at a path.
        DatasetError: a store holds too few clips.
    """
    if paths(config.path):
        return _at_most(config.path, config.clips)
    return _first(ClipStore.open(cache_folder(config) / HELD_OUT), config.clips)


def cache_folder(config: DataConfig | HeldOutConfig) -> Path:
    """Where the clips of a configuration are kept: named by all that decides them."""
    content = {split: store_attributes(config.synthetic, split) for split in SPLITS}
    name = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    return Path(config.cache) / f"synthetic-{config.synthetic.resolution}px-{name}"


def _synthetic_counts(config: DataConfig) -> dict[Split, int]:
    assert config.clips is not None
    return dict(
        zip(SPLITS, (config.clips, config.validation_clips, config.test_clips), strict=True)
    )


def _first(store: ClipStore, clips: int | None) -> Part:
    clips = len(store) if clips is None else clips
    if not 1 <= clips <= len(store):
        raise DatasetError(
            f"Expected at least {clips or 1} clips in {', '.join(map(str, store.paths))}, which "
            f"holds {len(store)}. Make more clips, or ask for fewer with data.clips."
        )
    return Part(store, np.arange(clips))


def _at_most(value: Any, clips: int | None) -> Part:
    store = ClipStore.open(paths(value))
    if len(store) < 2:
        raise DatasetError(f"Expected at least two clips to measure on in {value}.")
    # Spread evenly: neighbors often come from one video.
    count = len(store) if clips is None else min(clips, len(store))
    return Part(store, np.arange(count) * len(store) // count)


def _by_scene(store: ClipStore, config: DataConfig) -> tuple[Part, Part, Part]:
    """Hold out whole scenes, in an order that depends on their names alone."""
    everything = _first(store, config.clips)
    names = np.array(store.read(everything.clips, ["scene"])["scene"])
    scenes = sorted(set(names.tolist()), key=lambda name: hashlib.sha256(name.encode()).digest())
    held_out: list[np.ndarray] = []
    start = 0
    for wanted in (config.validation_clips, config.test_clips):
        wanted = min(wanted, max(2, int(_LARGEST_SHARE * len(names))))
        taken: list[int] = []
        while start < len(scenes) and len(taken) < wanted:
            taken += np.flatnonzero(names == scenes[start]).tolist()
            start += 1
        held_out.append(np.array(sorted(taken)[:wanted], np.int64))
    rest = np.flatnonzero(np.isin(names, scenes[start:]))
    if len(rest) < len(names) / 2:
        raise DatasetError(
            f"Expected scenes enough in {', '.join(map(str, store.paths))} to hold some out; its "
            f"{len(names)} clips lie in {len(scenes)}. Name other stores in data.validation and "
            "data.test."
        )
    return Part(store, rest), Part(store, held_out[0]), Part(store, held_out[1])
