"""Depth by any model of transformers for depth estimation, by hub id or local folder.

Preprocessing follows the model's processor file and runs in torch (the processors of transformers
need torchvision). What a model's numbers mean is known by its kind:

==================  ======================================================================
kind of model       its numbers
==================  ======================================================================
``depth_anything``  disparity, or meters if its configuration says ``metric`` (Yang et al.,
                    "Depth Anything V2", 2024)
``dpt``             disparity (Ranftl et al., "Vision Transformers for Dense Prediction", 2021)
``zoedepth``        meters (Bhat et al., "ZoeDepth", 2023)
``glpn``            meters (Kim et al., "Global-Local Path Networks", 2022)
``depth_pro``       inverse meters for a picture as wide as its focal length, and the angle of
                    view that undoes it (Bochkovskii et al., "Depth Pro", 2024)
==================  ======================================================================
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch.nn import functional

from egodtm_robot.core.devices import pick_device
from egodtm_robot.core.errors import UnknownNameError
from egodtm_robot.core.fingerprints import hash_parts, hash_tensors
from egodtm_robot.core.images import Interpolation, resize, to_channels_first
from egodtm_robot.core.published_models.hub import load_model, load_processor_config
from egodtm_robot.core.published_models.preprocessing import Normalization, processor_interpolation
from pretrain.annotate.depth.base import (
    DEFAULT_SIZE,
    DepthAnnotator,
    Inversion,
    depth_from_disparity,
)
from pretrain.annotate.errors import AnnotatorOptionError
from pretrain.annotate.stage import AnnotationFailure
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.clip import DepthKind

CODE_VERSION = 1

Output = Literal["auto", "disparity", "relative", "metric"]

OUTPUTS: tuple[str, ...] = get_args(Output)

_KNOWN_OUTPUTS: dict[str, Output] = {"dpt": "disparity", "zoedepth": "metric", "glpn": "metric"}
_DEPTH_PRO = "depth_pro"


@dataclass(frozen=True)
class DepthPreprocessing:
    """What a processor file of a depth model asks for.

    Attributes:
        size: (height, width) to fit the picture to; None keeps its own.
        keep_aspect: whether both sides are scaled by one factor, the one nearer to 1.
        multiple: sides are rounded to multiples of it.
        floor: whether they are rounded down (GLPN) instead of to the nearest.
        reflect: whether the borders are mirrored outwards first, and cut off afterwards (ZoeDepth).
        align_corners: whether the outermost pixels stay in place when resizing (ZoeDepth).
        interpolation: of the resize.
        normalization: of gray levels.
    """

    size: tuple[int, int] | None
    keep_aspect: bool
    multiple: int
    floor: bool
    reflect: bool
    align_corners: bool
    interpolation: Interpolation
    normalization: Normalization

    @classmethod
    def of_processor(cls, kind: str, processor: dict[str, Any]) -> "DepthPreprocessing":
        """Read the content of ``preprocessor_config.json`` for a kind of model.

        Raises:
            AnnotatorOptionError: it asks for something that is not done here.
        """
        zoe = kind == "zoedepth"
        if processor.get("do_pad", zoe) and not zoe:
            raise AnnotatorOptionError(
                f"Expected a processor without padding for a model of kind {kind}, got do_pad=true."
            )
        divisor = processor.get("size_divisor") if kind == "glpn" else None
        size = None
        if processor.get("do_resize", True) and kind != "glpn":
            default = {"zoedepth": (384, 512), _DEPTH_PRO: (1536, 1536)}.get(kind, (384, 384))
            size = _pair(processor.get("size", default))
        normalization = Normalization.from_processor(processor)
        if kind == "glpn":
            # Its processor knows no means: gray levels go in as 0 to 1.
            normalization = Normalization(normalization.rescale, (0.0,) * 3, (1.0,) * 3)
        return cls(
            size=size,
            keep_aspect=bool(processor.get("keep_aspect_ratio", zoe)),
            multiple=int(divisor or processor.get("ensure_multiple_of", 32 if zoe else 1)),
            floor=kind == "glpn",
            reflect=zoe and bool(processor.get("do_pad", True)),
            align_corners=zoe,
            interpolation=processor_interpolation(processor, "bicubic"),
            normalization=normalization,
        )

    def identity(self) -> dict[str, Any]:
        """What enters a fingerprint."""
        parts = asdict(self)
        # Spelled as in the fingerprints that prepared stores hold.
        parts["normalisation"] = parts.pop("normalization")
        return parts

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        """uint8 (T, H, W, 3) -> normalized float32 (T, 3, h, w)."""
        pixels = to_channels_first(frames)
        if self.reflect:
            rows, columns = self.margins(frames.shape[1], frames.shape[2])
            pixels = functional.pad(pixels, (columns, columns, rows, rows), mode="reflect")
        height, width = self.fitted(int(pixels.shape[-2]), int(pixels.shape[-1]))
        if self.align_corners:
            pixels = functional.interpolate(
                pixels, (height, width), mode=self.interpolation, align_corners=True
            )
        else:
            pixels = resize(pixels, (height, width), self.interpolation)
        return self.normalization(pixels)

    def fitted(self, height: int, width: int) -> tuple[int, int]:
        """The size that a picture is resized to."""
        if self.size is None:
            down, across = 1.0, 1.0
        else:
            down, across = self.size[0] / height, self.size[1] / width
        if self.keep_aspect:
            factor = across if abs(1 - across) < abs(1 - down) else down
            down = across = factor
        return self._rounded(down * height), self._rounded(across * width)

    def margins(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns that are mirrored outwards on each side."""
        if not self.reflect:
            return 0, 0
        return int(math.sqrt(height / 2) * 3), int(math.sqrt(width / 2) * 3)

    def _rounded(self, length: float) -> int:
        steps = length / self.multiple
        return max(1, math.floor(steps) if self.floor else round(steps)) * self.multiple


class HuggingFaceDepth(DepthAnnotator):
    """A published depth model by hub id or local path.

    Args:
        model: hub id such as ``depth-anything/Depth-Anything-V2-Small-hf``, or a folder as
            ``save_pretrained`` writes it, with ``preprocessor_config.json``.
        revision: branch, tag or commit on the hub.
        output: what the model's numbers mean: ``disparity`` (near is large), ``relative`` (near is
            small), ``metric`` (meters), or ``auto`` for what is known of its kind.
        inversion: how disparity becomes depth, see :mod:`pretrain.annotate.depth.base`.
        near_share: of the inversion.
        size: rows and columns of the stored maps.
        batch_size: clips handed over at once.
        device: ``auto``, or as torch names it.

    Raises:
        WeightsError: the model, or its processor file, is not to be had or not readable.
        AnnotatorOptionError: an option does not fit the model, or there is no such device.
        UnknownNameError: there is no such output or inversion.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        output: Output = "auto",
        inversion: Inversion = "reciprocal",
        near_share: float = 0.15,
        size: int = DEFAULT_SIZE,
        batch_size: int = 4,
        device: str = "auto",
    ) -> None:
        from transformers import AutoModelForDepthEstimation

        if output not in OUTPUTS:
            raise UnknownNameError("output of a depth model", output, OUTPUTS)
        depth_from_disparity(np.zeros((1, 1, 1)), inversion, near_share)  # refuses bad options now
        processor = load_processor_config(model, revision)
        self._device = pick_device(device)
        self._model = load_model(AutoModelForDepthEstimation, model, revision)
        self.kind = self._model.config.model_type
        self.output = _known_output(self._model.config) if output == "auto" else output
        self.inversion: Inversion = inversion
        self.near_share = near_share
        self.preprocessing = DepthPreprocessing.of_processor(self.kind, processor)
        fingerprint = hash_parts(
            "HuggingFaceDepth",
            CODE_VERSION,
            size,
            self.output,
            [inversion, near_share] if self.output == "disparity" else None,
            type(self._model).__name__,
            self._model.config.to_diff_dict(),
            self.preprocessing.identity(),
            hash_tensors(self._model.state_dict()),
        )
        super().__init__("huggingface", fingerprint, size, batch_size)
        self._model.to(self._device)

    @torch.inference_mode()
    def predict(self, clip: AnnotatedClip) -> tuple[np.ndarray, DepthKind] | AnnotationFailure:
        """Depth of a clip's frames, each looked at by itself."""
        frames = torch.from_numpy(clip.frames).to(self._device)
        outputs = self._model(pixel_values=self.preprocessing(frames))
        values = outputs.predicted_depth.float()
        if self.kind == _DEPTH_PRO and self.output == "metric":
            values = _depth_pro_meters(values, outputs.field_of_view)
        values = self._without_margins(values, clip.frames.shape[1], clip.frames.shape[2])
        found = values.cpu().numpy()
        if self.output == "disparity":
            return depth_from_disparity(found, self.inversion, self.near_share), "relative"
        return found, "metric" if self.output == "metric" else "relative"

    def _without_margins(self, values: torch.Tensor, height: int, width: int) -> torch.Tensor:
        rows, columns = self.preprocessing.margins(height, width)
        if not rows and not columns:
            return values
        whole = (height + 2 * rows, width + 2 * columns)
        values = functional.interpolate(values[:, None], whole, mode="bicubic")[:, 0]
        return values[:, rows : rows + height, columns : columns + width]


def _known_output(config: Any) -> Output:
    kind = config.model_type
    if kind == "depth_anything":
        return "metric" if config.depth_estimation_type == "metric" else "disparity"
    if kind == _DEPTH_PRO:
        return "metric"
    if kind not in _KNOWN_OUTPUTS:
        known = ", ".join(["depth_anything", _DEPTH_PRO, *_KNOWN_OUTPUTS])
        raise AnnotatorOptionError(
            f"Expected a depth model of a kind whose numbers are known ({known}), got {kind}. Say "
            "what they are: depth.output=disparity, relative or metric."
        )
    return _KNOWN_OUTPUTS[kind]


def _depth_pro_meters(values: torch.Tensor, field_of_view: torch.Tensor | None) -> torch.Tensor:
    """Meters from inverse depth for a picture as wide as its focal length: (T, h, w)."""
    if field_of_view is not None:
        width_by_focal_length = 2 * torch.tan(torch.deg2rad(field_of_view.float()) / 2)
        values = values * width_by_focal_length[:, None, None]
    return 1 / values.clamp(1e-4, 1e4)


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, dict):
        if "shortest_edge" in size:
            return int(size["shortest_edge"]), int(size["shortest_edge"])
        return int(size["height"]), int(size["width"])
    rows, columns = (size, size) if isinstance(size, int) else size
    return int(rows), int(columns)
