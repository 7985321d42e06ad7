"""Depth that the source knows: a sensor's, or a simulator's."""

import numpy as np

from egodtm_robot.core.fingerprints import hash_parts
from pretrain.annotate.depth.base import DEFAULT_SIZE, DepthAnnotator
from pretrain.annotate.stage import AnnotationFailure
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.clip import DepthKind

CODE_VERSION = 1


class TrueDepth(DepthAnnotator):
    """Keeps the depth that came with a clip, on the stored grid; a clip without any fails.

    Args:
        size: rows and columns of the stored maps.
        batch_size: clips handed over at once.
    """

    def __init__(self, size: int = DEFAULT_SIZE, batch_size: int = 32) -> None:
        fingerprint = hash_parts("TrueDepth", CODE_VERSION, size)
        super().__init__("truth", fingerprint, size, batch_size)

    def predict(self, clip: AnnotatedClip) -> tuple[np.ndarray, DepthKind] | AnnotationFailure:
        """The clip's own depth."""
        if clip.depth is None or clip.depth_kind is None:
            return AnnotationFailure(
                "Expected a clip with depth of its source, got none. Choose a source that has "
                "depth, or another annotator (depth=depth_anything_v2)."
            )
        return clip.depth, clip.depth_kind
