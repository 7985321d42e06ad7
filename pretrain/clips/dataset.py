"""Clips as a model sees them: cropped, colored and put together into batches.

Nothing here has a state that a resumed run would have to restore: which clip stands at a place of
the endless stream of training, which text it comes with and how it is cropped all follow from the
seed and that place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from egodtm_robot.core.errors import DatasetError
from pretrain.clips.actions import action_numbers, action_of
from pretrain.clips.augmentation import (
    AugmentationConfig,
    central_crop,
    crop_boxes,
    crop_dense,
    crop_depth,
    crop_frames,
    crop_tokens,
    jitter,
    random_crop,
)
from pretrain.clips.clip import Boxes
from pretrain.clips.dense import DENSE_KINDS, DenseKind
from pretrain.clips.nouns import named_things
from pretrain.clips.store import ClipStore
from pretrain.clips.teacher_tokens import TeacherTokens
from pretrain.model.tokenizer import CONTEXT, tokenize

Text = Literal["random", "narration", "caption"]
"""Which text stands for a clip; ``random`` draws one of the two for every sample."""

# A stream of random numbers that never meets that of the order, see pretrain/clips/stream.py.
_SAMPLE = 1


@dataclass(frozen=True)
class SampleSpec:
    """What samples hold and how large it is.

    Attributes:
        resolution: side of the square frames, pixels.
        depth_size: (h, w) of depth maps; None leaves depth out.
        boxes: whether boxes are read.
        text: which text of a clip a sample has.
        teacher_grid: (h, w) of a teacher's tokens; None leaves them out.
        names: most nouns of its text that a sample comes with, see
            :func:`pretrain.clips.nouns.named_things`; needs boxes.
        actions: whether its action is read.
        negatives: most false captions that a sample comes with. A sample whose text is its
            narration has none: a caption that says more is no fair rival to it.
        dense: kinds of dense truth that are read, see :mod:`pretrain.clips.dense`.
        dense_cells: rows and columns of segmentation and normals.
        dense_tokens: rows and columns of points.
    """

    resolution: int
    depth_size: tuple[int, int] | None = None
    boxes: bool = False
    text: Text = "caption"
    negatives: int = 0
    dense: tuple[DenseKind, ...] = ()
    dense_cells: tuple[int, int] = (0, 0)
    dense_tokens: tuple[int, int] = (0, 0)
    teacher_grid: tuple[int, int] | None = None
    names: int = 0
    actions: bool = False


@dataclass
class ClipBatch:
    """A batch of B clips.

    Attributes:
        frames: uint8 (B, T, H, W, 3), RGB.
        tokens: int64 (B, 77), CLIP's ids of each clip's text.
        depth: float32 (B, T, h, w) in the store's units, NaN where not known and for clips without
            depth; None if depth was not asked for.
        boxes: of each clip; None for clips without any, whose boxes are taken as not known, and
            None in all if boxes were not asked for.
        index: int64 (B,), numbers of the clips in their data set.
        negatives: int64 (B, k, 77), ids of captions that are false of the clip, zero where there
            are fewer than k; None if none were asked for.
        dense: truth by kind, (B, ...) of :func:`~pretrain.clips.augmentation.crop_dense`; None if
            none was asked for.
        teacher: float32 (B, T, L, D), a teacher's standardized tokens on the grid of the model's
            patches; None if none were asked for.
        names: int64 (B, K, 77), ids of nouns of the clip's text, zero where there are fewer than K;
            None if none were asked for.
        actions: int64 (B, 1 + M), see :func:`pretrain.clips.actions.action_numbers`; None if they
            were not asked for.
    """

    frames: torch.Tensor
    tokens: torch.Tensor
    depth: torch.Tensor | None
    boxes: list[Boxes | None] | None
    index: torch.Tensor
    negatives: torch.Tensor | None = None
    dense: dict[str, torch.Tensor] | None = None
    teacher: torch.Tensor | None = None
    names: torch.Tensor | None = None
    actions: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def to(self, device: torch.device) -> "ClipBatch":
        """The same batch on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "ClipBatch":
        """The same batch in memory that a GPU copies from while others work."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "ClipBatch":
        def changed(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else change(tensor)

        return ClipBatch(
            frames=change(self.frames),
            tokens=change(self.tokens),
            depth=changed(self.depth),
            boxes=self.boxes,
            index=change(self.index),
            negatives=changed(self.negatives),
            names=changed(self.names),
            actions=changed(self.actions),
            dense=self.dense and {kind: change(values) for kind, values in self.dense.items()},
            teacher=changed(self.teacher),
        )


@dataclass(frozen=True)
class Draw:
    """One sample to make.

    Attributes:
        clip: number of the clip in its data set.
        place: in the stream of training, from which all its randomness follows; None for a sample
            without randomness: the middle of the frame in its own colors.
        single: whether one frame, drawn at random, stands for the clip.
    """

    clip: int
    place: int | None = None
    single: bool = False


@dataclass
class _Sample:
    frames: torch.Tensor
    text: str
    depth: torch.Tensor | None
    boxes: Boxes | None
    index: int
    negatives: list[str]
    names: list[str]
    actions: list[int] | None
    dense: dict[str, torch.Tensor]
    teacher: torch.Tensor | None = None


class ClipDataset(Dataset):
    """Samples of some clips of a store. Spawned workers may be handed one.

    Args:
        store: where they lie.
        spec: what a sample holds.
        augmentation: of draws that have a place in the stream.
        seed: of all randomness.
        clips: int (n,), which clips of the store; None takes all.
        teacher: a teacher's tokens of the store's clips, for samples with a ``teacher_grid``.

    Raises:
        DatasetError: there are no clips, clips of different numbers of frames, or clips without the
            dense truth that samples are to hold.
    """

    def __init__(
        self,
        store: ClipStore,
        spec: SampleSpec,
        augmentation: AugmentationConfig | None = None,
        seed: int = 0,
        clips: np.ndarray | None = None,
        teacher: TeacherTokens | None = None,
    ) -> None:
        self.teacher = teacher
        self.clips = np.arange(len(store)) if clips is None else np.asarray(clips, np.int64)
        if not len(self.clips):
            paths = ", ".join(str(path) for path in store.paths)
            raise DatasetError(
                f"Expected at least one clip of {paths}, got none. Make clips first."
            )
        lengths = sorted({shape[0] for shape in store.frame_shapes})
        if len(lengths) > 1:
            raise DatasetError(
                f"Expected clips of one number of frames, got stores of {lengths} frames. Train on "
                "them apart, or make them again."
            )
        for kind in spec.dense:
            if not store.has(kind)[self.clips].all():
                raise DatasetError(
                    f"Expected clips with {kind} in {', '.join(map(str, store.paths))}, which "
                    "the objective is trained on, got clips without. Draw them with "
                    f"synthetic.dense=[{','.join(spec.dense)}], or set its weight to 0."
                )
        self.store = store
        self.spec = spec
        self.augmentation = augmentation or AugmentationConfig()
        self.seed = seed
        self.frames = lengths[0]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, draw: Draw) -> _Sample:
        """The sample of a draw."""
        spec = self.spec
        random = None
        if draw.place is not None:
            random = np.random.default_rng([self.seed, _SAMPLE, draw.place])
        text = spec.text
        if text == "random":
            text = "caption" if random is None else ("narration", "caption")[random.integers(2)]
        fields = ["frames", text]
        # What moves where can't be told from one frame.
        contrasted = spec.negatives > 0 and text == "caption" and not draw.single
        fields += ["distractors"] if contrasted else []
        fields += ["depth"] if spec.depth_size is not None else []
        fields += ["boxes"] if spec.boxes else []
        fields += spec.dense
        fields += ["extra"] if spec.actions else []
        values = {name: found[0] for name, found in self.read([draw.clip], fields).items()}
        if spec.teacher_grid is not None:
            assert self.teacher is not None
            values["teacher"] = self.teacher.read(int(self.clips[draw.clip]))
        if draw.single and random is not None:
            values = _one_frame(values, int(random.integers(self.frames)))
        frames = values["frames"]
        height, width = frames.shape[1:3]
        crop = central_crop(height, width)
        if random is not None:
            crop = random_crop(height, width, self.augmentation, random)
            frames = jitter(frames, self.augmentation, random)
        depth = None
        if spec.depth_size is not None:
            depth = crop_depth(values["depth"], crop, spec.depth_size, len(frames))
        boxes = crop_boxes(values["boxes"], crop) if spec.boxes and len(values["boxes"]) else None
        negatives = list(values["distractors"]) if contrasted else []
        if random is not None:
            negatives = [negatives[i] for i in random.permutation(len(negatives))]
        maps: dict[DenseKind, np.ndarray] = {
            kind: values[kind] for kind in spec.dense if kind != "looks"
        }
        dense = crop_dense(maps, crop, spec.dense_cells, spec.dense_tokens)
        if "looks" in spec.dense:
            looks = values["looks"]
            if random is not None:
                # Colors of its own, so that the two looks differ by more than the simulator drew.
                looks = jitter(looks, self.augmentation, random)
            dense["looks"] = crop_frames(looks, crop, spec.resolution)
        return _Sample(
            crop_frames(frames, crop, spec.resolution),
            values[text],
            depth,
            boxes,
            draw.clip,
            negatives[: spec.negatives],
            named_things(values[text], boxes)[: spec.names] if boxes is not None else [],
            action_numbers(action_of(values["extra"])) if spec.actions else None,
            dense,
            None
            if spec.teacher_grid is None
            else crop_tokens(values["teacher"], crop, spec.teacher_grid),
        )

    def read(self, indices: Sequence[int], fields: Sequence[str]) -> dict[str, list]:
        """Fields of clips as they were stored, see :meth:`ClipStore.read`."""
        return self.store.read(self.clips[np.asarray(indices, np.int64)], fields)

    def batch(self, draws: Sequence[Draw]) -> ClipBatch:
        """The batch of some draws, made in this process."""
        return self.collate([self[draw] for draw in draws])

    def collate(self, samples: Sequence[_Sample]) -> ClipBatch:
        """Put samples together."""
        depth = [sample.depth for sample in samples if sample.depth is not None]
        teacher = [sample.teacher for sample in samples if sample.teacher is not None]
        return ClipBatch(
            frames=torch.stack([sample.frames for sample in samples]),
            tokens=tokenize([sample.text for sample in samples]),
            depth=torch.stack(depth) if self.spec.depth_size is not None else None,
            boxes=[sample.boxes for sample in samples] if self.spec.boxes else None,
            index=torch.tensor([sample.index for sample in samples]),
            negatives=_padded([sample.negatives for sample in samples], self.spec.negatives),
            names=_padded([sample.names for sample in samples], self.spec.names),
            actions=(
                torch.tensor([sample.actions for sample in samples]) if self.spec.actions else None
            ),
            dense={
                kind: torch.stack([sample.dense[kind] for sample in samples])
                for kind in self.spec.dense
            }
            or None,
            teacher=torch.stack(teacher) if self.spec.teacher_grid is not None else None,
        )


def _padded(texts: Sequence[Sequence[str]], most: int) -> torch.Tensor | None:
    """Ids (B, most, 77) of each sample's texts, zero where it has fewer; None for ``most`` 0."""
    if not most:
        return None
    counts = torch.tensor([len(own) for own in texts])
    present = torch.arange(most) < counts[:, None]
    found = torch.zeros((*present.shape, CONTEXT), dtype=torch.int64)
    if counts.any():
        found[present] = tokenize([text for own in texts for text in own])
    return found


def _one_frame(values: dict[str, Any], frame: int) -> dict[str, Any]:
    """The fields of a clip that has this frame alone."""
    kept: dict[str, Any] = values | {"frames": values["frames"][frame : frame + 1]}
    if values.get("depth") is not None:
        kept["depth"] = values["depth"][frame : frame + 1]
    for kind in DENSE_KINDS:
        if kind in values:
            # One frame makes no pair.
            rows = slice(0) if kind == "points" else slice(frame, frame + 1)
            kept[kind] = values[kind][rows]
    if "teacher" in values:
        kept["teacher"] = values["teacher"][frame : frame + 1]
    if "boxes" in values:
        boxes: Boxes = values["boxes"]
        kept["boxes"] = boxes.select(boxes.frame == frame)
        kept["boxes"].frame[:] = 0
    return kept
