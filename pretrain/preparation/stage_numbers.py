"""Numbers about what a stage wrote, such that those of many shards add up."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from pretrain.clips.clip import HAND

ENOUGH_STATEMENTS = 2
"""Statements about space or motion from which a caption counts as enriched."""


def stage_statistics(stage: str, clips: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Numbers about the clips of a shard; every one is a sum or a dictionary of sums.

    Args:
        stage: what wrote the fields.
        clips: the fields of each clip, by its key.
    """
    fields = list(clips.values())
    if stage == "decode":
        depth = [one["depth"] for one in fields if one.get("depth") is not None]
        return {
            "frames": sum(len(one["frames"]) for one in fields),
            "with_depth": len(depth),
            "cut_to_the_video": sum("cut_s" in (one.get("extra") or {}) for one in fields),
        }
    if stage == "depth":
        return _depth(fields)
    if stage == "hands_objects":
        return _detections(fields)
    if stage == "tracking":
        boxes = [one["boxes"] for one in fields]
        return {
            "boxes": sum(len(one) for one in boxes),
            "tracks": sum(len(np.unique(one.track)) for one in boxes),
            "with_masks": sum(one.get("masks") is not None for one in fields),
        }
    return _captions(fields)


def add_up(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The sum of the statistics of several shards."""
    total: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            if isinstance(value, dict):
                total[name] = dict(Counter(total.get(name, {})) + Counter(value))
            else:
                total[name] = total.get(name, 0) + value
    return total


def _depth(fields: list[Mapping[str, Any]]) -> dict[str, Any]:
    depth = [one["depth"] for one in fields if one.get("depth") is not None]
    kinds = Counter(one["depth_kind"] for one in fields if one.get("depth_kind"))
    return {
        "with_depth": len(depth),
        "kinds": dict(kinds),
        # A share of each clip's pixels, so that clips count alike whatever their maps' size.
        "known": float(sum((~np.isnan(one)).mean() for one in depth)),
    }


def _detections(fields: list[Mapping[str, Any]]) -> dict[str, Any]:
    hands, objects, contacts, with_hand = 0, 0, 0, 0
    for one in fields:
        detections = one["detections"]
        is_hand = np.array([name == HAND for name in detections.category], bool)
        hands += int(is_hand.sum())
        objects += int((~is_hand).sum())
        contacts += int(np.asarray(detections.contact)[is_hand].sum())
        with_hand += int(is_hand.any())
    return {
        "hands": hands,
        "objects": objects,
        "hands_in_contact": contacts,
        "with_hand": with_hand,
    }


def _captions(fields: list[Mapping[str, Any]]) -> dict[str, Any]:
    reports = [one.get("caption_report") or {} for one in fields]
    statements = [len(report.get("statements") or ()) for report in reports]
    fallbacks = [report["fallback"] for report in reports if report.get("fallback")]
    return {
        "writers": dict(Counter(str(report.get("writer")) for report in reports)),
        # A reason's first words name its kind; what follows is about the clip.
        "fallbacks": dict(Counter(str(reason).partition(":")[0] for reason in fallbacks)),
        "problems": sum(bool(report.get("problem")) for report in reports),
        "statements": sum(statements),
        "enriched": sum(count >= ENOUGH_STATEMENTS for count in statements),
    }
