"""EgoDTM's stem after it has gone on learning on the frames of the demonstrations themselves."""

import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from egodtm_robot.core.configuration import PictureSide, PositiveInt
from egodtm_robot.core.errors import EncoderOptionError
from egodtm_robot.core.fingerprints import hash_parts
from egodtm_robot.core.progress import Progress
from egodtm_robot.core.published_models.efficientnet import imagenet_file
from egodtm_robot.core.published_models.matching import load_matching
from egodtm_robot.core.storage.locking import UNTIL_FREE, FileLock
from egodtm_robot.encoders.adaptation import CODE_VERSION, AdaptationConfig, adapted_stem
from egodtm_robot.encoders.egodtm import EgoDTMEncoder
from pretrain.checkpoints.loading import load_model
from pretrain.checkpoints.shipped import LOOKS_NAME, shipped_checkpoint

if TYPE_CHECKING:
    from egodtm_robot.demos.store import DemonstrationStore

FOLDER = "adapted"
"""In a store of demonstrations: the weights of the encoders that were adapted to it."""

_FRAMES = 4096
"""At most so many frames are learned from, spread evenly: they are held in memory."""


class AdaptedEgoDTMEncoder(EgoDTMEncoder):
    """``egodtm`` with ``output=stem``, whose stem sees the demonstrations before they are embedded.

    Only frames of the demonstrations that a run trains on are seen, and no actions; never a frame
    of an episode that a policy is chosen or measured on. Encoders that did not see the scene are
    another row: compare with them by name. The weights are kept beside the demonstrations, so that
    runs share them, and with each policy.

    Args:
        checkpoint: see :class:`EgoDTMEncoder`.
        grid: see :class:`EgoDTMEncoder`.
        resolution: see :class:`EgoDTMEncoder`.
        batch_size: see :class:`EgoDTMEncoder`.
        steps: see :class:`~egodtm_robot.encoders.adaptation.AdaptationConfig`.
        frames: a step.
        learning_rate: see there.
        crop: see there.
        anchor: see there.
        seed: see there.

    Raises:
        EncoderOptionError: the model has no stem.
        ConfigurationError: a number of the adaptation is out of range.
        EgoDTMRobotError: see :class:`EgoDTMEncoder`.
    """

    kind = "egodtm_adapted"

    @classmethod
    def check_sources(cls, options: Mapping[str, Any]) -> None:
        """See :meth:`egodtm_robot.encoders.base.Encoder.check_sources`."""
        super().check_sources(options)
        if options.get("anchor", AdaptationConfig.anchor):
            imagenet_file()

    def __init__(
        self,
        checkpoint: str | None = LOOKS_NAME,
        grid: int | tuple[int, int] | None = None,
        resolution: PictureSide | None = None,
        batch_size: PositiveInt | None = None,
        steps: PositiveInt = 150,
        frames: PositiveInt = 64,
        learning_rate: float = 3e-4,
        crop: float = 1.0,
        anchor: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            checkpoint=checkpoint,
            output="stem",
            grid=grid,
            resolution=resolution,
            batch_size=batch_size,
        )
        self.name = "egodtm_adapted"
        self._checkpoint = checkpoint
        # A weight of 1 is one of 1.0, and no reason to learn again.
        rate, crop, anchor = float(learning_rate), float(crop), float(anchor)
        self._config = AdaptationConfig(steps, frames, rate, crop, anchor, seed)
        self._adapted = False

    def check_ready(self) -> None:
        """See :meth:`Encoder.check_ready`."""
        if not self._adapted:
            raise EncoderOptionError(
                "Expected an encoder that has seen demonstrations: egodtm_adapted learns from them "
                "in train_bc and is kept with the policy. Use encoder=egodtm where there are none."
            )

    def adapted_to(
        self,
        store: "DemonstrationStore",
        cameras: Sequence[str],
        episodes: int,
        modality: str,
        progress: bool = True,
    ) -> "AdaptedEgoDTMEncoder":
        """See :meth:`Encoder.adapted_to`."""
        if self._adapted:
            return self
        key = hash_parts(
            "adaptation",
            CODE_VERSION,
            self.fingerprint,
            asdict(self._config),
            store.prefix_fingerprint(episodes),
            list(cameras),
            modality,
        )
        folder = store.path / FOLDER / key
        lock = FileLock(folder / ".lock", f"the adapted encoder {folder}")
        lock.acquire(UNTIL_FREE)
        try:
            path = shipped_checkpoint() if self._checkpoint is None else Path(self._checkpoint)
            report = Progress("adapt", self._config.steps) if progress else None
            weights = adapted_stem(
                load_model(path, None, 1, "encoder.checkpoint").model,
                lambda: _frames(store, cameras, episodes, modality),
                self._config,
                folder,
                self.device,
                report,
            )
        finally:
            lock.release()
        if progress:
            print(f"adapted stem: {folder}", file=sys.stderr)
        return self.with_weights({f"network.{name}": one for name, one in weights.items()})

    def adapted_weights(self) -> dict[str, torch.Tensor]:
        """See :meth:`Encoder.adapted_weights`."""
        return dict(self.network.state_dict()) if self._adapted else {}

    def with_weights(self, weights: Mapping[str, torch.Tensor]) -> "AdaptedEgoDTMEncoder":
        """See :meth:`Encoder.with_weights`."""
        adapted = copy.copy(self)
        adapted.network = copy.deepcopy(self.network)
        load_matching(adapted.network, weights, "the adapted encoder")
        adapted._adapted = True
        adapted.hash_weights()
        return adapted


def _frames(
    store: "DemonstrationStore", cameras: Sequence[str], episodes: int, modality: str
) -> np.ndarray:
    """Frames of the first episodes of all cameras, spread evenly: uint8 (N, H, W, 3)."""
    steps = int(store.episode_offsets[episodes])
    wanted = min(steps, max(1, _FRAMES // len(cameras)))
    chosen = np.unique(np.linspace(0, steps - 1, wanted).astype(np.int64))
    names = [f"{modality}/{camera}" for camera in cameras]
    return np.concatenate([store.steps(chosen, (name,))[name] for name in names])
