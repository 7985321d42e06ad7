"""Masks and tracks of SAM 2 (Ravi et al., arXiv 2408.00714), prompted by the detector's boxes.

As in EgoDTM (arXiv 2503.15470): a thing is prompted by its box in the first frame that a detector
saw it in, and SAM 2 carries its mask on through the clip. A later box of the same category that
lies where such a mask is belongs to the same thing; one that lies elsewhere begins a thing of its
own. So a detector may miss a thing in between, and its box comes from the mask there.

The processors of transformers need torchvision; frames and prompts are prepared here in torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional

from egodtm_robot.core.devices import pick_device
from egodtm_robot.core.fingerprints import hash_parts
from egodtm_robot.core.images import resize, to_channels_first
from egodtm_robot.core.published_models.hub import load_config, load_model
from egodtm_robot.core.published_models.identity import folder_identity
from egodtm_robot.core.published_models.preprocessing import Normalization
from pretrain.annotate.detectors.contact import update_contact
from pretrain.annotate.errors import AnnotatorOptionError
from pretrain.annotate.tracking.base import (
    MAX_TRACKS,
    TrackingAnnotator,
    mask_bounds,
    tracked_boxes,
)
from pretrain.clips.annotated_clip import AnnotatedClip, Detections
from pretrain.clips.box_geometry import intersection_over_union
from pretrain.clips.clip import Boxes

_CODE_VERSION = 1
# SAM 2 was trained on ImageNet's mean and spread.
_NORMALIZATION = Normalization(1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CORNERS = (2, 3)
"""SAM's labels of a box's upper left and lower right corner among its points."""


@dataclass
class _Thing:
    """A prompted thing: its category, and by frame its row or -1, its mask logits and its box."""

    category: str
    rows: dict[int, int] = field(default_factory=dict)
    logits: dict[int, np.ndarray] = field(default_factory=dict)
    boxes: dict[int, np.ndarray] = field(default_factory=dict)


class Sam2Tracker(TrackingAnnotator):
    """Tracks and masks by transformers' ``Sam2VideoModel``.

    Args:
        model: hub id such as ``facebook/sam2.1-hiera-small``, or a folder that ``save_pretrained``
            wrote.
        revision: branch, tag or commit on the hub.
        map_size: rows and columns of the masks, as many as the depth maps have.
        activation: least score of a box that prompts a thing, 0 to 1; boxes of lower scores only
            belong to things that are there.
        overlap: least intersection over union of a box and a thing's mask's bounds at which they
            are the same, 0 to 1.
        device: ``auto``, ``cpu``, or a GPU such as ``cuda:0``.
        batch_size: clips at once; they are worked on one after the other.

    Raises:
        AnnotatorOptionError: an option is out of its range.
        WeightsError: the model is not to be had, not readable, or another one.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        map_size: int = 56,
        activation: float = 0.4,
        overlap: float = 0.3,
        device: str = "auto",
        batch_size: int = 4,
    ) -> None:
        if map_size < 1 or not 0 <= activation <= 1 or not 0 < overlap <= 1 or batch_size < 1:
            raise AnnotatorOptionError(
                "Expected map_size and batch_size of at least 1, activation of 0 to 1 and overlap "
                f"above 0 up to 1, got {map_size}, {batch_size}, {activation} and {overlap}."
            )
        self.name = "sam2"
        self.batch_size = batch_size
        self._map_size, self._activation, self._overlap = map_size, activation, overlap
        self._model_id, self._revision = model, revision
        self._device = pick_device(device)
        load_config(model, revision)  # a model that is not there is named now, not after a day
        self._model: Any = None
        self.fingerprint = hash_parts(
            "sam2",
            _CODE_VERSION,
            folder_identity(model, None, revision),
            map_size,
            activation,
            overlap,
        )

    def track(self, clip: AnnotatedClip, detections: Detections) -> tuple[Boxes, np.ndarray]:
        """See :class:`TrackingAnnotator`."""
        things = self._follow(clip.frames, detections)[:MAX_TRACKS]
        # Boxes of masks in frames that the detector saw nothing in are rows of their own.
        extended, identities, logits = _with_masks(detections, things)
        boxes, rows = tracked_boxes(extended, identities)
        masks = np.zeros((len(clip.frames), self._map_size, self._map_size), np.uint8)
        best = np.zeros(masks.shape, np.float32)
        for track, frame, row in zip(boxes.track, boxes.frame, rows, strict=True):
            if logits[row] is None:
                continue
            values = _to_grid(logits[row], self._map_size)
            above = values > best[frame]
            masks[frame][above] = track + 1
            best[frame][above] = values[above]
        return update_contact(boxes, masks, clip.depth, clip.depth_kind), masks

    @torch.inference_mode()
    def _follow(self, frames: np.ndarray, detections: Detections) -> list[_Thing]:
        """Prompt what is new in each frame, and carry on what is there."""
        if self._model is None:
            from transformers import Sam2VideoModel

            loaded = load_model(Sam2VideoModel, self._model_id, self._revision)
            self._model = loaded.to(self._device)
        side = self._model.config.image_size
        side = side if isinstance(side, int) else side[0]
        pixels = to_channels_first(torch.from_numpy(frames).to(self._device))
        video = _NORMALIZATION(resize(pixels, (side, side), "bilinear"))
        sessions: list[tuple[Any, list[_Thing]]] = []
        things: list[_Thing] = []
        for frame in range(len(frames)):
            for session, own in sessions:
                self._see(session, own, frame)
            rows = np.flatnonzero(detections.frame == frame)
            new = self._join(things, rows, detections, frame)
            new = new[: MAX_TRACKS - len(things)]
            if not new:
                continue
            began = [_Thing(detections.category[row], {frame: row}) for row in new]
            session = self._prompt(video, detections.xyxy[new] * side, frame)
            if sessions:
                # Frames look the same to every session.
                session.cache = sessions[0][0].cache
            sessions.append((session, began))
            self._see(session, began, frame)
            things += began
        return things

    def _prompt(self, video: torch.Tensor, boxes: np.ndarray, frame: int) -> Any:
        """A session that is told of things by boxes (n, 4), pixels, in a frame."""
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        height, width = video.shape[-2:]
        session = Sam2VideoInferenceSession(
            video=video,
            video_height=height,
            video_width=width,
            inference_device=self._device,
            inference_state_device=self._device,
            video_storage_device=self._device,
            dtype=torch.float32,
            max_vision_features_cache_size=len(video),
        )
        for number, box in enumerate(boxes):
            index = session.obj_id_to_idx(number)
            corners = torch.from_numpy(box.astype(np.float32)).reshape(1, 1, 2, 2)
            labels = torch.tensor(_CORNERS, dtype=torch.int32).reshape(1, 1, 2)
            prompt = {"point_coords": corners, "point_labels": labels}
            session.add_point_inputs(index, frame, prompt)
        session.obj_with_new_inputs = list(range(len(boxes)))
        return session

    def _see(self, session: Any, things: Sequence[_Thing], frame: int) -> None:
        """Masks of a session's things in a frame."""
        output = self._model(session, frame_idx=frame)
        present = output.object_score_logits.flatten() > 0
        for thing, logits, there in zip(things, output.pred_masks[:, 0], present, strict=True):
            values = logits.float().cpu().numpy()
            bounds = mask_bounds(values > 0)
            if there and bounds is not None:
                thing.logits[frame], thing.boxes[frame] = values, bounds

    def _join(
        self, things: Sequence[_Thing], rows: np.ndarray, detections: Detections, frame: int
    ) -> list[int]:
        """Give things the rows of a frame that are theirs; returns the rows that are new things."""
        seen = [thing for thing in things if frame in thing.boxes]
        taken: set[int] = set()
        if seen and len(rows):
            likeness = intersection_over_union(
                np.stack([thing.boxes[frame] for thing in seen]), detections.xyxy[rows]
            )
            same = [[detections.category[row] == thing.category for row in rows] for thing in seen]
            likeness *= np.array(same)
            for number, column in zip(*linear_sum_assignment(-likeness), strict=True):
                if likeness[number, column] >= self._overlap:
                    seen[number].rows[frame] = int(rows[column])
                    taken.add(int(rows[column]))
        return [
            int(row)
            for row in rows
            if int(row) not in taken and detections.score[row] >= self._activation
        ]


def _with_masks(
    detections: Detections, things: Sequence[_Thing]
) -> tuple[Detections, np.ndarray, list[np.ndarray | None]]:
    """Detections with the boxes of masks behind them, their things, and the rows' mask logits."""
    count = len(detections)
    identities = np.full(count, -1, np.int64)
    logits: list[np.ndarray | None] = [None] * count
    added: list[tuple[int, int, np.ndarray]] = []
    for number, thing in enumerate(things):
        for frame, row in thing.rows.items():
            identities[row] = number
            logits[row] = thing.logits.get(frame)
        for frame, box in thing.boxes.items():
            if frame not in thing.rows:
                added.append((number, frame, box))
                logits.append(thing.logits[frame])
    if not added:
        return detections, identities, logits
    numbers = np.array([number for number, _, _ in added], np.int64)
    first_rows = [next(iter(things[number].rows.values())) for number in numbers]
    extended = Detections(
        frame=np.concatenate([detections.frame, [frame for _, frame, _ in added]]).astype(np.int16),
        category=[*detections.category, *(things[number].category for number in numbers)],
        score=np.concatenate([detections.score, np.zeros(len(added), np.float32)]),
        side=np.concatenate([detections.side, detections.side[first_rows]]).astype(np.int8),
        contact=np.concatenate([detections.contact, np.zeros(len(added), bool)]),
        xyxy=np.concatenate([detections.xyxy, np.stack([box for _, _, box in added])]),
    )
    return extended, np.concatenate([identities, numbers]), logits


def _to_grid(logits: np.ndarray, size: int) -> np.ndarray:
    """Logits (h, w) averaged or interpolated to (size, size)."""
    values = torch.from_numpy(logits)[None, None]
    grid = functional.interpolate(values, (size, size), mode="bilinear", antialias=True)
    return np.asarray(grid[0, 0].numpy())
