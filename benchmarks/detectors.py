"""Annotators of depth, hands and contact against the truth of synthetic clips, and on real videos.

    python benchmarks/detectors.py STORE [--clips 64] [--handtrack handtrack.onnx]
        [--detector RUN/checkpoints/best ...] [--zero-shot MODEL ...] [--depth-checkpoint PATH]
        [--depth-model MODEL ...] [--visor P01_104.json] [--videos FOLDER] [--out FOLDER]

STORE is what ``python -m pretrain.generate split=test synthetic.resolution=320`` makes. It
prints:

- hands: AP50 of each detector, and precision and recall at the threshold of its configuration;
- sides: share of hands whose side is right, from true boxes, with true depth and without;
- contact: precision and recall of hands and of objects, from true boxes with and without depth, and
  from true masks; the depth is once that of the store in meters, once brought to [0, 1] as a
  relative one;
- the mask rule on VISOR's polygons, which have no depth;
- depth: how near disparity of unknown scale comes to the truth after each inversion, with one scale
  a clip and with one a frame, and the error of each depth annotator that is named;
- real videos: hands a frame, and pictures with the boxes drawn in.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pretrain.annotate.depth.base import DepthAnnotator, depth_from_disparity
from pretrain.annotate.detectors.base import Detector
from pretrain.annotate.detectors.contact import mask_score, update_contact
from pretrain.annotate.detectors.hand_side import assign_sides
from pretrain.annotate.detectors.visor import read_visor
from pretrain.clips.annotated_clip import AnnotatedClip, Detections
from pretrain.clips.clip import HAND, LEFT, NO_SIDE, RIGHT, Clip
from pretrain.clips.store import ClipStore
from pretrain.evaluate.depth import METRICS, depth_scores
from pretrain.evaluate.detection import Counts, Found, average_precision, match

VISOR_GRID = (270, 480)
"""Rows and columns on which polygons are drawn."""

FRAMES_A_VIDEO = 16


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store", type=Path)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--handtrack", type=Path)
    parser.add_argument("--detector", nargs="*", default=[])
    parser.add_argument("--zero-shot", nargs="*", default=[])
    parser.add_argument("--depth-checkpoint", nargs="*", default=[])
    parser.add_argument("--depth-model", nargs="*", default=[])
    parser.add_argument("--visor", type=Path)
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/detectors"))
    options = parser.parse_args()
    store = ClipStore.open(options.store)
    clips = [store[index] for index in range(min(options.clips, len(store)))]
    print(f"{len(clips)} clips of {options.store}")
    detectors = _detectors(options)
    for detector, strict in detectors:
        measure_hands(detector, strict, clips)
    measure_sides(clips)
    measure_contact(clips)
    if options.visor:
        measure_visor(options.visor)
    measure_inversions(clips)
    for annotator in _depth_annotators(options, clips):
        measure_depth(annotator, clips)
    if options.videos:
        options.out.mkdir(parents=True, exist_ok=True)
        for detector, strict in detectors:
            look_at_videos(detector, strict, sorted(options.videos.glob("*.mp4")), options.out)


def _detectors(options: argparse.Namespace) -> list[tuple[Detector, float]]:
    """Detectors with every box that they give, and the threshold of their configurations."""
    from pretrain.annotate.detectors.handtrack import Handtrack
    from pretrain.annotate.detectors.trained import THRESHOLD, TrainedDetector
    from pretrain.annotate.detectors.zero_shot import ZeroShotDetector

    found: list[tuple[Detector, float]] = []
    if options.handtrack:
        every = Handtrack(str(options.handtrack), threshold=0.02, most_hands=20)
        found.append((every, 0.4))
    found += [
        (TrainedDetector(path, threshold=0.02, narrated_threshold=0.02, most_boxes=100), THRESHOLD)
        for path in options.detector
    ]
    found += [(ZeroShotDetector(path, threshold=0.02), 0.3) for path in options.zero_shot]
    return found


def _depth_annotators(options: argparse.Namespace, clips: Sequence[Clip]) -> list[DepthAnnotator]:
    from pretrain.annotate.depth.egodtm import EgoDTMDepth
    from pretrain.annotate.depth.huggingface import HuggingFaceDepth

    assert clips[0].depth is not None
    size = clips[0].depth.shape[1]
    found: list[DepthAnnotator] = [EgoDTMDepth(p, size) for p in options.depth_checkpoint]
    return found + [HuggingFaceDepth(model, size=size) for model in options.depth_model]


def annotated(clip: Clip) -> AnnotatedClip:
    """A stored clip as decoding would give it."""
    return AnnotatedClip(
        key=clip.key,
        frames=clip.frames,
        times=np.arange(len(clip.frames), dtype=np.float64),
        narration=clip.narration,
        scene=clip.scene,
        source=clip.source,
        licence=clip.licence,
    )


def is_hand(categories: Sequence[str]) -> np.ndarray:
    """Which categories are hands, bool (n,)."""
    return np.array([name == HAND for name in categories], bool)


# -- hands -----------------------------------------------------------------------------------


def measure_hands(detector: Detector, threshold: float, clips: Sequence[Clip]) -> None:
    """AP50 of hands, and of hands with the right side."""
    images: list[Found] = []
    sided: list[Found] = []
    began = time.process_time()
    for clip in clips:
        found: Detections = detector.annotate([annotated(clip)])[0]["detections"]  # type: ignore[index]
        for frame in range(len(clip.frames)):
            own = (found.frame == frame) & is_hand(found.category)
            true = (clip.boxes.frame == frame) & is_hand(clip.boxes.category)
            images.append(Found(found.xyxy[own], found.score[own], clip.boxes.xyxy[true]))
            for side in (LEFT, RIGHT):
                one, other = own & (found.side == side), true & (clip.boxes.side == side)
                sided.append(Found(found.xyxy[one], found.score[one], clip.boxes.xyxy[other]))
    seconds = time.process_time() - began
    counts = Counts()
    for image in images:
        sure = image.score >= threshold
        kept = Found(image.xyxy[sure], image.score[sure], image.truth)
        counts.right += int((match(kept) >= 0).sum())
        counts.said += len(kept.score)
        counts.true += len(kept.truth)
    print(
        f"hands, {detector.name}: AP50 {average_precision(images):.3f}, with sides "
        f"{average_precision(sided):.3f}; at {threshold} precision {counts.precision:.2f}, recall "
        f"{counts.recall:.2f}; {seconds / len(images) * 1000:.0f} ms of CPU a frame"
    )


def measure_sides(clips: Sequence[Clip]) -> None:
    """Share of hands whose side is right, from true boxes."""
    for name, change in _DEPTHS.items():
        right = total = single_right = single = 0
        for clip in clips:
            own = np.flatnonzero(is_hand(clip.boxes.category))
            depth, kind = change(clip)
            frame, xyxy = clip.boxes.frame[own], clip.boxes.xyxy[own]
            found = assign_sides(frame, xyxy, np.ones(len(own)), depth, kind)
            correct = found == clip.boxes.side[own]
            right, total = right + int(correct.sum()), total + len(own)
            seen = np.isin(frame, np.flatnonzero(np.bincount(frame, minlength=1) == 2))
            alone = np.full(len(own), not seen.any())
            single_right += int(correct[alone].sum())
            single += int(alone.sum())
        print(
            f"sides, {name}: {right / total:.1%} of {total} hands; {single_right / single:.1%} of "
            f"the {single} in clips that never show both"
        )


# -- contact ---------------------------------------------------------------------------------


def measure_contact(clips: Sequence[Clip]) -> None:
    """Precision and recall of the rule with each thing that it may go by."""
    for masks in (False, True):
        for name, change in _DEPTHS.items():
            hands, objects = Counts(), Counts()
            for clip in clips:
                depth, kind = change(clip)
                shown = clip.masks if masks else None
                found = update_contact(clip.boxes, shown, depth, kind).contact
                own = is_hand(clip.boxes.category)
                hands.add(found[own], clip.boxes.contact[own])
                objects.add(found[~own], clip.boxes.contact[~own])
            print(
                f"contact, {'masks' if masks else 'boxes'}, {name}: hands precision "
                f"{hands.precision:.3f} recall {hands.recall:.3f} of {hands.true}; objects "
                f"precision {objects.precision:.3f} recall {objects.recall:.3f} of {objects.true}"
            )


def measure_visor(path: Path) -> None:
    """The mask rule on VISOR's polygons: whether a hand touches anything, and what."""
    touching = Counts()
    named = Counts()
    for frame in read_visor(path):
        masks = {entity.id: entity.mask(*VISOR_GRID) for entity in frame.entities}
        things = [entity for entity in frame.entities if not entity.is_hand]
        for hand in (entity for entity in frame.entities if entity.is_hand and entity.decided):
            scores = [mask_score(masks[hand.id], masks[thing.id], None) for thing in things]
            best = int(np.argmax(scores)) if scores else -1
            said = best >= 0 and scores[best] > 0
            touching.add(np.array([said]), np.array([hand.touches is not None]))
            named.said += said
            named.true += hand.touches is not None
            named.right += said and things[best].id == hand.touches
    print(
        f"contact, VISOR's polygons without depth: touches anything precision "
        f"{touching.precision:.3f} recall {touching.recall:.3f} of {touching.true} hands; the very "
        f"object precision {named.precision:.3f} recall {named.recall:.3f}"
    )


def _metric(clip: Clip) -> tuple[np.ndarray | None, str | None]:
    return clip.depth, clip.depth_kind


def _relative(clip: Clip) -> tuple[np.ndarray | None, str | None]:
    assert clip.depth is not None
    low, high = np.nanquantile(clip.depth, [0.01, 0.99])
    return ((clip.depth - low) / (high - low)).clip(0, 1), "relative"


def _none(_: Clip) -> tuple[np.ndarray | None, str | None]:
    return None, None


_DEPTHS: dict[str, Callable[[Clip], tuple]] = {
    "no depth": _none,
    "relative depth": _relative,
    "metric depth": _metric,
}


# -- depth -----------------------------------------------------------------------------------


def measure_inversions(clips: Sequence[Clip]) -> None:
    """What an inversion of ideal disparity, of unknown scale and shift, costs."""
    random = np.random.default_rng(0)
    for frames in ("as it is", "scaled anew in every frame by up to 10 %"):
        cases = {"flip": ("flip", 0.1)}
        cases |= {f"reciprocal {s}": ("reciprocal", s) for s in (0.05, 0.1, 0.15, 0.2, 0.3)}
        for scope in ("clip", "frame"):
            for name, (inversion, near_share) in cases.items():
                scores = []
                for clip in clips:
                    assert clip.depth is not None
                    disparity = 1 / np.maximum(clip.depth, 1e-3)
                    if frames != "as it is":
                        disparity = disparity * random.uniform(0.9, 1.1, (len(disparity), 1, 1))
                    parts = [disparity] if scope == "clip" else list(disparity[:, None])
                    found = [depth_from_disparity(p, inversion, near_share) for p in parts]  # type: ignore[arg-type]
                    scores.append(depth_scores(np.concatenate(found), clip.depth))
                print(f"inversion, disparity {frames}, range of a {scope}, {name}: {_line(scores)}")


def measure_depth(annotator: DepthAnnotator, clips: Sequence[Clip]) -> None:
    """Errors after one scale and shift a clip, beside those of a ramp from far above to near."""
    found, ramp = [], []
    for clip in clips:
        assert clip.depth is not None
        depth = annotator.annotate([annotated(clip)])[0]["depth"]  # type: ignore[index]
        found.append(depth_scores(depth, clip.depth))
        rows = np.linspace(1, 0, clip.depth.shape[1])[None, :, None]
        ramp.append(depth_scores(np.broadcast_to(rows, clip.depth.shape), clip.depth))
    print(f"depth, {annotator.name}: {_line(found)}; by row alone: {_line(ramp)}")


def _line(scores: Sequence[np.ndarray]) -> str:
    mean = np.nanmean(scores, axis=0)
    return ", ".join(f"{name} {value:.3f}" for name, value in zip(METRICS, mean, strict=True))


# -- real videos -----------------------------------------------------------------------------


def look_at_videos(detector: Detector, threshold: float, videos: Sequence[Path], out: Path) -> None:
    """Hands in evenly spread frames of each video, and a picture with them drawn in."""
    import imageio.v3 as imageio

    rows = []
    for path in videos:
        frames = np.stack(list(imageio.imiter(path, plugin="FFMPEG")))
        chosen = frames[np.linspace(0, len(frames) - 1, FRAMES_A_VIDEO).round().astype(int)]
        clip = AnnotatedClip(
            key=path.stem,
            frames=chosen,
            times=np.arange(len(chosen), dtype=np.float64),
            narration="",
            scene=path.stem,
            source="video",
            licence="",
        )
        found: Detections = detector.annotate([clip])[0]["detections"]  # type: ignore[index]
        sure = found.score >= threshold
        with_hands = len(np.unique(found.frame[sure & is_hand(found.category)]))
        print(
            f"{detector.name}, {path.name}: hands in {with_hands} of {len(chosen)} frames, "
            f"{int((sure & is_hand(found.category)).sum())} boxes"
        )
        rows.append(
            np.concatenate([drawn(chosen[t], found, t, threshold) for t in range(len(chosen))], 1)
        )
    if rows:
        halves = [half for row in rows for half in np.array_split(row, 2, axis=1)]
        picture = out / f"{detector.name}.png"
        Image.fromarray(np.concatenate(halves)).save(picture)
        print(picture)


def drawn(
    frame: np.ndarray,
    found: Detections,
    number: int,
    threshold: float,
    size: tuple[int, int] = (240, 180),
) -> np.ndarray:
    """A frame with its boxes: left hands blue, right hands orange, others white."""
    image = Image.fromarray(frame).resize(size)
    drawing = ImageDraw.Draw(image)
    colors = {NO_SIDE: "white", LEFT: "deepskyblue", RIGHT: "orange"}
    for row in np.flatnonzero((found.frame == number) & (found.score >= threshold)):
        box = found.xyxy[row] * [*size, *size]
        drawing.rectangle(box.tolist(), outline=colors[int(found.side[row])], width=2)
        mark = "*" if found.contact[row] else ""
        drawing.text(box[:2].tolist(), f"{found.score[row]:.2f}{mark}", fill="yellow")
    return np.asarray(image)


if __name__ == "__main__":
    main()
