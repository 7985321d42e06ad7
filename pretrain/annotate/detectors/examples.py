"""Pictures with boxes to train a detector on: clip stores, and VISOR's polygons.

Labels are "left hand", "right hand" and, by choice, objects:

``touched``
    one label, "object", for what a hand touches (the idea of Shan et al., "Understanding Human
    Hands in Contact at Internet Scale", 2020);
``named``
    every category that the data has, by its name;
``nouns``
    the same by the last word of each name, "mug" for every "red mug";
``none``
    hands alone.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from torch.utils.data import Dataset

from egodtm_robot.core.errors import DatasetError, UnknownNameError
from egodtm_robot.core.fingerprints import hash_parts
from pretrain.annotate.captions.nouns import head
from pretrain.annotate.detectors.visor import VisorFrame, read_visor
from pretrain.clips.augmentation import (
    AugmentationConfig,
    Crop,
    crop_boxes,
    crop_frames,
    jitter,
    random_crop,
)
from pretrain.clips.clip import HAND, LEFT, RIGHT, Boxes
from pretrain.clips.dataset import Draw
from pretrain.clips.store import ClipStore

Objects = Literal["touched", "named", "nouns", "none"]

OBJECTS: tuple[str, ...] = get_args(Objects)

HAND_LABELS = ("left hand", "right hand")

TOUCHED = "object"

_STREAM = 2
"""Keeps the random numbers of pictures apart from those of other streams of the same seed."""


class Examples(Protocol):
    """Pictures with boxes.

    Attributes:
        labels: names of what is to be found, in a fixed order.
        fingerprint: of the content.
    """

    labels: tuple[str, ...]
    fingerprint: str

    def __len__(self) -> int: ...

    def read(self, index: int) -> tuple[np.ndarray, Boxes]:
        """A picture uint8 (H, W, 3), and its boxes with labels as their categories."""
        ...


class StoreExamples:
    """Every frame of the clips of some stores.

    Args:
        paths: of clip stores with boxes.
        objects: which objects count.
        labels: names and their order; None takes those of the data.

    Raises:
        UnknownNameError: no such choice of objects.
        DatasetError: there are no clips, or clips of different lengths.
    """

    def __init__(
        self, paths: Sequence[str], objects: Objects = "touched", labels: Sequence[str] = ()
    ) -> None:
        if objects not in OBJECTS:
            raise UnknownNameError("choice of objects", objects, OBJECTS)
        self.store = ClipStore.open(list(paths))
        lengths = {shape[0] for shape in self.store.frame_shapes}
        if len(lengths) != 1:
            raise DatasetError(
                f"Expected clips of one number of frames in {', '.join(paths)}, got "
                f"{sorted(lengths) or 'none'}."
            )
        self.frames = lengths.pop()
        self.objects: Objects = objects
        self.labels = tuple(labels) or _labels(objects, self._categories())
        self.fingerprint = hash_parts(self.store.fingerprint, objects, self.labels)

    def __len__(self) -> int:
        return len(self.store) * self.frames

    def read(self, index: int) -> tuple[np.ndarray, Boxes]:
        """A frame and its boxes."""
        clip, frame = divmod(index, self.frames)
        found = self.store.read([clip], ["frames", "boxes"])
        boxes = found["boxes"][0]
        here = select(boxes, np.flatnonzero(boxes.frame == frame))
        return found["frames"][0][frame], labeled(here, self.objects, self.labels)

    def _categories(self) -> Iterator[str]:
        if self.objects in ("named", "nouns"):
            for clip in range(len(self.store)):
                yield from self.store.read([clip], ["boxes"])["boxes"][0].category


class VisorExamples:
    """Annotated frames of VISOR (Darkhalil et al., 2022) whose pictures are there.

    Args:
        annotations: a json file of VISOR, or a folder of them.
        pictures: folder of the frames, which lie there by their ``image_path``
            (``P01_104/P01_104_frame_0000008873.jpg``) or by their names alone.
        objects: which objects count.
        labels: names and their order; None takes those of the data.

    Raises:
        AnnotationFormatError: a file is not VISOR's.
        DatasetError: no annotated frame has its picture there.
    """

    def __init__(
        self,
        annotations: str,
        pictures: str,
        objects: Objects = "touched",
        labels: Sequence[str] = (),
    ) -> None:
        if objects not in OBJECTS:
            raise UnknownNameError("choice of objects", objects, OBJECTS)
        folder = Path(pictures).expanduser()
        found = [(_picture(folder, frame), frame) for frame in read_visor(Path(annotations))]
        self._frames = [(path, frame) for path, frame in found if path is not None]
        if not self._frames:
            raise DatasetError(
                f"Expected pictures of the {len(found)} annotated frames in {folder}, found none; "
                f"the first would be {found[0][1].path if found else 'none'}."
            )
        self.objects: Objects = objects
        names = [name for _, frame in self._frames for name in frame.boxes().category]
        self.labels = tuple(labels) or _labels(objects, iter(names))
        content = [[str(frame.path), frame.boxes().xyxy.tolist()] for _, frame in self._frames]
        self.fingerprint = hash_parts(json.dumps(content), objects, self.labels)

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, index: int) -> tuple[np.ndarray, Boxes]:
        """A picture and its boxes."""
        from PIL import Image

        path, frame = self._frames[index]
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        return pixels, labeled(frame.boxes(), self.objects, self.labels)


def select(boxes: Boxes, rows: np.ndarray) -> Boxes:
    """Some rows of boxes."""
    return Boxes(
        frame=boxes.frame[rows],
        track=boxes.track[rows],
        category=[boxes.category[row] for row in rows],
        side=boxes.side[rows],
        contact=boxes.contact[rows],
        xyxy=boxes.xyxy[rows],
    )


def labeled(boxes: Boxes, objects: Objects, labels: Sequence[str]) -> Boxes:
    """The boxes that are to be found, with labels as categories; the others are left out."""
    names: list[str | None] = []
    for name, side, contact in zip(boxes.category, boxes.side, boxes.contact, strict=True):
        if name == HAND:
            sides = {LEFT: HAND_LABELS[0], RIGHT: HAND_LABELS[1]}
            names.append(sides.get(int(side)))
        elif objects == "touched":
            names.append(TOUCHED if contact else None)
        else:
            label = head(name) if objects == "nouns" else name
            names.append(label if objects != "none" and label in labels else None)
    rows = np.array([row for row, name in enumerate(names) if name is not None], np.int64)
    kept = select(boxes, rows)
    kept.category = [str(names[row]) for row in rows]
    return kept


@dataclass
class PictureBatch:
    """A batch of B pictures.

    Attributes:
        pictures: uint8 (B, S, S, 3).
        boxes: float32 (n, 4) of each, middles and sizes as shares of the picture.
        labels: int64 (n,) of each.
    """

    pictures: torch.Tensor
    boxes: list[torch.Tensor]
    labels: list[torch.Tensor]


class PictureDataset(Dataset):
    """Examples as a detector is trained on them: cropped, mirrored, colored, of one size.

    A mirrored left hand is a right hand, and is labeled so.

    Args:
        examples: what to draw from.
        resolution: side of the pictures.
        augmentation: of draws that have a place in the stream of training; others show the whole
            picture as it is.
        seed: of all randomness.
    """

    def __init__(
        self, examples: Examples, resolution: int, augmentation: AugmentationConfig, seed: int
    ) -> None:
        self.examples = examples
        self.resolution = resolution
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, draw: Draw) -> tuple[torch.Tensor, Boxes]:
        """The picture uint8 (S, S, 3) of a draw and its boxes."""
        picture, boxes = self.examples.read(draw.clip)
        height, width = picture.shape[:2]
        crop = Crop(0, 0, height, width, (height, width))
        if draw.place is not None:
            random = np.random.default_rng([self.seed, _STREAM, draw.place])
            crop = random_crop(height, width, self.augmentation, random)
            picture = jitter(picture[None], self.augmentation, random)[0]
            if random.random() < 0.5:
                picture, boxes = mirrored(picture, boxes)
        return crop_frames(picture[None], crop, self.resolution)[0], crop_boxes(boxes, crop)

    def collate(self, samples: Sequence[tuple[torch.Tensor, Boxes]]) -> PictureBatch:
        """Put samples together."""
        places = {name: index for index, name in enumerate(self.examples.labels)}
        boxes, labels = [], []
        for _, found in samples:
            xyxy = torch.from_numpy(found.xyxy)
            middle, size = (xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]
            boxes.append(torch.cat([middle, size], dim=1))
            labels.append(torch.tensor([places[name] for name in found.category]).long())
        return PictureBatch(torch.stack([picture for picture, _ in samples]), boxes, labels)


def mirrored(picture: np.ndarray, boxes: Boxes) -> tuple[np.ndarray, Boxes]:
    """A picture (H, W, 3) and its boxes with left and right exchanged, in labels as well."""
    exchanged = {HAND_LABELS[0]: HAND_LABELS[1], HAND_LABELS[1]: HAND_LABELS[0]}
    flipped = select(boxes, np.arange(len(boxes)))
    flipped.category = [exchanged.get(name, name) for name in boxes.category]
    flipped.side = np.select([boxes.side == LEFT, boxes.side == RIGHT], [RIGHT, LEFT], 0)
    flipped.side = flipped.side.astype(np.int8)
    flipped.xyxy = boxes.xyxy[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [1, 0, 1, 0]
    flipped.xyxy = flipped.xyxy.astype(np.float32)
    return np.ascontiguousarray(picture[:, ::-1]), flipped


def _labels(objects: Objects, categories: Iterator[str]) -> tuple[str, ...]:
    if objects == "touched":
        return (*HAND_LABELS, TOUCHED)
    if objects == "none":
        return HAND_LABELS
    named = set(categories) - {HAND}
    if objects == "nouns":
        named = {head(name) for name in named}
    return (*HAND_LABELS, *sorted(named))


def _picture(folder: Path, frame: VisorFrame) -> Path | None:
    for path in (folder / frame.path, folder / frame.path.name):
        if path.is_file():
            return path
    return None
