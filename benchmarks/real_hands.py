"""Hands that detectors find in real first-person video, against labels that were made by eye.

    python benchmarks/real_hands.py FOOTAGE [--labels tests/data/real_hands.json]
        [--handtrack handtrack.onnx] [--mediapipe mediapipe-0.10.14-....whl] [--captions FILE]

FOOTAGE is the folder below which the labeled videos lie; it is not part of this project. Frames are
squares of 224 pixels, as pretrain.prepare makes them. For each detector, without and with the rules
of :mod:`pretrain.annotate.detectors.wearer`, it prints

- precision and recall of the wearer's hands in the labeled frames, each shown as the second of a
  clip of four that lie 0.4 s apart. Without the rules every box counts, with them those that are
  left and have a side;
- how many of the boxes that remain are another person's hand, and how many of the wearer's hands
  that were found have the right side;
- the share of true statements in captions, on clips of four labeled frames in a row: a hand is
  said to be in a region where the label's middle lies, without any margin. --captions writes
  captions and judgments as tab-separated lines.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.video.reformatter import VideoReformatter

from pretrain.annotate.captions.template import TemplateCaptions
from pretrain.annotate.detectors.base import Detector, FrameBoxes, complete
from pretrain.annotate.detectors.handtrack import Handtrack
from pretrain.annotate.detectors.mediapipe import MediaPipeHands
from pretrain.annotate.detectors.wearer import only_real_hands
from pretrain.annotate.tracking.association import Association
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.box_geometry import intersection_over_union
from pretrain.clips.clip import LEFT, NO_SIDE, RIGHT
from pretrain.clips.spans import open_video
from pretrain.clips.statements import Statement, region

SIDE = 224
"""Rows and columns of a frame."""

FRAMES, STEP_S = 4, 0.4
"""Of the clip around a labeled frame, which is its second one."""

MATCH = 0.3
"""Intersection over union from which a box is the labeled hand: labels and joints end at different
places of the wrist."""

NARRATION = "#C C works"
"""Says nothing of hands, so that all that a caption says of them was seen."""

_SIDES = {"left": LEFT, "right": RIGHT, "other": NO_SIDE}


@dataclass
class Labels:
    """Hands of one frame: sides (n,), NO_SIDE for other people's, and boxes (n, 4)."""

    side: np.ndarray
    xyxy: np.ndarray


@dataclass
class Shown:
    """A clip and the labels of those of its frames that have some."""

    clip: AnnotatedClip
    labels: dict[int, Labels]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("footage", type=Path)
    parser.add_argument("--labels", type=Path, default=Path("tests/data/real_hands.json"))
    parser.add_argument("--handtrack", type=Path)
    parser.add_argument("--mediapipe", type=Path)
    parser.add_argument("--captions", type=Path)
    options = parser.parse_args()
    detectors: list[Detector] = []
    if options.handtrack:
        detectors.append(Handtrack(str(options.handtrack)))
    if options.mediapipe:
        detectors.append(MediaPipeHands(str(options.mediapipe)))
    singles, rows = read_clips(options.footage, options.labels)
    print(f"{len(singles)} labeled frames, {len(rows)} clips for captions", flush=True)
    lines: list[str] = []
    for detector in detectors:
        found = detect(detector, [*singles, *rows])
        found, in_rows = found[: len(singles)], found[len(singles) :]
        for rules in (False, True):
            name = f"{detector.name}, {'with' if rules else 'without'} the rules"
            print(f"{name}: {precision_and_recall(singles, found, rules)}", flush=True)
            judged = judge_captions(rows, in_rows, rules)
            true = sum(is_true for *_, is_true in judged)
            print(f"{name}: {true} of {len(judged)} statements in captions true", flush=True)
            lines += ["\t".join((name, *map(str, one))) for one in judged]
    if options.captions:
        options.captions.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_clips(footage: Path, labels: Path) -> tuple[list[Shown], list[Shown]]:
    """Clips around every labeled frame, and clips of four labeled frames in a row."""
    singles, rows = [], []
    reformatter = VideoReformatter()
    for entry in json.loads(labels.read_text(encoding="utf-8"))["videos"]:
        fps, crop = entry["frames_a_second"], entry["crop"]
        crop = None if crop is None else tuple(crop)
        numbers = [int(number) for number in entry["hands"]]
        with open_video(footage / entry["video"]) as video:
            last = int(video.duration_s * fps) - 1
            around = {
                number: [
                    min(max(0, number + round((place - 1) * STEP_S * fps)), last)
                    for place in range(FRAMES)
                ]
                for number in numbers
            }
            wanted = sorted({number for row in around.values() for number in row})
            frames = {}
            for number in wanted:
                picture = video.at((number + 0.5) / fps)
                frames[number] = picture.square(SIDE, reformatter, crop)
            width, height = picture.frame.width, picture.frame.height
        if crop is not None:
            width, height = width * (crop[2] - crop[0]), height * (crop[3] - crop[1])
        known = {
            number: read_labels(hands, width / height)
            for number, hands in zip(numbers, entry["hands"].values(), strict=True)
        }
        name = f"{entry['video']}{'' if crop is None else crop[:2]}"
        for number in numbers:
            clip = make_clip(f"{name}@{number}", [frames[one] for one in around[number]])
            singles.append(Shown(clip, {1: known[number]}))
        for start in range(0, len(numbers) - FRAMES + 1, 2):
            row = numbers[start : start + FRAMES]
            clip = make_clip(f"{name}@{row[0]}-{row[-1]}", [frames[one] for one in row])
            rows.append(Shown(clip, {place: known[one] for place, one in enumerate(row)}))
    return singles, rows


def detect(detector: Detector, shown: Sequence[Shown]) -> list[list[FrameBoxes]]:
    """Boxes of every clip; frames that several of them share are looked at once."""
    known: dict[bytes, FrameBoxes] = {}
    found = []
    for one in shown:
        frames = {frame.tobytes(): frame for frame in one.clip.frames}
        for content, frame in frames.items():
            if content not in known:
                (known[content],) = detector.detect(make_clip("frame", [frame]))
        found.append([known[frame.tobytes()] for frame in one.clip.frames])
    return found


def read_labels(hands: Sequence[Sequence], aspect: float) -> Labels:
    """Labels of a picture as those of the square in its middle; what is cut by half or more is
    left out.
    """
    side, xyxy = [], []
    for who, *box in hands:
        x = (np.array(box[::2]) - 0.5) * max(aspect, 1) + 0.5
        y = (np.array(box[1::2]) - 0.5) * max(1 / aspect, 1) + 0.5
        inside = np.array([x[0], y[0], x[1], y[1]]).clip(0, 1)
        if (inside[2:] - inside[:2]).prod() > 0.5 * np.ptp(x) * np.ptp(y):
            side.append(_SIDES[who])
            xyxy.append(inside)
    return Labels(np.array(side, np.int8), np.array(xyxy).reshape(-1, 4))


def make_clip(key: str, frames: Sequence[np.ndarray]) -> AnnotatedClip:
    """Frames as a clip without any annotation."""
    return AnnotatedClip(
        key, np.stack(frames), np.arange(len(frames)) * STEP_S, NARRATION, key, "real", ""
    )


def precision_and_recall(
    shown: Sequence[Shown], found: Sequence[Sequence[FrameBoxes]], rules: bool
) -> str:
    """Boxes of a detector against the labels, as a line."""
    counts: dict[str, int] = defaultdict(int)
    for one, boxes in zip(shown, found, strict=True):
        chosen = only_real_hands(boxes, one.clip.frames) if rules else list(boxes)
        detections = complete(chosen, None, None)
        for frame, labels in one.labels.items():
            here = detections.frame == frame
            if rules:
                here &= detections.side != NO_SIDE
            order = np.flatnonzero(here)[np.argsort(-detections.score[here], kind="stable")]
            alike = intersection_over_union(detections.xyxy[order], labels.xyxy)
            free = labels.side != NO_SIDE
            counts["labeled"] += int(free.sum())
            counts["boxes"] += len(order)
            for row, overlap in zip(order, alike, strict=True):
                best = np.where(free, overlap, 0)
                if best.size and best.max() >= MATCH:
                    hand = int(best.argmax())
                    free[hand] = False
                    counts["right"] += 1
                    counts["side"] += int(detections.side[row] == labels.side[hand])
                elif (overlap[labels.side == NO_SIDE] >= MATCH / 2).any():
                    counts["others"] += 1
    right, boxes, labeled = (counts[name] for name in ("right", "boxes", "labeled"))
    return (
        f"precision {right / max(1, boxes):.3f} ({right} of {boxes}), recall "
        f"{right / max(1, labeled):.3f} (of {labeled}), other people's hands {counts['others']}, "
        f"side right {counts['side'] / max(1, right):.3f}"
    )


def judge_captions(
    shown: Sequence[Shown], found: Sequence[Sequence[FrameBoxes]], rules: bool
) -> list[tuple[str, str, str, bool]]:
    """Clip, caption, statement and whether it is true, for every statement of every caption."""
    tracker, writer = Association(), TemplateCaptions()
    judged = []
    for one, boxes in zip(shown, found, strict=True):
        clip = make_clip(one.clip.key, list(one.clip.frames))
        chosen = only_real_hands(boxes, clip.frames) if rules else list(boxes)
        clip.detections = complete(chosen, None, None)
        for result in (tracker, writer):
            (fields,) = result.annotate([clip])
            for name, value in fields.items():
                setattr(clip, name, value)
        assert clip.boxes is not None
        sides = dict(zip(clip.boxes.track.tolist(), clip.boxes.side.tolist(), strict=True))
        for entry in clip.caption_report["statements"]:
            said = Statement.from_json(entry)
            labels = one.labels[said.span[0]]
            places = labels.xyxy[labels.side == sides[said.track]]
            middles = (places[:, :2] + places[:, 2:]) / 2
            is_true = any(region(middle, 0.0) == said.value for middle in middles)
            words = f"{said.kind} {said.value} of side {sides[said.track]} in frame {said.span[0]}"
            judged.append((clip.key, clip.caption, words, is_true))
    return judged


if __name__ == "__main__":
    main()
