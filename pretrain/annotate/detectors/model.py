"""Detectors to train: published weights with new labels, or small ones with random weights."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from egodtm_robot.core.errors import WeightsError
from egodtm_robot.core.published_models.efficientnet import LAYERS
from egodtm_robot.core.published_models.hub import load_partly
from egodtm_robot.core.storage.atomic_files import write_atomically
from pretrain.annotate.detectors.trained import MODEL_KINDS
from pretrain.annotate.errors import AnnotatorOptionError

Kind = Literal["rt_detr", "d_fine", "ttfnet"]

Size = Literal["tiny", "small"]

BackboneKind = Literal["random", "efficientnet_lite0"]
"""``random``: one of the kind's own, untrained; the other as ImageNet taught it."""

_OF_LABELS = ("class_embed", "enc_score_head", "denoising_class_embed", "heat.1")
"""Modules whose shape depends on the labels; they begin from random weights."""

_TRANSFORMER: dict[str, dict[str, Any]] = {
    "tiny": {
        "encoder_hidden_dim": 128,
        "encoder_ffn_dim": 256,
        "encoder_attention_heads": 4,
        "d_model": 128,
        "decoder_in_channels": [128, 128, 128],
        "decoder_ffn_dim": 256,
        "decoder_attention_heads": 4,
        "decoder_layers": 3,
        "num_queries": 30,
        "num_denoising": 20,
        "hidden_expansion": 0.5,
    },
    "small": {
        "decoder_layers": 3,
        "num_queries": 100,
        "num_denoising": 100,
        "hidden_expansion": 0.5,
    },
}
_TTFNET: dict[str, dict[str, Any]] = {"tiny": {"width": 64}, "small": {"width": 128}}
_READ_BY_DETR = ["stride8", "stride16", "stride32"]
_READ_STAGES: dict[str, Any] = {"out_indices": [2, 3, 4]}
"""Of a backbone: maps of strides 8, 16 and 32."""

_RESNET: dict[str, dict[str, Any]] = {
    "tiny": {"embedding_size": 16, "hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 2, 1]},
    "small": {"embedding_size": 64, "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]},
}
_HGNET: dict[str, dict[str, Any]] = {
    "tiny": {
        "stem_channels": [3, 16, 16],
        "stage_in_channels": [16, 32, 48, 64],
        "stage_mid_channels": [16, 16, 24, 32],
        "stage_out_channels": [32, 48, 64, 128],
        "stage_num_blocks": [1, 1, 1, 1],
        "stage_numb_of_layers": [2, 2, 2, 2],
    },
    "small": {
        "stem_channels": [3, 16, 16],
        "stage_in_channels": [16, 64, 256, 512],
        "stage_mid_channels": [16, 32, 64, 128],
        "stage_out_channels": [64, 256, 512, 1024],
        "stage_num_blocks": [1, 1, 2, 1],
        "stage_numb_of_layers": [3, 3, 3, 3],
    },
}


def new_detector(
    kind: Kind, size: Size, labels: Sequence[str], seed: int, backbone: BackboneKind = "random"
) -> Any:
    """A detector with random weights, which come from the seed alone.

    Args:
        kind: of architecture.
        size: ``small`` is about the smallest that is published.
        labels: what it is to find.
        seed: of the weights.
        backbone: if it is not random, only what lies behind it is.

    Raises:
        WeightsError: the package with the backbone's weights is not installed.
    """
    import transformers

    from pretrain.annotate.detectors.efficientnet_backbone import (
        EfficientNetLite0Backbone,
        EfficientNetLite0Config,
    )
    from pretrain.annotate.detectors.ttfnet import TTFNetConfig, TTFNetForObjectDetection

    names_of = dict(enumerate(labels))
    options: dict[str, Any] = {
        "id2label": names_of,
        "label2id": {name: index for index, name in names_of.items()},
    }
    if kind != "ttfnet":  # which has no other backbone
        if backbone == "random":
            backbone_config, channels = _own_backbone(kind, size)
        else:
            backbone_config = EfficientNetLite0Config(out_features=_READ_BY_DETR)
            channels = [LAYERS[stage][1] for stage in _READ_BY_DETR]
        options |= {
            **_TRANSFORMER[size],
            "backbone_config": backbone_config,
            "encoder_in_channels": channels,
            # Norms that never saw data are worth nothing frozen; ours freezes its own.
            "freeze_backbone_batch_norms": False,
        }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        detector: Any
        if kind == "rt_detr":
            detector = transformers.RTDetrForObjectDetection(transformers.RTDetrConfig(**options))
        elif kind == "d_fine":
            detector = transformers.DFineForObjectDetection(transformers.DFineConfig(**options))
        else:
            detector = TTFNetForObjectDetection(TTFNetConfig(**_TTFNET[size], **options))
    if backbone != "random":
        for module in detector.modules():
            if isinstance(module, EfficientNetLite0Backbone):
                module.load_imagenet()
    return detector


def _own_backbone(kind: str, size: str) -> tuple[Any, list[int]]:
    """The configuration of a kind's own backbone, and the channels of its maps."""
    import transformers

    if kind == "rt_detr":
        resnet = _RESNET[size]
        return (
            transformers.RTDetrResNetConfig(layer_type="basic", **resnet, **_READ_STAGES),
            resnet["hidden_sizes"][1:],
        )
    hgnet = _HGNET[size]
    return (
        transformers.HGNetV2Config(
            depths=hgnet["stage_num_blocks"],
            hidden_sizes=hgnet["stage_out_channels"],
            **hgnet,
            **_READ_STAGES,
        ),
        hgnet["stage_out_channels"][1:],
    )


def published_detector(model: str, revision: str | None, labels: Sequence[str], seed: int) -> Any:
    """A published detector that is to find other things; the layers that name them begin
    from random weights.

    Args:
        model: hub id, or a folder that ``save_pretrained`` wrote.
        revision: branch, tag or commit on the hub.
        labels: what it is to find.
        seed: of the weights of the new layers.

    Raises:
        WeightsError: it is not to be had or not readable, or lacks other tensors than
            those of its labels.
        AnnotatorOptionError: it is of another kind.
    """
    from transformers import AutoModelForObjectDetection

    import pretrain.annotate.detectors.ttfnet  # noqa: F401 -- known to transformers then

    names = dict(enumerate(labels))
    detector, info = load_partly(
        AutoModelForObjectDetection,
        model,
        revision,
        seed=seed,
        id2label=names,
        label2id={name: index for index, name in names.items()},
    )
    if detector.config.model_type not in MODEL_KINDS:
        raise AnnotatorOptionError(
            f"Expected init to be a detector of a kind among {', '.join(MODEL_KINDS)}, got "
            f"{detector.config.model_type}."
        )
    changed = [*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])]
    lacking = sorted(name for name in changed if not any(part in name for part in _OF_LABELS))
    if lacking:
        raise WeightsError(
            f"Expected {model} to hold all tensors but those of its labels; missing or of another "
            f"shape: {', '.join(lacking[:10])}."
        )
    return detector


def save_detector(folder: Path, detector: Any, resolution: int, card: dict[str, Any]) -> None:
    """Write a detector as :class:`~pretrain.annotate.detectors.trained.TrainedDetector` loads it.

    Each file is replaced as a whole; the weights come last.

    Args:
        folder: made if missing.
        detector: the model.
        resolution: side of the pictures that it was trained on.
        card: values JSON can hold, of how it came about: ``card.json``.
    """
    import safetensors.torch

    folder.mkdir(parents=True, exist_ok=True)
    processor = {
        "do_resize": True,
        "size": {"height": resolution, "width": resolution},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": False,
    }
    config = detector.config.to_dict() | {"architectures": [type(detector).__name__]}
    texts = {"preprocessor_config.json": processor, "card.json": card, "config.json": config}
    for name, content in texts.items():
        write_atomically(folder / name, (json.dumps(content, indent=2) + "\n").encode())
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in detector.state_dict().items():
        # Tied heads share their memory; transformers ties them again when it loads.
        if tensor.numel() and tensor.data_ptr() in seen:
            continue
        seen.add(tensor.data_ptr())
        tensors[name] = tensor.detach().cpu().contiguous()
    data = safetensors.torch.save(tensors, metadata={"format": "pt"})
    write_atomically(folder / "model.safetensors", data)
