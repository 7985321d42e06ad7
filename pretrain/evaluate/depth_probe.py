"""Depth through a model's own decoder and through heads on its frozen backbone, side by side."""

from collections.abc import Sequence
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from torch.nn import functional

from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.depth import range_of
from pretrain.evaluate.depth_heads import (
    ENLARGEMENT,
    DepthExamples,
    fit_convolutional_depth,
    fit_linear_depth,
)
from pretrain.evaluate.depth_metrics import (
    ALIGNMENTS,
    DEPTH_METRICS,
    Alignment,
    depth_accuracy,
)
from pretrain.evaluate.model import DepthModel, PatchModel, VideoTextModel
from pretrain.evaluate.probe_task import ProbeTask
from pretrain.evaluate.task import (
    EvaluationDataError,
    Record,
    Scores,
    column,
    finite_column,
    mean_estimate,
)

Head = Literal["decoder", "linear", "dpt"]

BLIND = "mean_map"
"""The mean depth of the training clips, whatever is seen: what the layout of such videos gives."""


class DepthProbe(ProbeTask):
    """delta1 to delta3, AbsRel, RMSE and log RMSE of the middle frame of each clip.

    The decoder is the model's own and is fitted to nothing here; ``linear`` and ``dpt`` are fitted
    on the frozen patch tokens (:mod:`pretrain.evaluate.depth_heads`). All see the same frames and
    are scored on the same grid.

    Args:
        training: see :class:`pretrain.evaluate.probe_task.ProbeTask`.
        heads: which; None takes all that the model has what it takes for.
        alignment: what is left open for each frame. ``none`` leaves the decoder out, which knows
            no unit.
    """

    name = "depth_probe"
    headline = "delta1"

    def __init__(
        self,
        training: Any = None,
        heads: Sequence[Head] | None = None,
        alignment: Alignment = "scale_and_shift",
    ) -> None:
        super().__init__(training)
        self.heads = None if heads is None else tuple(heads)
        self.alignment = alignment
        wrong = set(self.heads or ()) - set(get_args(Head))
        if wrong or self.heads == ():
            raise EvaluationDataError(
                f"Expected some of the heads {', '.join(get_args(Head))}, got "
                f"{sorted(wrong) or 'none'}."
            )
        if alignment not in ALIGNMENTS:
            raise EvaluationDataError(
                f"Expected alignment {', '.join(ALIGNMENTS)}, got {alignment!r}."
            )
        if alignment == "none" and self.heads is not None and "decoder" in self.heads:
            raise EvaluationDataError(
                "Expected an alignment for the decoder, which knows no unit, got none. Leave the "
                "decoder out of heads."
            )

    def lacks_of_model(self, model: VideoTextModel) -> str | None:
        """A model with a decoder or patch tokens is needed."""
        needs = {"decoder": ("depth", "depth"), "linear": ("patch_tokens", "patch tokens")}
        for head in self.heads or ():
            method, words = needs["decoder" if head == "decoder" else "linear"]
            if not hasattr(model, method):
                return f"a model with {words}"
        return None if self._chosen(model) else "a model with depth or patch tokens"

    def lacks(self, model: VideoTextModel, data: EvaluationClips) -> str | None:
        """Clips with depth are needed besides."""
        known = data.store.has("depth")[data.clips].any()
        return self.lacks_of_model(model) or (None if known else "clips with depth")

    def observe(
        self, model: VideoTextModel, data: EvaluationClips, clips: Sequence[int]
    ) -> list[Record]:
        """The tokens of the middle frame, its true depth, and the decoder's.

        Raises:
            EvaluationDataError: a number is not finite.
        """
        frames = data.frames(clips)
        middle = frames.shape[1] // 2
        heads = self._chosen(model)
        parts: dict[str, np.ndarray] = {}
        size = None
        if set(heads) - {"decoder"}:
            tokens = cast(PatchModel, model).patch_tokens(frames)[:, middle].float().cpu()
            size = (tokens.shape[1] * ENLARGEMENT, tokens.shape[2] * ENLARGEMENT)
            # Half precision halves what is kept; probes don't see the difference.
            parts["tokens"] = tokens.numpy().astype(np.float16)
        if "decoder" in heads:
            found = cast(DepthModel, model).depth(frames)[:, middle].float().cpu()
            size = size or (found.shape[1], found.shape[2])
            parts["decoder"] = _resized(found, size).numpy()
        assert size is not None
        truth = data.depth(clips, size)[:, middle].numpy()
        truth = np.where(truth > 0, truth, np.nan).astype(np.float32)
        return [
            {
                "unit": data.depth_unit,
                "truth": truth[row],
                **{name: values[row] for name, values in parts.items()},
            }
            for row in range(len(frames))
        ]

    def score(self, records: Sequence[Record]) -> Scores | None:
        """Means over the clips whose depth is known; None if there is none.

        Raises:
            EvaluationDataError: there are too few scenes to fit a head on, none with known depth,
                or an answer of the model is not finite.
        """
        records = [record for record in records if np.isfinite(record["truth"]).any()]
        measured = np.array([not record["training"] for record in records], bool)
        if not measured.any():
            return None
        truth = column(records, "truth")
        maps: dict[str, np.ndarray] = {}
        if "decoder" in records[0]:
            maps["decoder"] = finite_column(records, "decoder")
        if "tokens" in records[0]:
            maps |= self._fitted(records, truth)
        rows = np.flatnonzero(measured)
        scores = {
            name: np.stack([depth_accuracy(found[r], truth[r], self.alignment) for r in rows])
            for name, found in maps.items()
        }
        videos = [records[row]["video"] for row in rows]
        numbers = {
            f"{name}/{metric}": mean_estimate(values[:, place], videos, within=range_of(metric))
            for name, values in scores.items()
            for place, metric in enumerate(DEPTH_METRICS)
        }
        best = next(name for name in ("decoder", "dpt", "linear") if name in scores)
        return Scores(
            headline=numbers[f"{best}/delta1"],
            numbers=numbers,
            facts={
                "clips": len(rows),
                "training_clips": int((~measured).sum()),
                "unit": records[0]["unit"],
                "alignment": ALIGNMENTS[self.alignment],
            },
            outcomes=[
                {
                    **{name: records[row][name] for name in ("item", "clip", "video")},
                    self.headline: float(scores[best][place, DEPTH_METRICS.index(self.headline)]),
                    **{
                        f"{name}/{metric}": float(value)
                        for name, values in scores.items()
                        for metric, value in zip(DEPTH_METRICS, values[place], strict=True)
                    },
                }
                for place, row in enumerate(rows)
            ],
        )

    def _chosen(self, model: VideoTextModel) -> tuple[Head, ...]:
        able: list[Head] = []
        if hasattr(model, "depth") and self.alignment != "none":
            able.append("decoder")
        if hasattr(model, "patch_tokens"):
            able += ["linear", "dpt"]
        return tuple(head for head in able if self.heads is None or head in self.heads)

    def _fitted(self, records: Sequence[Record], truth: np.ndarray) -> dict[str, np.ndarray]:
        """Depth maps float32 (n, h, w) of each fitted head and of the mean map, by fold."""
        wanted = [head for head in ("linear", "dpt") if self.heads is None or head in self.heads]
        examples = DepthExamples(finite_column(records, "tokens"), truth)
        maps = {name: np.full(truth.shape, np.nan, np.float32) for name in (*wanted, BLIND)}
        for fold in self.folds(records):
            fit, validation = examples.select(fold.fit), examples.select(fold.validation)
            tokens = examples.tokens[fold.test]
            if "linear" in wanted:
                maps["linear"][fold.test] = fit_linear_depth(fit, validation)(tokens)
            if "dpt" in wanted:
                maps["dpt"][fold.test] = fit_convolutional_depth(fit, validation)(tokens)
            maps[BLIND][fold.test] = _mean_map(truth[fold.training])
        return maps


def _resized(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(n, h, w) on a grid of another size."""
    if tuple(maps.shape[1:]) == size:
        return maps
    return functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def _mean_map(truth: np.ndarray) -> np.ndarray:
    """The mean depth (h, w) of (n, h, w); where it is never known, that of the rest."""
    known = np.isfinite(truth)
    total = np.where(known, truth, 0).sum(axis=0)
    overall = total.sum() / known.sum()
    mean: np.ndarray = np.where(
        known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), overall
    )
    return mean
