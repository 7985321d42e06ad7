"""Puts the stages of a shard together into a shard of the clip store.

The shard is written beside the store and moved into it whole, so that a reader finds the old one or
the new one. Then the frames, which are nine tenths of everything, are dropped from the file of the
decoding: they lie in the store, and later stages are rerun on them from there.
"""

import math
import os
import shutil
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from egodtm_robot.core.errors import (
    CorruptStoreError,
    ForeignStoreError,
    InvalidClipError,
    StoreNotFoundError,
)
from egodtm_robot.core.storage.atomic_files import write_atomically
from pretrain.clips.annotated_clip import AnnotatedClip, Detections
from pretrain.clips.clip import Boxes, Clip
from pretrain.clips.sources.base import ClipRequest
from pretrain.clips.store import ClipStore, ClipStoreWriter, shard_name
from pretrain.preparation.plan import FOLDER
from pretrain.preparation.shard_reader import ShardReader
from pretrain.preparation.stage_files import IN_STORE, StageOutput, write_stage

MAKER = "pretrain.prepare"


@dataclass(frozen=True)
class AssembledShard:
    """What a shard of the store says of its making.

    Attributes:
        fingerprint: of all that it was assembled from.
        decoded: identity of the decoding that its frames come from.
        clips: how many it holds.
        failures: clips that did not fit the store, with reasons.
    """

    fingerprint: str
    decoded: str
    clips: int
    failures: dict[str, str]


def read_assembled(out: Path, shard: int) -> AssembledShard | None:
    """What is known of a shard of the store; None if there is none that a preparation made."""
    try:
        store = ClipStore.open(out / shard_name(shard))
    except (StoreNotFoundError, CorruptStoreError, ForeignStoreError):
        return None
    attributes = store.attributes[0]
    if attributes.get("maker") != MAKER:
        return None
    return AssembledShard(
        attributes["fingerprint"], attributes["decoded"], len(store), attributes["failures"]
    )


def assemble(out: Path, shard: int, stages: Sequence[str], fingerprint: str) -> tuple[int, int]:
    """Make a shard of the store from what the stages wrote.

    Args:
        out: folder of the clip store.
        shard: number of the shard.
        stages: that are to enter, decoding first.
        fingerprint: of all that; stored with the shard.

    Returns:
        How many clips came through the stages, and how many of them did not fit the store.

    Raises:
        CorruptStoreError: a stage's file is damaged.
        InvalidClipError: clips differ in the shape of their frames or maps.
        DiskSpaceError: the disk is full.
    """
    recover(out, shard)
    building = out / FOLDER / "assembling"
    shutil.rmtree(building / shard_name(shard), ignore_errors=True)
    clips: list[Clip] = []
    failures: dict[str, str] = {}
    with ShardReader(out, shard, stages) as reader:
        for key in reader.keys:
            clip = _clip(reader.clip(key), reader.requests[key])
            try:
                clip.check()
            except InvalidClipError as error:
                failures[key] = str(error)
            else:
                clips.append(clip)
        records = {stage: file.record for stage, file in reader.files.items()}
    attributes = {
        "maker": MAKER,
        "fingerprint": fingerprint,
        "decoded": records["decode"].identity,
        "stages": {
            stage: {"name": record.name, "fingerprint": record.fingerprint}
            for stage, record in records.items()
        },
        "failures": failures,
    }
    with ClipStoreWriter.create(
        building,
        attributes,
        shard=shard,
        depth_shape=_map_shape([clip.depth for clip in clips]),
        masks_shape=_map_shape([clip.masks for clip in clips]),
    ) as writer:
        writer.append(clips)
    stored = {clip.key for clip in clips}
    # Frames that only the old shard holds and the new one will not are taken back first.
    _keep_frames(out, shard, records["decode"].keys_in_store & stored)
    _move_in(building, out, shard)
    _keep_frames(out, shard, stored)
    return len(clips) + len(failures), len(failures)


def recover(out: Path, shard: int) -> None:
    """Put back the shard that a killed process had moved aside, or clear it away."""
    aside = _aside(out, shard)
    if aside.exists():
        if (out / shard_name(shard)).exists():
            shutil.rmtree(aside)
        else:
            os.replace(aside, out / shard_name(shard))


def _move_in(building: Path, out: Path, shard: int) -> None:
    name = shard_name(shard)
    if (out / name).exists():
        aside = _aside(out, shard)
        aside.parent.mkdir(exist_ok=True)
        os.replace(out / name, aside)
    os.replace(building / name, out / name)
    if not (out / "zarr.json").exists():
        write_atomically(out / "zarr.json", (building / "zarr.json").read_bytes())
    shutil.rmtree(_aside(out, shard), ignore_errors=True)


def _aside(out: Path, shard: int) -> Path:
    return out / FOLDER / "replaced" / shard_name(shard)


def _keep_frames(out: Path, shard: int, in_store: Set[str]) -> None:
    """Rewrite the file of the decoding so that it lacks the frames of these clips and no others."""
    with ShardReader(out, shard, ["decode"]) as reader:
        file = reader.files["decode"]
        record = file.record
        if record.keys_in_store == in_store:
            return
        clips: dict[str, Mapping[str, Any]] = {}
        for key in record.keys:
            fields = file.fields(key, without=("frames",))
            clips[key] = {**fields, "frames": IN_STORE if key in in_store else reader.frames(key)}
        output = StageOutput(
            record.stage,
            record.name,
            record.fingerprint,
            clips,
            record.failures,
            record.seconds,
            record.cpu_seconds,
            record.statistics,
        )
        write_stage(file.path, output)


def _clip(clip: AnnotatedClip, request: ClipRequest) -> Clip:
    """A clip for the store, from what the stages gave it."""
    depth_kind = clip.depth_kind if clip.depth is not None else None
    extra = {
        **clip.extra,
        "video": request.video.name,
        "start_s": request.start_s,
        "end_s": request.end_s if math.isfinite(request.end_s) else None,
        "times_s": [round(float(time), 6) for time in clip.times],
    }
    if clip.caption_report:
        extra["caption_report"] = clip.caption_report
    return Clip(
        frames=clip.frames,
        depth=clip.depth,
        depth_kind=depth_kind,
        masks=clip.masks,
        boxes=clip.boxes if clip.boxes is not None else _untracked(clip.detections),
        camera_pose=clip.camera_pose,
        narration=clip.narration,
        caption=clip.narration if clip.caption is None else clip.caption,
        distractors=clip.distractors,
        key=clip.key,
        scene=clip.scene,
        source=clip.source,
        licence=clip.licence,
        extra=extra,
    )


def _untracked(detections: Detections | None) -> Boxes:
    """Detections as boxes that nothing links: each is a track of its own."""
    if detections is None:
        return Boxes.empty()
    return Boxes(
        frame=detections.frame,
        track=np.arange(len(detections), dtype=np.int16),
        category=list(detections.category),
        side=detections.side,
        contact=detections.contact,
        xyxy=detections.xyxy,
    )


def _map_shape(maps: Sequence[np.ndarray | None]) -> tuple[int, int] | None:
    """(h, w) of the first map there is: the store wants to know it before its first clip."""
    shapes = [one.shape[1:] for one in maps if one is not None]
    return (int(shapes[0][0]), int(shapes[0][1])) if shapes else None
