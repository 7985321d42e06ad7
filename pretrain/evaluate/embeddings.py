"""Embeddings that are computed once a model, and kept on disk under its fingerprint."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from egodtm_robot.core.atomic_files import write_atomically
from egodtm_robot.core.fingerprints import hash_parts
from pretrain.evaluate.model import VideoTextModel

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

    def videos(self, model: VideoTextModel, clips: Sequence[int]) -> np.ndarray:
        """Float32 (n, J) of n clips."""
        self._take(model)
        return np.stack([row for clip in clips for row in self._clip(model, int(clip))])

    def texts(self, model: VideoTextModel, texts: Sequence[str]) -> np.ndarray:
        """Float32 (n, J) of n texts. Equal texts have equal embeddings to the last bit."""
        self._take(model)
        new = sorted(set(texts) - self._texts.keys())
        for start in range(0, len(new), _TEXTS_AT_ONCE):
            part = new[start : start + _TEXTS_AT_ONCE]
            rows = self._kept(
                model,
                Path("texts", f"{hash_parts(part)}.npy"),
                lambda part=part: model.encode_text(part).float().cpu().numpy(),  # type: ignore[misc]
            )
            self._texts |= dict(zip(part, rows, strict=True))
        return np.stack([self._texts[text] for text in texts])

    def _clip(self, model: VideoTextModel, clip: int) -> Iterator[np.ndarray]:
        from pretrain.evaluate.clips import PIECE

        number = clip // PIECE
        if number not in self._pieces:
            self._pieces[number] = self._kept(
                model,
                Path(self._data.fingerprint, f"{number:05d}.npy"),
                lambda: (
                    model.encode_video(self._data.frames(self._data.piece(number)))
                    .float()
                    .cpu()
                    .numpy()
                ),
            )
        yield self._pieces[number][clip - number * PIECE]

    def _take(self, model: VideoTextModel) -> None:
        if self._model is not model:
            self._model, self._pieces, self._texts = model, {}, {}

    def _kept(
        self, model: VideoTextModel, place: Path, compute: Callable[[], np.ndarray]
    ) -> np.ndarray:
        if self._folder is None:
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
