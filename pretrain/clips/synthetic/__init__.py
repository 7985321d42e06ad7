"""First-person clips of hands at work, drawn by MuJoCo, with all that the paper's pipeline guesses.

Depth, masks, boxes, contact and camera poses are exact, and what captions say is true by
construction.
"""

from pretrain.clips.synthetic.clips import (
    SPLITS,
    Split,
    SyntheticClipConfig,
    SyntheticClips,
    render_clip,
)
from pretrain.clips.synthetic.generate import generate

__all__ = [
    "SPLITS",
    "Split",
    "SyntheticClipConfig",
    "SyntheticClips",
    "generate",
    "render_clip",
]
