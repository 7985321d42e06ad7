"""Features of demonstrations, computed once, and the pipeline that computes the same ones live.

The cache in the demonstration store holds an encoder's own tokens under the encoder's fingerprint:
they cost the time, and they serve every choice of episodes and of reduction. The reduction to a
few channels is fitted on them and applied when they are read, which takes seconds.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError

from egodtm_robot.core.errors import (
    CheckpointMismatchError,
    DatasetError,
    UnknownNameError,
    WeightsError,
)
from egodtm_robot.core.fingerprints import hash_parts
from egodtm_robot.core.history import history_windows
from egodtm_robot.core.progress import Progress
from egodtm_robot.core.storage import check_free_space, format_bytes
from egodtm_robot.core.storage.atomic_files import write_atomically
from egodtm_robot.core.storage.locking import UNTIL_FREE
from egodtm_robot.demos.store import DemonstrationStore, estimate_bytes
from egodtm_robot.encoders.base import Encoder
from egodtm_robot.encoders.reducer import FIT_TOKENS, MAXIMUM_CHANNELS, Reducer
from egodtm_robot.encoders.shifts import AugmentationConfig, EpisodeShift, shift_images

STATE_STREAM = "state"
"""Name of the one stream of features of an encoder that reads no camera."""

_ROWS_A_COMMIT = 256

_ADAPTED = "encoder."
"""Before the names of an adapted encoder's tensors in a pipeline's file."""

PIPELINE_FILE = "features.safetensors"
"""What a run saves of its feature pipeline: fingerprints and the fitted reducer."""


@dataclass
class FeaturePipeline:
    """An encoder and, for wide token grids, a fitted reducer: what a policy's features come from.

    Attributes:
        encoder: see :class:`Encoder`.
        reducer: None where the encoder's tokens are narrow enough, or there is only one.
    """

    encoder: Encoder
    reducer: Reducer | None = None

    @classmethod
    def fit(
        cls,
        encoder: Encoder,
        tokens: Mapping[str, np.ndarray],
        num_steps: int | None = None,
        channels: int = MAXIMUM_CHANNELS,
    ) -> Self:
        """Fit the reducer, if one is needed, on an even subsample of steps.

        Args:
            encoder: made the tokens.
            tokens: float32 (N, L, D) a stream, as :func:`embed_demonstrations` returns them.
            num_steps: fit on the first ones only, None for all.
            channels: most channels of a reduced token.

        Raises:
            DatasetError: there are fewer than two steps to fit on.
        """
        if reduced_dimension(encoder, channels) == encoder.dimension:
            return cls(encoder)
        steps = min(len(array) for array in tokens.values())
        steps = steps if num_steps is None else min(steps, num_steps)
        if steps < 2:
            raise DatasetError(f"Expected at least 2 steps to fit a reducer on, got {steps}.")
        wanted = max(2, FIT_TOKENS // (encoder.num_tokens * len(tokens)))
        chosen = np.unique(np.linspace(0, steps - 1, min(wanted, steps)).astype(np.int64))
        return cls(encoder, Reducer.fit([array[chosen] for array in tokens.values()], channels))

    @property
    def name(self) -> str:
        """The encoder's name."""
        return self.encoder.name

    @property
    def source(self) -> Literal["rgb", "privileged", "none"]:
        """What the encoder reads."""
        return self.encoder.source

    @property
    def history(self) -> int:
        """Frames T of a window."""
        return self.encoder.history

    @property
    def batch_size(self) -> int:
        """Windows a forward pass of the encoder; 1 where it has none."""
        return int(getattr(self.encoder, "batch_size", 1))

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the tokens, None for a global feature."""
        return self.encoder.grid

    @property
    def num_tokens(self) -> int:
        """L, tokens a window."""
        return self.encoder.num_tokens

    @property
    def dimension(self) -> int:
        """Channels a token, after the reduction."""
        return self.encoder.dimension if self.reducer is None else self.reducer.dimension

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over the encoder and the reducer's parameters."""
        reducer = None if self.reducer is None else self.reducer.fingerprint
        return hash_parts("pipeline", self.encoder.fingerprint, reducer)

    def streams(self, cameras: Sequence[str]) -> tuple[str, ...]:
        """Names of the features: the cameras, or one for an encoder that reads none."""
        return tuple(cameras) if self.source == "rgb" else (STATE_STREAM,)

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Windows (B, T, ...) as the encoder takes them -> float32 (B, L, dimension)."""
        return self.reduce(self.encoder.encode(images))

    def reduce(self, tokens: np.ndarray) -> np.ndarray:
        """The encoder's tokens (N, L, D) -> float32 (N, L, dimension)."""
        return tokens if self.reducer is None else self.reducer.transform(tokens)

    def to(self, device: torch.device | str) -> Self:
        """Move the encoder to ``device``."""
        self.encoder.to(device)
        return self

    def save(self, path: Path) -> None:
        """Write the reducer and both fingerprints to a safetensors file, atomically.

        With them go the weights of an encoder that was adapted to the demonstrations.
        """
        tensors = {} if self.reducer is None else self.reducer.tensors()
        adapted = self.encoder.adapted_weights()
        tensors |= {f"{_ADAPTED}{name}": tensor.cpu() for name, tensor in adapted.items()}
        metadata = {"encoder": self.encoder.fingerprint, "pipeline": self.fingerprint}
        write_atomically(path, safetensors.torch.save(tensors, {"features": json.dumps(metadata)}))

    @classmethod
    def load(cls, path: Path, encoder: Encoder) -> Self:
        """The pipeline that :meth:`save` wrote, with ``encoder`` in its place.

        Raises:
            WeightsError: the file is missing or unreadable.
            CheckpointMismatchError: it was saved with another encoder than ``encoder``.
        """
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                metadata = json.loads((file.metadata() or {})["features"])
            saved = str(metadata["encoder"]), str(metadata["pipeline"])
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(
                f"Expected a feature pipeline that a run saved at {path}, could not read one "
                f"({type(error).__name__}: {error})."
            ) from error
        adapted = {
            name.removeprefix(_ADAPTED): tensors.pop(name)
            for name in list(tensors)
            if name.startswith(_ADAPTED)
        }
        if adapted:
            encoder = encoder.with_weights(adapted)
        if saved[0] != encoder.fingerprint:
            raise CheckpointMismatchError(
                f"Expected the encoder of fingerprint {saved[0]} that {path} was saved with, got "
                f"{encoder.name} of fingerprint {encoder.fingerprint}: its weights, options or "
                "code differ. Use the encoder configuration of that run."
            )
        pipeline = cls(encoder, Reducer.from_tensors(tensors) if tensors else None)
        if saved[1] != pipeline.fingerprint:
            raise CheckpointMismatchError(
                f"Expected {path} to give the fingerprint {saved[1]} that it names, got "
                f"{pipeline.fingerprint}: the file was changed."
            )
        return pipeline


def reduced_dimension(encoder: Encoder, channels: int = MAXIMUM_CHANNELS) -> int:
    """Channels a token that a pipeline of this encoder gives; a single token is not reduced."""
    return encoder.dimension if encoder.num_tokens == 1 else min(encoder.dimension, channels)


def check_cameras(encoder: Encoder, cameras: Sequence[str]) -> None:
    """Refuse an encoder of images without a camera.

    Raises:
        DatasetError: no camera is named.
    """
    if encoder.source == "rgb" and not cameras:
        raise DatasetError(
            f"Encoder {encoder.name} reads images; name at least one camera, such as "
            "env.cameras=[NAME]."
        )


def embed_demonstrations(
    store: DemonstrationStore,
    encoder: Encoder,
    cameras: Sequence[str],
    modality: str = "rgb",
    progress: bool = True,
    shift: EpisodeShift | None = None,
) -> dict[str, np.ndarray]:
    """The encoder's tokens for every step of a store, from its cache where they are there.

    What is missing is computed and committed to the store in pieces: a run that was interrupted
    goes on behind the last piece, and a store that has grown is embedded from where it had ended.

    Args:
        store: open in either mode.
        encoder: on the device that it is to run on.
        cameras: whose images to embed, at least one for an encoder of images; of no effect on
            others.
        modality: which images of the cameras, ``rgb`` for those of the resolution that was
            collected.
        progress: whether to write size, rate and remaining time to standard error.
        shift: embeds a shifted copy of the images, which has a cache of its own.

    Returns:
        float32 (N, L, D) a camera; under ``STATE_STREAM`` for an encoder that reads no camera.

    Raises:
        DatasetError: the store is empty, or no camera is named.
        EncoderOptionError: the encoder learns from demonstrations and has seen none.
        UnknownNameError: the store has no images of a camera.
        DiskSpaceError: the cache does not fit on the disk.
    """
    if store.num_steps == 0:
        raise DatasetError(f"Expected demonstrations in {store.path}, it holds none.")
    encoder.check_ready()
    if encoder.source != "rgb":
        return {STATE_STREAM: _embed_state(store, encoder)}
    check_cameras(encoder, cameras)
    for camera in cameras:
        if f"{modality}/{camera}" not in store.array_names:
            known = [n for n in store.array_names if n.split("/")[0].startswith("rgb")]
            raise UnknownNameError(f"images of {store.path}", f"{modality}/{camera}", known)
    result = {}
    fingerprint = encoder.fingerprint if shift is None else shift.fingerprint(encoder.fingerprint)
    for camera in cameras:
        stream = camera if modality == "rgb" else f"{modality}/{camera}"
        cached = store.read_features(fingerprint, stream)
        if cached is None:
            _embed_camera(store, encoder, f"{modality}/{camera}", stream, progress, shift)
            cached = store.read_features(fingerprint, stream)
            assert cached is not None
        result[camera] = cached
    return result


def demonstration_features(
    store: DemonstrationStore,
    encoder: Encoder,
    cameras: Sequence[str],
    episodes: int | None = None,
    modality: str = "rgb",
    progress: bool = True,
) -> tuple[FeaturePipeline, dict[str, np.ndarray]]:
    """Embed demonstrations, fit the pipeline on them, and return both.

    Args:
        store: see :func:`embed_demonstrations`.
        encoder: see :func:`embed_demonstrations`.
        cameras: see :func:`embed_demonstrations`.
        episodes: number of first episodes to fit on and to return features of; None for all.
        modality: see :func:`embed_demonstrations`.
        progress: see :func:`embed_demonstrations`.

    Returns:
        The pipeline, whose encoder has seen the demonstrations if it learns from them, and float32
        (N, L, dimension) a stream.
    """
    episodes = store.num_episodes if episodes is None else episodes
    steps = int(store.episode_offsets[episodes])
    encoder = encoder.adapted_to(store, cameras, episodes, modality, progress)
    tokens = embed_demonstrations(store, encoder, cameras, modality, progress)
    tokens = {stream: array[:steps] for stream, array in tokens.items()}
    pipeline = FeaturePipeline.fit(encoder, tokens)
    return pipeline, {stream: pipeline.reduce(array) for stream, array in tokens.items()}


def shifted_features(
    store: DemonstrationStore,
    pipeline: FeaturePipeline,
    cameras: Sequence[str],
    augmentation: AugmentationConfig,
    episodes: int | None = None,
    modality: str = "rgb",
    progress: bool = True,
) -> dict[str, np.ndarray]:
    """Features of the shifted copies of demonstrations, computed once.

    Args:
        store: see :func:`embed_demonstrations`.
        pipeline: fitted on the plain images.
        cameras: see :func:`embed_demonstrations`.
        augmentation: how many copies, and how far they are shifted.
        episodes: number of first episodes to return features of; None for all.
        modality: see :func:`embed_demonstrations`.
        progress: see :func:`embed_demonstrations`.

    Returns:
        float32 (K, N, L, dimension) a camera; nothing where there are no copies.

    Raises:
        ConfigurationError: the encoder reads no images.
        EgoDTMRobotError: see :func:`embed_demonstrations`.
    """
    augmentation.check(pipeline.source, pipeline.name)
    steps = store.num_steps if episodes is None else int(store.episode_offsets[episodes])
    copies: dict[str, list[np.ndarray]] = {}
    for shift in augmentation.shifts():
        tokens = embed_demonstrations(store, pipeline.encoder, cameras, modality, progress, shift)
        for camera, array in tokens.items():
            copies.setdefault(camera, []).append(pipeline.reduce(array[:steps]))
    return {camera: np.stack(arrays) for camera, arrays in copies.items()}


def _embed_state(store: DemonstrationStore, encoder: Encoder) -> np.ndarray:
    if encoder.source == "none":
        return encoder.encode(np.zeros((store.num_steps, encoder.history, 0), dtype=np.float32))
    states = store.steps(slice(0, store.num_steps), ("privileged",))["privileged"]
    return encoder.encode(states[history_windows(store.episode_offsets, encoder.history)])


def _embed_camera(
    store: DemonstrationStore,
    encoder: Encoder,
    images: str,
    stream: str,
    progress: bool,
    shift: EpisodeShift | None,
) -> None:
    """Compute and commit the rows of one camera that the cache lacks."""
    fingerprint, copy = encoder.fingerprint, ""
    if shift is not None:
        fingerprint = shift.fingerprint(fingerprint)
        copy = f", shifted copy {shift.copy + 1}"
        lengths = np.diff(store.episode_offsets)
        offsets = shift.offsets(np.repeat(np.arange(len(lengths)), lengths))
    windows = history_windows(store.episode_offsets, encoder.history)
    shape = (encoder.num_tokens, encoder.dimension)
    with store.add_features(fingerprint, stream, shape, timeout_s=UNTIL_FREE) as writer:
        start = writer.next_row
        missing = store.num_steps - start
        size = estimate_bytes(missing, {stream: (shape, np.float32)})
        check_free_space(store.path, size)
        report = None
        if progress and missing:  # nothing is, if another run embedded it in the meantime
            print(
                f"embedding {missing} steps of {images}{copy} with {encoder.name}: "
                f"{shape[0]} x {shape[1]} numbers a step, {format_bytes(size)} of disk",
                file=sys.stderr,
            )
            report = Progress("embed", store.num_steps, start=start)
        while not writer.complete:
            first = writer.next_row
            chosen = windows[first : first + _ROWS_A_COMMIT]
            # Windows of consecutive steps lie in one run of frames: each is read and decoded once.
            oldest = int(chosen.min())
            frames = store.steps(slice(oldest, int(chosen.max()) + 1), (images,))[images]
            rows = []
            for begin in range(0, len(chosen), 32):
                seen = frames[chosen[begin : begin + 32] - oldest]
                if shift is not None:
                    seen = shift_images(seen, offsets[first + begin : first + begin + len(seen)])
                rows.append(encoder.encode(seen))
                if report is not None:
                    report(min(first + begin + 32, store.num_steps - 1))
            writer.append(np.concatenate(rows))
        if report is not None:
            report(store.num_steps)
