"""VISOR's annotations of EPIC-KITCHENS: polygons of hands and objects, and what hands touch.

Darkhalil et al., "EPIC-KITCHENS VISOR Benchmark", 2022 (arXiv 2209.13064). A file holds the
annotated frames of a video; a hand's ``in_contact_object`` is the id of the object that it touches,
or says that there is none or that nobody could tell.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from egodtm_robot.core.errors import EgoDTMRobotError
from pretrain.clips.clip import HAND, LEFT, NO_SIDE, RIGHT, Boxes

SIZE = (1080, 1920)
"""Rows and columns of the pictures that the polygons were drawn on."""

HANDS = {"left hand": LEFT, "right hand": RIGHT}

NO_CONTACT = "hand-not-in-contact"

UNDECIDED = ("inconclusive", "none-of-the-above")
"""Nobody could tell, or the hand touches something that has no polygon."""


class AnnotationFormatError(EgoDTMRobotError, ValueError):
    """An annotation file is missing, or not in the form of its data set."""


@dataclass(frozen=True)
class VisorEntity:
    """A hand or an object in one frame.

    Attributes:
        id: of this polygon.
        name: "left hand", "right hand", or the object's.
        polygons: float (n, 2) each, columns and rows in pixels of SIZE.
        touches: id of what a hand touches; None if it touches nothing, or is no hand.
        decided: False for hands of which nobody could tell.
    """

    id: str
    name: str
    polygons: tuple[np.ndarray, ...]
    touches: str | None
    decided: bool

    @property
    def is_hand(self) -> bool:
        """Whether it is one of the wearer's hands."""
        return self.name in HANDS

    def xyxy(self) -> np.ndarray:
        """The box around all polygons, float32 (4,), as shares of the picture."""
        points = np.concatenate(self.polygons)
        scale = np.array([SIZE[1], SIZE[0]] * 2)
        box = np.concatenate([points.min(axis=0), points.max(axis=0)]) / scale
        return box.clip(0, 1).astype(np.float32)

    def mask(self, height: int, width: int) -> np.ndarray:
        """What the polygons cover on a smaller grid, bool (height, width)."""
        from PIL import Image, ImageDraw

        image = Image.new("1", (width, height))
        drawing = ImageDraw.Draw(image)
        scale = np.array([width / SIZE[1], height / SIZE[0]])
        for points in self.polygons:
            drawing.polygon([tuple(point) for point in points * scale], fill=1)
        return np.asarray(image)


@dataclass(frozen=True)
class VisorFrame:
    """An annotated frame.

    Attributes:
        path: of the picture, as the data set lays it out.
        entities: hands and objects.
    """

    path: Path
    entities: tuple[VisorEntity, ...]

    def boxes(self) -> Boxes:
        """Boxes around hands and objects; a track is the place among the entities."""
        touched = {entity.touches for entity in self.entities}
        count = len(self.entities)
        return Boxes(
            frame=np.zeros(count, np.int16),
            track=np.arange(count, dtype=np.int16),
            category=[HAND if entity.is_hand else entity.name for entity in self.entities],
            side=np.array([HANDS.get(e.name, NO_SIDE) for e in self.entities], np.int8),
            contact=np.array([bool(e.touches) or e.id in touched for e in self.entities], bool),
            xyxy=np.array([e.xyxy() for e in self.entities], np.float32).reshape(-1, 4),
        )


def read_visor(path: Path) -> list[VisorFrame]:
    """Read the frames of a file of VISOR, or of all in a folder.

    Raises:
        AnnotationFormatError: a file is missing, or not VISOR's.
    """
    path = Path(path).expanduser()
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise AnnotationFormatError(f"Expected json files of VISOR in {path}, found none.")
    frames = []
    for file in files:
        try:
            content = json.loads(file.read_bytes())
            frames += [_frame(one) for one in content["video_annotations"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise AnnotationFormatError(
                f"Expected {file} to be a file of VISOR with the key 'video_annotations', and "
                f"could not read it as one ({type(error).__name__}: {error})."
            ) from error
    return frames


def _frame(content: dict[str, Any]) -> VisorFrame:
    entities = [_entity(one) for one in content["annotations"]]
    path = content["image"].get("image_path") or content["image"]["name"]
    return VisorFrame(Path(path), tuple(entity for entity in entities if entity.polygons))


def _entity(content: dict[str, Any]) -> VisorEntity:
    polygons = tuple(
        np.array(points, np.float64) for points in content["segments"] if len(points) > 2
    )
    touches = content.get("in_contact_object")
    decided = touches not in UNDECIDED and (touches is not None or content["name"] not in HANDS)
    return VisorEntity(
        id=content["id"],
        name=content["name"],
        polygons=polygons,
        touches=touches if decided and touches != NO_CONTACT else None,
        decided=decided,
    )
