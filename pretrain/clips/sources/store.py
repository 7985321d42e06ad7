"""Clips of a store as if they were new video: what is found in them can be held to truth."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pretrain.clips.sources.base import ClipRequest, Failure
from pretrain.clips.store import ClipStore


class StoreSource:
    """Frames and narrations of a clip store, such as ``pretrain.generate`` writes.

    Nothing else that the store knows is handed on: boxes, masks, camera poses, captions and, unless
    asked for, depth stay behind as the truth that results are compared with. The clip that one came
    from is ``ClipStore.open(store)[extra["row"]]``.

    Args:
        store: path of the clip store.
        depth: whether clips bring their depth along.
        clips: how many of the store's first clips to take; None for all.
        name: of the data set; None for the one that each stored clip names.
    """

    kind = "clip_store"

    def __init__(
        self,
        store: str,
        depth: bool = False,
        clips: int | None = None,
        name: str | None = None,
    ) -> None:
        self.store = Path(store)
        self.depth = depth
        self.clips = clips
        self._given_name = name
        self.name = name or "store"

    def read(self) -> Iterator[ClipRequest | Failure]:
        """The store's clips in their order.

        Raises:
            StoreNotFoundError: there is no store.
        """
        store = ClipStore.open(self.store)
        rows = range(len(store) if self.clips is None else min(self.clips, len(store)))
        fields = ("narration", "key", "scene", "source", "licence")
        for row in rows:
            found = {name: values[0] for name, values in store.read([row], fields).items()}
            extra: dict[str, Any] = {"row": row}
            if self.depth:
                extra["depth"] = {"stored": True}
            yield ClipRequest(
                key=found["key"],
                video=self.store,
                start_s=0.0,
                end_s=math.inf,
                narration=found["narration"],
                scene=found["scene"],
                source=self._given_name or found["source"],
                licence=found["licence"],
                extra=extra,
            )
