"""Clips as a model sees them: drawn in an order that depends on seed and step alone, cropped,
colored and put together into batches by worker processes.

Nothing here has a state that a resumed run would have to restore: which clip stands at a place of
the endless stream of training, which text it comes with and how it is cropped all follow from the
seed and that place.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler

from egodtm_robot.core.errors import ConfigurationError, DatasetError
from pretrain.clips.clip import Boxes
from pretrain.clips.store import ClipStore
from pretrain.model.tokenizer import CONTEXT, tokenize

Text = Literal["random", "narration", "caption"]
"""Which text stands for a clip; ``random`` draws one of the two for every sample."""

# Streams of random numbers that must not meet.
_ORDER, _SAMPLE = 0, 1

_SMALLEST_SHARE = 0.2
"""A box of which less lies within the crop is dropped."""

_GRAY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass
class AugmentationConfig:
    """Changes that leave true what the texts say, the same for all frames of a clip.

    There is no flip: it would make every "left" a lie. The defaults are mild, since synthetic rooms
    have colors enough: with twice as much a small network learned their depth more slowly.
    """

    smallest_crop: float = 0.8
    """Least share of the frame's area that a random crop keeps; 1 keeps the frame."""

    aspect: float = 1.2
    """Crops are up to so many times wider than high, or higher than wide, before resizing."""

    brightness: float = 0.15
    """All colors are multiplied by a factor within 1 +- this."""

    contrast: float = 0.15
    """Differences from the clip's mean gray are multiplied by a factor within 1 +- this."""

    saturation: float = 0.15
    """Differences from a pixel's own gray are multiplied by a factor within 1 +- this."""

    tint: float = 0.05
    """Each color is multiplied by a factor of its own within 1 +- this."""

    def __post_init__(self) -> None:
        if not 0 < self.smallest_crop <= 1 or not self.aspect >= 1:
            raise ConfigurationError(
                f"Expected smallest_crop in (0, 1] and aspect >= 1, got {self.smallest_crop} and "
                f"{self.aspect}."
            )
        for name in ("brightness", "contrast", "saturation", "tint"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigurationError(f"Expected {name} in [0, 1), got {getattr(self, name)}.")


@dataclass(frozen=True)
class SampleSpec:
    """What samples hold and how large it is.

    Attributes:
        resolution: side of the square frames, pixels.
        depth_size: (h, w) of depth maps; None leaves depth out.
        boxes: whether boxes are read.
        text: which text of a clip a sample has.
        negatives: most false captions that a sample comes with. A sample whose text is its
            narration has none: a caption that says more is no fair rival to it.
    """

    resolution: int
    depth_size: tuple[int, int] | None = None
    boxes: bool = False
    text: Text = "caption"
    negatives: int = 0


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
    """

    frames: torch.Tensor
    tokens: torch.Tensor
    depth: torch.Tensor | None
    boxes: list[Boxes | None] | None
    index: torch.Tensor
    negatives: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def to(self, device: torch.device) -> "ClipBatch":
        """The same batch on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "ClipBatch":
        """The same batch in memory that a GPU copies from while others work."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "ClipBatch":
        return ClipBatch(
            frames=change(self.frames),
            tokens=change(self.tokens),
            depth=None if self.depth is None else change(self.depth),
            boxes=self.boxes,
            index=change(self.index),
            negatives=None if self.negatives is None else change(self.negatives),
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


class ClipDataset(Dataset):
    """Samples of some clips of a store. Spawned workers may be handed one.

    Args:
        store: where they lie.
        spec: what a sample holds.
        augmentation: of draws that have a place in the stream.
        seed: of all randomness.
        clips: int (n,), which clips of the store; None takes all.

    Raises:
        DatasetError: there are no clips, or clips of different numbers of frames.
    """

    def __init__(
        self,
        store: ClipStore,
        spec: SampleSpec,
        augmentation: AugmentationConfig | None = None,
        seed: int = 0,
        clips: np.ndarray | None = None,
    ) -> None:
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
                "them apart, or make them anew."
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
        values = {name: found[0] for name, found in self.read([draw.clip], fields).items()}
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
        return _Sample(
            crop_frames(frames, crop, spec.resolution),
            values[text],
            depth,
            boxes,
            draw.clip,
            negatives[: spec.negatives],
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
        return ClipBatch(
            frames=torch.stack([sample.frames for sample in samples]),
            tokens=tokenize([sample.text for sample in samples]),
            depth=torch.stack(depth) if self.spec.depth_size is not None else None,
            boxes=[sample.boxes for sample in samples] if self.spec.boxes else None,
            index=torch.tensor([sample.index for sample in samples]),
            negatives=self._negatives(samples) if self.spec.negatives else None,
        )

    def _negatives(self, samples: Sequence[_Sample]) -> torch.Tensor:
        texts = [text for sample in samples for text in sample.negatives]
        counts = torch.tensor([len(sample.negatives) for sample in samples])
        present = torch.arange(self.spec.negatives) < counts[:, None]
        found = torch.zeros((*present.shape, CONTEXT), dtype=torch.int64)
        if texts:
            found[present] = tokenize(texts)
        return found


def _one_frame(values: dict[str, Any], frame: int) -> dict[str, Any]:
    """The fields of a clip that has this frame alone."""
    kept: dict[str, Any] = values | {"frames": values["frames"][frame : frame + 1]}
    if values.get("depth") is not None:
        kept["depth"] = values["depth"][frame : frame + 1]
    if "boxes" in values:
        boxes: Boxes = values["boxes"]
        kept["boxes"] = boxes.select(boxes.frame == frame)
        kept["boxes"].frame[:] = 0
    return kept


# -- the order of training -----------------------------------------------------------------------


class StreamSampler(Sampler[list[Draw]]):
    """Draws of each step's batch from ``start`` to ``stop``, of one process.

    Training walks through an endless stream in which every run of ``clips`` places is a permutation
    of all clips. Step s has the places s * batch_size to (s + 1) * batch_size; of them process r
    takes the r-th of ``processes`` equal parts.

    Args:
        clips: how many clips there are.
        seed: of the permutations.
        batch_size: clips of a step in all processes together.
        start: first step.
        stop: step behind the last.
        process: number of this process.
        processes: how many there are.
        image_steps: steps of the beginning whose samples are single frames.
        image_batch_size: samples of such a step in all processes together.
    """

    def __init__(
        self,
        clips: int,
        seed: int,
        batch_size: int,
        start: int,
        stop: int,
        process: int = 0,
        processes: int = 1,
        image_steps: int = 0,
        image_batch_size: int = 0,
    ) -> None:
        if batch_size % processes or image_batch_size % processes:
            raise ConfigurationError(
                f"Expected a batch_size that {processes} processes can share equally, got "
                f"{batch_size} and for images {image_batch_size}."
            )
        self.clips = clips
        self.seed = seed
        self.batch_size = batch_size
        self.start = start
        self.stop = stop
        self.process = process
        self.processes = processes
        self.image_steps = image_steps
        self.image_batch_size = image_batch_size

    def __len__(self) -> int:
        return max(0, self.stop - self.start)

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in range(self.start, self.stop):
            images = min(step, self.image_steps) * self.image_batch_size
            single = step < self.image_steps
            share = (self.image_batch_size if single else self.batch_size) // self.processes
            first = images + max(0, step - self.image_steps) * self.batch_size
            first += self.process * share
            yield [
                Draw(clip_at(place, self.clips, self.seed), place, single)
                for place in range(first, first + share)
            ]


def clip_at(place: int, clips: int, seed: int) -> int:
    """The clip at a place of the stream of a seed."""
    return int(_permutation(place // clips, clips, seed)[place % clips])


@functools.lru_cache(maxsize=4)
def _permutation(epoch: int, clips: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(clips)


def training_loader(
    dataset: ClipDataset,
    sampler: StreamSampler,
    workers: int,
    pin_memory: bool = False,
) -> DataLoader:
    """Batches of the sampler's steps, made ahead by worker processes.

    Args:
        dataset: what to draw from.
        sampler: what to draw.
        workers: processes; 0 makes batches in this one.
        pin_memory: see :meth:`ClipBatch.pin_memory`.
    """
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=dataset.collate,
        pin_memory=pin_memory,
        # Forked workers would inherit locks and threads of torch in whatever state they are.
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=2 if workers else None,
    )


# -- crops and colors ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Crop:
    """A part of a frame in whole pixels, and the frame's size."""

    top: int
    left: int
    height: int
    width: int
    frame: tuple[int, int]

    @property
    def shares(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom as shares of the frame."""
        height, width = self.frame
        return (
            self.left / width,
            self.top / height,
            (self.left + self.width) / width,
            (self.top + self.height) / height,
        )


def central_crop(height: int, width: int) -> Crop:
    """The largest square in the middle of a frame."""
    side = min(height, width)
    return Crop((height - side) // 2, (width - side) // 2, side, side, (height, width))


def random_crop(
    height: int, width: int, config: AugmentationConfig, random: np.random.Generator
) -> Crop:
    """A part of a frame of random area, aspect ratio and place."""
    area = height * width * random.uniform(config.smallest_crop, 1)
    aspect = math.exp(random.uniform(-1, 1) * math.log(config.aspect))
    # What does not fit is cut to the frame, so that a crop of the whole area is the whole frame.
    wide = min(width, max(1, round(math.sqrt(area * aspect))))
    high = min(height, max(1, round(math.sqrt(area / aspect))))
    top = int(random.integers(height - high + 1))
    left = int(random.integers(width - wide + 1))
    return Crop(top, left, high, wide, (height, width))


def crop_frames(frames: np.ndarray, crop: Crop, resolution: int) -> torch.Tensor:
    """Cut and resize frames uint8 (T, H, W, 3) -> (T, resolution, resolution, 3)."""
    part = frames[:, crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    pixels = torch.from_numpy(np.ascontiguousarray(part))
    if part.shape[1:3] != (resolution, resolution):
        # A view in channels-last memory, for which torch has a fast path.
        pixels = functional.interpolate(
            pixels.permute(0, 3, 1, 2),
            (resolution, resolution),
            mode="bilinear",
            antialias=True,
            align_corners=False,
        ).permute(0, 2, 3, 1)
    return pixels.contiguous()


def crop_depth(
    depth: np.ndarray | None, crop: Crop, size: tuple[int, int], frames: int
) -> torch.Tensor:
    """Cut depth where the frames were cut, to the pixel's fraction, and bring it to a grid.

    A cell is the mean of what is known in it; it is known if at least half of it is.

    Args:
        depth: float32 (T, h, w), NaN where not known; None gives maps of NaN.
        crop: of the frames.
        size: rows and columns of the grid.
        frames: T.

    Returns:
        float32 (T, *size).
    """
    if depth is None:
        return torch.full((frames, *size), torch.nan)
    left, top, right, bottom = crop.shares
    rows, columns = depth.shape[1:]
    # Samples a cell has along each axis, so that none of the map's pixels is passed over.
    across = max(1, math.ceil((right - left) * columns / size[1]))
    down = max(1, math.ceil((bottom - top) * rows / size[0]))
    x = left + (right - left) * (torch.arange(size[1] * across) + 0.5) / (size[1] * across)
    y = top + (bottom - top) * (torch.arange(size[0] * down) + 0.5) / (size[0] * down)
    grid = torch.stack(torch.meshgrid(2 * y - 1, 2 * x - 1, indexing="ij")[::-1], dim=-1)
    values = torch.from_numpy(depth)
    known = ~values.isnan()
    layers = torch.stack([torch.where(known, values, 0.0), known.float()]).flatten(0, 1)
    sampled = functional.grid_sample(
        layers[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False
    )
    if across > 1 or down > 1:
        sampled = functional.avg_pool2d(sampled, (down, across))
    total, share = sampled[0].unflatten(0, (2, len(depth)))
    return torch.where(share >= 0.5, total / share.clamp(min=0.5), torch.nan)


def crop_boxes(boxes: Boxes, crop: Crop) -> Boxes:
    """Boxes as shares of the crop; those that lie mostly outside are dropped."""
    left, top, right, bottom = crop.shares
    corner = np.array([left, top, left, top], np.float32)
    extent = np.array([right - left, bottom - top] * 2, np.float32)
    moved = (boxes.xyxy - corner) / extent
    inside = np.clip(moved, 0, 1)
    area = (inside[:, 2:] - inside[:, :2]).prod(axis=1)
    whole = (moved[:, 2:] - moved[:, :2]).prod(axis=1)
    kept = (area > 0) & (area >= _SMALLEST_SHARE * whole)
    chosen = boxes.select(kept)
    chosen.xyxy = inside[kept]
    return chosen


def jitter(
    frames: np.ndarray, config: AugmentationConfig, random: np.random.Generator
) -> np.ndarray:
    """Change brightness, contrast, saturation and tint of a clip's frames uint8 (T, H, W, 3).

    All four are linear in the colors, so they are one 3 x 3 matrix and an offset.
    """
    amounts = (config.brightness, config.contrast, config.saturation)
    brightness, contrast, saturation = (1 + random.uniform(-a, a) for a in amounts)
    tint = 1 + random.uniform(-config.tint, config.tint, 3)
    if not any((*amounts, config.tint)):
        return frames
    gray = np.outer(np.ones(3), _GRAY)
    matrix = gray + saturation * (np.eye(3) - gray)
    matrix = brightness * np.diag(tint) @ matrix
    # The mean of every eighth row and column is the mean, near enough.
    mean = frames[:, ::8, ::8].reshape(-1, 3).mean(axis=0) @ matrix.T @ _GRAY
    matrix *= contrast
    offset = (1 - contrast) * mean
    changed = frames.reshape(-1, 3).astype(np.float32) @ matrix.T.astype(np.float32)
    changed += np.float32(offset + 0.5)
    np.clip(changed, 0, 255, out=changed)
    return changed.astype(np.uint8).reshape(frames.shape)
