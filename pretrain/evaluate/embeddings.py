"""Embeddings that are computed once a model, and kept on disk under its fingerprint."""

import functools
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from egodtm_robot.core.fingerprints import hash_parts
from egodtm_robot.core.storage.atomic_files import write_atomically
from pretrain.evaluate.model import ModelAnswerError, VideoTextModel

if TYPE_CHECKING:
    from pretrain.evaluate.clips import EvaluationClips

_TEXTS_AT_ONCE = 64


class Embeddings:
    """Embeddings of the clips of a data set and of texts, of one model at a time.

    Args:
        data: the clips.
        folder: where they are kept, below folders for model and data; None keeps them in memory.
    """

    def __init__(self, data: "EvaluationClips", folder: Path | None) -> None:
        self._data = data
        self._folder = folder
        self._model: VideoTextModel | None = None
        self._pieces: dict[int, np.ndarray] = {}
        self._texts: dict[str, np.ndarray] = {}
        self._width: int | None = None

    def videos(self, model: VideoTextModel, clips: Sequence[int]) -> np.ndarray:
        """Float32 (n, J) of n clips."""
        self._take(model)
        rows = []
        for clip in clips:
            number = self._data.piece_of(clip)
            piece = self._data.piece(number)
            if number not in self._pieces:
                self._pieces[number] = self._kept(
                    model,
                    Path(self._data.seen, f"{number:05d}.npy"),
                    functools.partial(self._encode_clips, model, piece),
                )
            rows.append(self._pieces[number][clip - piece.start])
        return np.stack(rows)

    def texts(self, model: VideoTextModel, texts: Sequence[str]) -> np.ndarray:
        """Float32 (n, J) of n texts. Equal texts have equal embeddings to the last bit."""
        self._take(model)
        new = sorted(set(texts) - self._texts.keys())
        for start in range(0, len(new), _TEXTS_AT_ONCE):
            part = new[start : start + _TEXTS_AT_ONCE]
            rows = self._kept(
                model,
                Path("texts", f"{hash_parts(part)}.npy"),
                functools.partial(self._rows, model, "encode_text", part),
            )
            self._texts |= dict(zip(part, rows, strict=True))
        return np.stack([self._texts[text] for text in texts])

    def _encode_clips(self, model: VideoTextModel, clips: range) -> np.ndarray:
        if self._data.views == 1:
            return self._rows(model, "encode_video", self._data.frames(clips))
        means = []
        for clip in clips:
            views = torch.stack(list(self._data.view_frames(clip)))
            mean = self._rows(model, "encode_video", views).mean(axis=0)
            means.append(mean / max(float(np.linalg.norm(mean)), 1e-12))
        return np.stack(means)

    def _rows(self, model: VideoTextModel, method: str, shown: Sequence[str] | torch.Tensor) -> Any:
        """What a model makes of clips or texts, float32 (n, J).

        Raises:
            ModelAnswerError: it is of another form, or not as wide as its other embeddings.
        """
        rows = getattr(model, method)(shown).float().cpu().numpy()
        wanted = (len(shown), self._width or rows.shape[-1])
        if rows.shape != wanted:
            raise ModelAnswerError(
                f"Expected {method} of {model.name} to give embeddings of shape {wanted} for "
                f"{len(shown)} inputs, as wide as its others; got {rows.shape}. See "
                "pretrain/evaluate/model.py."
            )
        self._width = rows.shape[-1]
        return rows

    def _take(self, model: VideoTextModel) -> None:
        if self._model is not model:
            self._model, self._pieces, self._texts, self._width = model, {}, {}, None

    def _kept(
        self, model: VideoTextModel, place: Path, compute: Callable[[], np.ndarray]
    ) -> np.ndarray:
        if self._folder is None:
            # A fingerprint hashes all weights: not asked for where nothing is kept.
            return compute()
        path = self._folder / model.fingerprint / place
        try:
            found: np.ndarray = np.load(path, allow_pickle=False)
            return found
        except (OSError, ValueError, EOFError):
            rows = compute()
        buffer = io.BytesIO()
        np.save(buffer, rows, allow_pickle=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())
        return rows
