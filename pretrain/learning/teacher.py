"""A frozen vision model of transformers whose tokens a model learns to give."""

import inspect
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from egodtm_robot.core.errors import WeightsError
from egodtm_robot.core.fingerprints import hash_parts, hash_tensors
from egodtm_robot.core.published_models.hub import (
    load_config,
    load_model,
    load_processor_config,
)
from egodtm_robot.core.published_models.preprocessing import Preprocessing, processor_size
from pretrain.clips.store import ClipStore
from pretrain.clips.teacher_tokens import TeacherTokens, make_tokens, tokens_folder

CODE_VERSION = 1

TEACHERS = (
    "clip_vision_model",
    "deit",
    "dinov2",
    "dinov2_with_registers",
    "dinov3_vit",
    "siglip_vision_model",
    "vit",
)
"""Kinds of models whose last hidden states end with one token for each patch."""


class Teacher:
    """Patch tokens of whole frames, averaged to a grid.

    The frame is squeezed into the teacher's square and not cut, so that each token keeps its place.

    Args:
        source: hub id, or a folder that ``save_pretrained`` wrote with the processor's file.
        grid: rows and columns of the tokens, at most those of the teacher.
        device: where it runs.

    Raises:
        WeightsError: there is no such model, or it is of a kind without a token for each patch.
        CheckpointMismatchError: tensors are missing, unexpected or of another shape.
    """

    def __init__(
        self, source: str, grid: tuple[int, int], device: torch.device | str = "cpu"
    ) -> None:
        from transformers import AutoModel

        config = load_config(source)
        config = getattr(config, "vision_config", config)
        if config.model_type not in TEACHERS:
            raise WeightsError(
                f"Expected a teacher of one of the kinds {', '.join(TEACHERS)}, got {source} of "
                f"kind {config.model_type}. Choose another teacher."
            )
        processor = load_processor_config(source)
        size = processor_size(getattr(config, "image_size", 224))
        seen = processor_size(
            processor.get("crop_size" if processor.get("do_center_crop") else "size", size)
        )
        self.source = source
        self.grid = grid
        self._patch = int(config.patch_size)
        self._preprocessing = Preprocessing.from_processor(
            processor, (size[0], size[-1]), seen[0] // self._patch * self._patch
        )
        model_class: Any = AutoModel._model_mapping[type(config)]
        options: dict[str, Any] = {}
        if "add_pooling_layer" in inspect.signature(model_class).parameters:
            options["add_pooling_layer"] = False
        self._model = load_model(
            model_class, source, belongs=_belongs, config=config, **options
        ).to(device)
        self._device = device
        self.fingerprint = hash_parts(
            "teacher",
            CODE_VERSION,
            hash_tensors(self._model.state_dict()),
            asdict(self._preprocessing),
            list(grid),
        )
        """16 hexadecimal digits of what decides the tokens."""
        takes = inspect.signature(self._model.forward).parameters
        self._options = (
            {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in takes else {}
        )

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Uint8 (T, H, W, 3) -> float32 (T, h, w, D)."""
        with torch.inference_mode():
            pixels = self._preprocessing(torch.from_numpy(frames).to(self._device))
            rows, columns = (side // self._patch for side in pixels.shape[-2:])
            hidden = self._model(pixel_values=pixels, **self._options).last_hidden_state
            # Before the patches stand a class token and registers, if there are any.
            maps = hidden[:, -rows * columns :].transpose(1, 2).unflatten(2, (rows, columns))
            averaged = functional.adaptive_avg_pool2d(maps.float(), self.grid)
        return averaged.permute(0, 2, 3, 1).cpu().numpy()


def make_teacher_tokens(
    teacher: Teacher,
    store: ClipStore,
    clips: int,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Compute a teacher's tokens that are missing; the work of one process.

    Raises:
        EgoDTMRobotError: see :func:`pretrain.clips.teacher_tokens.make_tokens`.
    """
    name = Path(teacher.source).name
    folder = tokens_folder(store, teacher.fingerprint)
    make_tokens(folder, store, clips, teacher.fingerprint, name, teacher, progress)


def open_teacher_tokens(teacher: Teacher, store: ClipStore) -> TeacherTokens:
    """The tokens that :func:`make_teacher_tokens` made.

    Raises:
        EgoDTMRobotError: see :meth:`pretrain.clips.teacher_tokens.TeacherTokens.open`.
    """
    folder = tokens_folder(store, teacher.fingerprint)
    return TeacherTokens.open(folder, store, teacher.fingerprint)


def _belongs(name: str, model: Any) -> bool:
    """Whether a tensor that is left over makes the checkpoint another model's."""
    own = {part.split(".")[0] for part in model.state_dict()}
    first = name.removeprefix(model.base_model_prefix + ".").split(".")[0]
    return first in own and ".pooler." not in f".{name}" and not name.endswith("position_ids")
