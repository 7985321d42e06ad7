"""First-Person Hand Action: color and depth of hands at work.

Garcia-Hernando et al., CVPR 2018 (arXiv 1704.02463): ``Subject_1/put_salt/1/color/color_0000.jpeg``
and ``depth/depth_0000.png`` beside it, 30 a second, from two cameras of one sensor.
"""

import math
from collections.abc import Iterator
from pathlib import Path

from pretrain.clips.sources.base import ClipRequest, Failure
from pretrain.clips.sources.tables import AnnotationFileError

LICENCE = "FPHAB research use"
FPS = 30.0


class FphabSource:
    """One clip a sequence, named by its folder; depth comes with it, registered to the color.

    Args:
        videos: folder of the subjects (``Video_files``).
        depth: whether clips bring their depth along.
    """

    kind = "fphab"

    name = "fphab"

    def __init__(self, videos: str, depth: bool = True) -> None:
        self.videos = Path(videos)
        self.depth = depth

    def read(self) -> Iterator[ClipRequest | Failure]:
        """Every sequence, by subject, action and number.

        Raises:
            AnnotationFileError: the folder holds no sequences.
        """
        found = sorted(self.videos.glob("*/*/*/color"))
        if not found:
            raise AnnotationFileError(
                f"Expected sequences such as Subject_1/put_salt/1/color in {self.videos}, got none."
            )
        for color in found:
            sequence = color.parent
            key = str(sequence.relative_to(self.videos))
            extra: dict[str, object] = {"fps": FPS}
            if self.depth:
                extra["depth"] = {"folder": str(sequence / "depth"), "calibration": "fphab"}
            yield ClipRequest(
                key=key,
                video=color,
                start_s=0.0,
                end_s=math.inf,
                narration=sequence.parent.name.replace("_", " "),
                scene=key.split("/")[0],
                source=self.name,
                licence=LICENCE,
                extra=extra,
            )
