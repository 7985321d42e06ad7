"""Features and queries in the layout that VSLNet, Ego4D's baseline for language queries, reads.

The layout is that of ``NLQ/VSLNet`` of EGO4D/episodic-memory: below its folder ``data`` lie
``dataset/TASK/{train,val,test}.json`` and ``features/TASK/FEATURES/CLIP.pt`` with
``feature_shapes.json``.
"""

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from egodtm_robot.core.storage.atomic_files import write_atomically
from pretrain.clips.sources.language_queries import LanguageQuery
from pretrain.evaluate.spans import VideoSteps

TASK = "nlq_official_v1"
FEATURES = "official"
"""What VSLNet's own command lines call the task and the features (``--task``, ``--fv``)."""


def export_vslnet(
    folder: Path,
    videos: Mapping[str, VideoSteps],
    splits: Mapping[str, Sequence[LanguageQuery]],
) -> None:
    """Write features and queries; each file is whole or absent, the table of shapes comes last.

    Args:
        folder: what VSLNet calls ``data``; made if missing.
        videos: steps of every clip, by its uid.
        splits: the queries of ``train``, ``val`` and ``test``.
    """
    features = folder / "features" / TASK / FEATURES
    dataset = folder / "dataset" / TASK
    for path in (features, dataset):
        path.mkdir(parents=True, exist_ok=True)
    for split, queries in splits.items():
        write_atomically(dataset / f"{split}.json", _json(_queries(videos, queries)))
    for uid, video in videos.items():
        buffer = io.BytesIO()
        torch.save(torch.from_numpy(video.features).clone(), buffer)
        write_atomically(features / f"{uid}.pt", buffer.getvalue())
    shapes = {uid: len(video) for uid, video in videos.items()}
    write_atomically(features / "feature_shapes.json", _json(shapes))


def write_predictions(path: Path, queries: Sequence[LanguageQuery], spans: Sequence[Any]) -> None:
    """Write answers as the Ego4D challenge takes them.

    Args:
        path: of the JSON file; its folder is made.
        queries: what was asked.
        spans: float (k, 2) of each, seconds from the clip's start, the likeliest first.
    """
    results = [
        {
            "clip_uid": query.clip_uid,
            "annotation_uid": query.annotation_uid,
            "query_idx": query.query_idx,
            "predicted_times": [[float(start), float(end)] for start, end in found],
        }
        for query, found in zip(queries, spans, strict=True)
    ]
    content = {"version": "1.0", "challenge": "ego4d_nlq_challenge", "results": results}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _json(content))


def _queries(
    videos: Mapping[str, VideoSteps], queries: Sequence[LanguageQuery]
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for query in queries:
        steps = videos[query.clip_uid]
        # VSLNet takes steps for equally long: their number over their rate is the duration.
        rate = len(steps) / float(steps.bounds[-1])
        entry = found.setdefault(
            query.clip_uid,
            {
                "fps": rate,
                "num_frames": len(steps),
                "timestamps": [],
                "exact_times": [],
                "sentences": [],
                "annotation_uids": [],
                "query_idx": [],
            },
        )
        entry["timestamps"].append(
            [math.floor(query.start_s * rate), math.ceil(query.end_s * rate)]
        )
        entry["exact_times"].append([query.start_s, query.end_s])
        entry["sentences"].append(query.text.strip(" ").strip("?").lower() + "?")
        entry["annotation_uids"].append(query.annotation_uid)
        entry["query_idx"].append(query.query_idx)
    return found


def _json(content: Any) -> bytes:
    return json.dumps(content).encode()
