"""The stages of annotation, and the interface of what does one of them.

A clip comes out of decoding with frames and a narration; each stage adds its own fields to it and
reads those of the stages before:

======================  ==========================================================
stage                   fields it writes
======================  ==========================================================
``depth``               ``depth``, ``depth_kind``
``hands_objects``       ``detections``
``tracking``            ``boxes``, ``masks``
``captions``            ``caption``, ``distractors``, ``caption_report``
======================  ==========================================================
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from pretrain.clips.annotated_clip import AnnotatedClip

Stage = Literal["depth", "hands_objects", "tracking", "captions"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""Stages in the order in which they read one another; decoding comes before them."""


@dataclass(frozen=True)
class AnnotationFailure:
    """Why one clip could not be annotated; the others of its batch were."""

    reason: str


class Annotator(Protocol):
    """One stage's work.

    Made once in each process that runs the stage, so that loading a model counts once. Must not
    depend on what else is in a batch: clips come in any grouping and give the same result.

    Attributes:
        stage: which stage this is.
        name: of the annotator, for tables and cards.
        fingerprint: a hash of weights, options and code version: what is annotated by another one
            is annotated again.
        batch_size: clips at once that suit it.
    """

    stage: Stage
    name: str
    fingerprint: str
    batch_size: int

    def annotate(
        self, clips: Sequence[AnnotatedClip]
    ) -> list[Mapping[str, Any] | AnnotationFailure]:
        """The stage's fields of each clip, by their names in AnnotatedClip."""
        ...
