"""Trackers and captions against the truth of synthetic clips.

    python benchmarks/annotation_truth.py STORE [--clips 256] [--depth true|egodtm|none]
                                           [--handtrack WEIGHTS]
                                           [--detector RUN/checkpoints/best ...]

STORE is a clip store that ``python -m pretrain.generate`` wrote. Trackers and template captions see
its frames and narrations, and boxes: the true ones, the same with errors as detectors make them
(missed and invented boxes, moved edges, wrong sides, wrong contact), and those of a detector. What
they write is compared with the store's own tracks, masks and depth.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from pretrain.annotate.captions.nouns import head
from pretrain.annotate.captions.template import LEAST_STATEMENTS, TemplateCaptions
from pretrain.annotate.depth.egodtm import EgoDTMDepth
from pretrain.annotate.detectors.base import FrameBoxes, complete
from pretrain.annotate.detectors.handtrack import Handtrack
from pretrain.annotate.detectors.trained import (
    NARRATED_THRESHOLD,
    THRESHOLD,
    TrainedDetector,
)
from pretrain.annotate.stage import AnnotationFailure, Annotator
from pretrain.annotate.tracking.association import Association
from pretrain.annotate.tracking.base import TrackingAnnotator
from pretrain.annotate.tracking.byte_track import ByteTrack
from pretrain.clips.annotated_clip import AnnotatedClip, Detections
from pretrain.clips.box_geometry import intersection_over_union
from pretrain.clips.clip import HAND, Boxes, Clip, DepthKind
from pretrain.clips.statements import (
    APPROACH,
    SHIFT,
    Sight,
    Statement,
    motion,
    region,
    relations,
)
from pretrain.clips.store import ClipStore


@dataclass(frozen=True)
class Errors:
    """What is wrong with boxes.

    Attributes:
        missed: share of boxes left out.
        moved: standard deviation of each edge, share of the box's side.
        invented: boxes a frame that are of nothing, on average.
        wrong_sides: share of hands' boxes with the other side.
        wrong_contact: share of boxes with the other contact.
        names: ``phrases`` keeps categories such as "red mug", ``heads`` their last word.
        rules: whether sides and contact are taken away and found again by the rules that stand
            behind every detector: nothing but names and boxes is known then.
    """

    missed: float = 0.0
    moved: float = 0.0
    invented: float = 0.0
    wrong_sides: float = 0.0
    wrong_contact: float = 0.0
    names: str = "phrases"
    rules: bool = False


SOURCES = {
    "true boxes": Errors(),
    "true boxes, nouns alone": Errors(names="heads"),
    "true boxes, the rest by rule": Errors(rules=True),
    "with errors": Errors(0.1, 0.05, 0.2, 0.05, 0.1),
    "with errors, nouns alone": Errors(0.1, 0.05, 0.2, 0.05, 0.1, "heads"),
    "with errors, the rest by rule": Errors(0.1, 0.05, 0.2, rules=True),
    "with many errors, nouns alone": Errors(0.25, 0.1, 0.5, 0.15, 0.2, "heads"),
}


def detections_of(boxes: Boxes, errors: Errors, rng: np.random.Generator) -> Detections:
    """The boxes as a detector with such errors gives them."""
    kept = rng.random(len(boxes)) >= errors.missed
    sides = boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]
    xyxy = boxes.xyxy + rng.normal(0, 1, boxes.xyxy.shape) * errors.moved * np.tile(sides, 2)
    xyxy = np.clip(
        np.concatenate([xyxy[:, :2], np.maximum(xyxy[:, 2:], xyxy[:, :2] + 0.005)], 1), 0, 1
    )
    flipped = (rng.random(len(boxes)) < errors.wrong_sides) & (boxes.side > 0)
    changed = rng.random(len(boxes)) < errors.wrong_contact
    category = [
        name if name == HAND or errors.names == "phrases" else head(name) for name in boxes.category
    ]
    rows = np.flatnonzero(kept)
    found = Detections(
        frame=boxes.frame[rows],
        category=[category[row] for row in rows],
        score=rng.uniform(0.5, 1.0, len(rows)).astype(np.float32),
        side=np.where(flipped, 3 - boxes.side, boxes.side)[rows].astype(np.int8),
        contact=(boxes.contact ^ changed)[rows],
        xyxy=xyxy[rows].astype(np.float32),
    )
    count = int(rng.poisson(errors.invented * 4)) if errors.invented else 0
    names = sorted(set(category)) or [HAND]
    corner = rng.uniform(0, 0.8, (count, 2))
    size = rng.uniform(0.05, 0.2, (count, 2))
    invented = [names[i] for i in rng.integers(0, len(names), count)]
    return Detections(
        frame=np.concatenate([found.frame, rng.integers(0, 4, count).astype(np.int16)]),
        category=found.category + invented,
        score=np.concatenate([found.score, rng.uniform(0.3, 0.7, count).astype(np.float32)]),
        side=np.concatenate(
            [
                found.side,
                np.array([rng.integers(1, 3) if n == HAND else 0 for n in invented], np.int8),
            ]
        ),
        contact=np.concatenate([found.contact, np.zeros(count, bool)]),
        xyxy=np.concatenate([found.xyxy, np.hstack([corner, corner + size]).astype(np.float32)]),
    )


def by_rule(found: Detections, clip: Clip) -> Detections:
    """The same boxes with sides and contact as the rules find them from boxes and true depth."""
    frames = []
    for frame in range(len(clip.frames)):
        rows = np.flatnonzero(found.frame == frame)
        names = [found.category[row] for row in rows]
        frames.append(FrameBoxes(names, found.score[rows], found.xyxy[rows]))
    return complete(frames, clip.depth, clip.depth_kind)


def matches(found: Boxes, truth: Boxes, least: float = 0.3) -> dict[tuple[int, int], int]:
    """The true track by (track, frame) of what was found, of hands and objects apart."""
    pairs = {}
    for frame in np.unique(found.frame):
        rows, true_rows = np.flatnonzero(found.frame == frame), np.flatnonzero(truth.frame == frame)
        likeness = intersection_over_union(found.xyxy[rows], truth.xyxy[true_rows])
        kind = [[same(found.category[r], truth.category[t]) for t in true_rows] for r in rows]
        likeness = np.where(np.array(kind, bool).reshape(likeness.shape), likeness, 0)
        for i, j in zip(*linear_sum_assignment(likeness, maximize=True), strict=True):
            if likeness[i, j] >= least:
                pairs[int(found.track[rows[i]]), int(frame)] = int(truth.track[true_rows[j]])
    return pairs


def same(found: str, truth: str) -> bool:
    """Whether a detector's name may be that of a thing."""
    return found == truth or found == head(truth)


def switches(found: Boxes, truth: Boxes) -> tuple[int, int]:
    """Identity switches: how often a true thing's track is another one at its next sighting.

    Returns:
        Switches, and sightings that could be one.
    """
    seen: dict[int, list[tuple[int, int]]] = {}
    for (track, frame), true in matches(found, truth).items():
        seen.setdefault(true, []).append((frame, track))
    count = links = 0
    for sightings in seen.values():
        tracks = [track for _, track in sorted(sightings)]
        links += len(tracks) - 1
        count += sum(a != b for a, b in pairwise(tracks))
    return count, links


def bare(clip: Clip) -> AnnotatedClip:
    """What annotators are shown of a clip."""
    return AnnotatedClip(
        key=clip.key,
        frames=clip.frames,
        times=np.arange(len(clip.frames)) / 2.0,
        narration=clip.narration,
        scene=clip.scene,
        source=clip.source,
        licence=clip.licence,
        depth=clip.depth,
        depth_kind=clip.depth_kind,
    )


def confirmed(statement: Statement, found: Boxes, clip: Clip) -> bool:
    """Whether the truth of a synthetic clip bears a statement out.

    Things are found again in the truth by their boxes in the statement's frames. Regions have no
    margin there, sides and depths have to have the same order, and a motion has to be at least half
    as far as what is said asks for.
    """
    pairs, truth = matches(found, clip.boxes), Sight.of(clip.boxes, clip.masks, clip.depth)
    first, last = statement.span
    if statement.kind == "hand":
        acting = ("left", "right") if clip.extra["hand"] == "both" else (clip.extra["hand"],)
        return statement.value in acting
    own = [pairs.get((statement.track, frame)) for frame in (first, last)]
    if own[0] is None or own[0] != own[1]:
        return False
    if statement.kind == "motion":
        return statement.value in motion(truth, own[0], first, last, SHIFT / 2, APPROACH / 2)
    if statement.kind == "region":
        center = truth.center(own[0], first)
        return center is not None and region(center, margin=0) == statement.value
    other = pairs.get((int(statement.value), first))
    if other is None:
        return False
    return statement.kind in [r for r, _, _ in relations(truth, own[0], {other: ""}, first, 0, 0)]


def measure_trackers(
    clips: Sequence[Clip],
    sources: dict[str, Sequence[Detections]],
    trackers: Sequence[TrackingAnnotator],
) -> None:
    """Print the identity switches of each tracker."""
    for tracker in trackers:
        for name, found in sources.items():
            total = np.zeros(2, int)
            for clip, detections in zip(clips, found, strict=True):
                total += switches(tracker.track(bare(clip), detections)[0], clip.boxes)
            share = total[0] / max(total[1], 1)
            print(
                f"{tracker.name:12} {name:32} {total[0]:4d} of {total[1]} ({share:.2%})", flush=True
            )


def measure_captions(
    clips: Sequence[Clip],
    sources: dict[str, Sequence[Detections]],
    tracker: TrackingAnnotator,
    depths: Sequence[np.ndarray | None],
    kind: DepthKind | None,
    examples: int,
) -> None:
    """Print how much template captions say, and how much of it is true."""
    writer = TemplateCaptions()
    for name, found in sources.items():
        kinds: dict[str, list[bool]] = {}
        rich = hands = 0
        for number, clip in enumerate(clips):
            shown = bare(clip)
            shown.depth = depths[number]
            shown.depth_kind = None if depths[number] is None else kind
            detections = shown.detections = found[number]
            shown.boxes, shown.masks = tracker.track(shown, detections)
            (result,) = writer.annotate([shown])
            assert not isinstance(result, AnnotationFailure)
            said = [Statement.from_json(one) for one in result["caption_report"]["statements"]]
            verdicts = [confirmed(statement, shown.boxes, clip) for statement in said]
            for statement, verdict in zip(said, verdicts, strict=True):
                kinds.setdefault(statement.kind, []).append(verdict)
            if HAND in detections.category:
                hands += 1
                rich += sum(statement.kind != "hand" for statement in said) >= LEAST_STATEMENTS
            if number < examples:
                print(f"  {clip.narration}\n    {result['caption']}")
                wrong = [s.to_json() for s, v in zip(said, verdicts, strict=True) if not v]
                print(f"    false: {wrong}")
        every = [verdict for verdicts in kinds.values() for verdict in verdicts]
        print(
            f"{name:32} {rich / max(hands, 1):.1%} of {hands} clips with a hand say "
            f"{LEAST_STATEMENTS} things of space or more; {len(every)} statements, "
            f"{np.mean(every):.1%} true"
        )
        print(
            "    " + ", ".join(f"{k} {np.mean(v):.1%} of {len(v)}" for k, v in kinds.items()),
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("--clips", type=int, default=256)
    parser.add_argument("--depth", choices=("true", "egodtm", "none"), default="true")
    parser.add_argument("--handtrack", help="weights of the hand detector, to measure it as well")
    parser.add_argument("--detector", nargs="*", default=[], help="folders of train_detector")
    parser.add_argument(
        "--threshold", type=float, default=THRESHOLD, help="least score of --detector"
    )
    parser.add_argument(
        "--narrated-threshold", type=float, default=NARRATED_THRESHOLD, help="of things narrated"
    )
    parser.add_argument(
        "--boxes", nargs="*", choices=SOURCES, default=list(SOURCES), help="of the made ones"
    )
    parser.add_argument("--part", choices=("tracks", "captions"))
    parser.add_argument("--examples", type=int, default=0)
    options = parser.parse_args()
    store = ClipStore.open(options.store)
    clips = [store[index] for index in range(min(options.clips, len(store)))]
    sources: dict[str, Sequence[Detections]] = {}
    for name in options.boxes:
        found = [
            detections_of(clip.boxes, SOURCES[name], np.random.default_rng([number, 1]))
            for number, clip in enumerate(clips)
        ]
        if SOURCES[name].rules:
            found = [by_rule(*pair) for pair in zip(found, clips, strict=True)]
        sources[name] = found
    if options.handtrack:
        detector = Handtrack(weights=options.handtrack)
        sources["handtrack"] = [annotated(detector, clip)["detections"] for clip in clips]
    depths: list[np.ndarray | None] = [None] * len(clips)
    kind: DepthKind | None = "metric"
    if options.depth == "true":
        depths = [clip.depth for clip in clips]
    elif options.depth == "egodtm":
        decoder, kind = EgoDTMDepth(), "relative"
        depths = [annotated(decoder, clip)["depth"] for clip in clips]
    for folder in options.detector:
        # Detectors stand behind the depth stage: sides that they do not tell, and contact, are told
        # with the depth that captions are written with.
        trained = TrainedDetector(
            folder, threshold=options.threshold, narrated_threshold=options.narrated_threshold
        )
        sources[folder] = [
            annotated(trained, clip, depth, kind)["detections"]
            for clip, depth in zip(clips, depths, strict=True)
        ]
    if options.part != "captions":
        measure_trackers(clips, sources, [Association(), ByteTrack()])
    if options.part != "tracks":
        measure_captions(clips, sources, Association(), depths, kind, options.examples)


def annotated(
    annotator: Annotator,
    clip: Clip,
    depth: np.ndarray | None = None,
    kind: DepthKind | None = None,
) -> Mapping[str, Any]:
    """What an annotator writes of a clip of which it sees the frames, and depth if it is given."""
    shown = bare(clip)
    shown.depth, shown.depth_kind = depth, None if depth is None else kind
    (result,) = annotator.annotate([shown])
    assert not isinstance(result, AnnotationFailure), result.reason
    return result


if __name__ == "__main__":
    main()
