"""Published image encoders: whose files they are, how to read them, what they were trained to see.

A file of weights tells sizes by its shapes. Where it comes from, under which license, how its
images were prepared and how many heads its attention has, only the publisher's code says. Here is
what the public code says, one :class:`ImageModel` for each family. Nobody but the user fetches a
file, and nothing in it is run.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from egodtm_robot.core.errors import CheckpointMismatchError, WeightsError
from egodtm_robot.core.images import Interpolation
from egodtm_robot.core.published_models.files import existing_file, read_tensors
from egodtm_robot.core.published_models.matching import load_matching
from egodtm_robot.core.published_models.preprocessing import Preprocessing

ModuleT = TypeVar("ModuleT", bound=nn.Module)
Colors = tuple[float, float, float]

_HEAD_CHANNELS = 64


@dataclass(frozen=True)
class ImageModel:
    """What is known of a family's published files besides the files.

    Attributes:
        name: as its authors write it.
        encoder: the file of ``configs/encoder`` that reads it.
        files: which files are published.
        source: where the publisher says how to get them.
        license: of the weights.
        kinds: of :data:`KINDS` that its files may be.
        prefix: before the names of the encoder's tensors.
        left_out: pattern of the names of tensors that an encoder does not need.
        shorter_side: to which the image's shorter side is resized before the model's own square is
            cut from the middle; None for the side of that square.
        squeezed: whether the whole image is squeezed into the square, and nothing is cut.
        interpolation: of the resize.
        mean: by color, of pixels in [0, 1].
        std: by color, of pixels in [0, 1].
        heads: of the attention by width, where they do not have 64 channels each.
        eps: of the norms.
    """

    name: str
    encoder: str
    files: str
    source: str
    license: str
    kinds: tuple[str, ...]
    prefix: str = ""
    left_out: str = r"$^"
    shorter_side: int | None = None
    squeezed: bool = False
    interpolation: Interpolation = "bilinear"
    mean: Colors = (0.485, 0.456, 0.406)
    std: Colors = (0.229, 0.224, 0.225)
    heads: tuple[tuple[int, int], ...] = ()
    eps: float = 1e-6

    def preprocessing(self, side: int, resolution: int | None = None) -> Preprocessing:
        """What happens to an image before the network.

        Args:
            side: of the images that the network was trained on, in pixels.
            resolution: if given, the whole image is resized to this side, and nothing is cut.
        """
        shorter = side if self.shorter_side is None else self.shorter_side
        whole = side if resolution is None else resolution
        squeezed = self.squeezed or resolution is not None
        return Preprocessing(
            size=(whole, whole) if squeezed else (shorter,),
            crop=None if squeezed else (side, side),
            interpolation=self.interpolation,
            rescale=1 / 255,
            mean=self.mean,
            std=self.std,
        )

    def heads_of(self, width: int) -> int:
        """Heads of the attention of a transformer of this width."""
        return dict(self.heads).get(width, max(1, width // _HEAD_CHANNELS))


_DECODER = r"^(decoder|mask_token)"
"""Of masked autoencoders."""

IMAGE_MODELS = {
    model.encoder: model
    for model in (
        ImageModel(
            name="R3M",
            encoder="r3m",
            files="model.pt of r3m_18, r3m_34 or r3m_50",
            source="https://github.com/facebookresearch/r3m",
            license="MIT",
            kinds=("R3M",),
            prefix="convnet.",
            left_out=r"^lang_(enc|rew)\.",
            shorter_side=256,
        ),
        ImageModel(
            name="VIP",
            encoder="vip",
            files="model.pt of its ResNet-50",
            source="https://github.com/facebookresearch/vip",
            license="CC BY-NC 4.0",
            kinds=("VIP",),
            prefix="convnet.",
            shorter_side=256,
        ),
        ImageModel(
            name="MVP",
            encoder="mvp",
            files="mae_pretrain_*_vit_small.pth, *_vit_base.pth or *_vit_large_256.pth",
            source="https://github.com/ir413/mvp",
            license="none given",
            kinds=("ViT",),
            left_out=_DECODER + r"|^head\.",
            # Its ViT-S has twelve heads of 32 channels, where others have six.
            heads=((384, 12),),
        ),
        ImageModel(
            name="VC-1",
            encoder="vc1",
            files="vc1_vitb.pth or vc1_vitl.pth",
            source="https://github.com/facebookresearch/eai-vc",
            license="CC BY-NC 4.0",
            kinds=("ViT",),
            left_out=_DECODER,
            shorter_side=256,
            interpolation="bicubic",
        ),
        ImageModel(
            name="ToBo",
            encoder="tobo",
            files="checkpoint-*.pth as its training script writes it",
            source="https://github.com/naver-ai/tobo",
            license="CC BY-NC 4.0",
            kinds=("ToBo", "ViT"),
            left_out=_DECODER,
            # Its authors measure it with R3M's evaluation, which prepares images so.
            shorter_side=256,
        ),
        ImageModel(
            name="SPA",
            encoder="spa",
            files="spa-b.safetensors or spa-l.safetensors",
            source="https://huggingface.co/HaoyiZhu/SPA",
            license="MIT",
            kinds=("SPA",),
            prefix="model.img_backbone.",
            # The files hold the whole training: the renderer too.
            left_out=r"^(?!model\.img_backbone\.)"
            r"|^model\.img_backbone\.(decoder|mask_token|readout_project|upsample|head)",
            interpolation="bicubic",
        ),
        ImageModel(
            name="Theia",
            encoder="theia",
            files="model.safetensors of theia-tiny, -small or -base-patch16-224-cdiv",
            source="https://huggingface.co/theaiinstitute",
            license="The AI Institute's, for research and not for commerce",
            kinds=("Theia",),
            prefix="backbone.model.",
            left_out=r"^translator\.",
            # Its code loads the processor of facebook/deit-*-patch16-224, whose colors are not
            # ImageNet's.
            squeezed=True,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            eps=1e-12,
        ),
        ImageModel(
            name="Voltron",
            encoder="voltron",
            files="v-cond.pt, v-cond-base.pt, v-dual.pt or v-gen.pt",
            source="https://github.com/siddk/voltron-robotics",
            license="MIT",
            kinds=("Voltron",),
            left_out=_DECODER
            + r"|^(encoder2decoder|lang2decoder|img_dec_token|lang_dec_token|ctx_dec_pe"
            r"|prefix_mask)",
        ),
    )
}
"""By the name of the encoder."""

KINDS = {
    "Voltron": ("Voltron", "encoder=voltron"),
    "SPA": ("SPA", "encoder=spa"),
    "Theia": ("Theia", "encoder=theia"),
    "VIP": ("VIP", "encoder=vip"),
    "R3M": ("R3M", "encoder=r3m"),
    "ToBo": ("ToBo", "encoder=tobo"),
    "ViT": (
        "a ViT by timm's names, as VC-1, MVP and other masked autoencoders are published",
        "encoder=vc1, encoder=mvp or encoder=tobo",
    ),
    "ResNet": (
        "a ResNet by torchvision's names, without the prefix of R3M and VIP",
        "encoder=huggingface with a folder of a ResNet",
    ),
    "CLIP": ("CLIP, AVION or EgoDTM", "encoder=egodtm"),
    "TimeSformer": (
        "a TimeSformer of video and text",
        "encoder=lavila, encoder=egovlp or encoder=egovlpv2",
    ),
    "transformers": ("a model of transformers", "encoder=huggingface encoder.model=FOLDER"),
}
"""Kinds of files that names of tensors tell: what each is called, and what reads it."""

_BEGINNINGS = (
    ("patch2embed.", "Voltron"),
    ("model.img_backbone.", "SPA"),
    ("backbone.model.", "Theia"),
    ("convnet.fc.", "VIP"),
    ("convnet.", "R3M"),
    ("decoder_embed_mae.", "ToBo"),
    ("patch_embed.proj.", "ViT"),
    ("visual.blocks.", "TimeSformer"),
    ("video_model.", "TimeSformer"),
    ("backbone.visual.", "CLIP"),
    ("visual.", "CLIP"),
    ("embeddings.", "transformers"),
    ("vision_model.", "transformers"),
    ("vit.", "transformers"),
    ("layer1.0.", "ResNet"),
)
"""What begins a name that tells the kind; the first that any tensor has decides."""


def recognize(names: Iterable[str]) -> str | None:
    """The key of :data:`KINDS` that names of tensors tell; None for names of no known kind."""
    listed = list(names)
    for beginning, kind in _BEGINNINGS:
        if any(name.startswith(beginning) for name in listed):
            return kind
    return None


def image_model_file(model: ImageModel, checkpoint: str | None) -> Path:
    """The file of a family's weights.

    Raises:
        WeightsError: none is named, or there is none.
    """
    if checkpoint is None:
        raise WeightsError(
            f"Expected the file of {model.name}'s weights in encoder.checkpoint, got none. They "
            f"are not part of this package: fetch {model.files} as {model.source} says (license: "
            f"{model.license}), then set encoder.checkpoint=FILE."
        )
    return existing_file(Path(checkpoint).expanduser())


def read_image_model(model: ImageModel, checkpoint: str | None) -> dict[str, torch.Tensor]:
    """The encoder's tensors of a published file, in float32 and without their prefix.

    Args:
        model: whose file it should be.
        checkpoint: path; as published, or the same tensors as safetensors.

    Raises:
        WeightsError: no file is named, or it cannot be read.
        CheckpointMismatchError: it is another model's.
    """
    tensors = {
        name.removeprefix("module."): tensor
        for name, tensor in read_tensors(image_model_file(model, checkpoint)).items()
    }
    kind = recognize(tensors)
    if kind not in model.kinds:
        held, advice = (
            (f"names such as {', '.join(list(tensors)[:3])}", f"a file of {model.source}")
            if kind is None
            else KINDS[kind]
        )
        raise CheckpointMismatchError(
            f"Expected {checkpoint} to hold {model.name} ({model.files}), got {held}. Use {advice}."
        )
    return {
        name.removeprefix(model.prefix): tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
        if not re.search(model.left_out, name)
    }


@contextmanager
def telling_sizes(checkpoint: str) -> Iterator[None]:
    """A block that reads sizes from a file's tensors; what it misses becomes one error.

    Args:
        checkpoint: where the tensors come from.

    Raises:
        CheckpointMismatchError: the block found a tensor missing or of another shape.
    """
    try:
        yield
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise CheckpointMismatchError(
            f"Expected {checkpoint} to hold all tensors of the model; one that tells its size is "
            f"missing or of another shape ({type(error).__name__}: {error})."
        ) from error


def filled(
    make: Callable[[], ModuleT], tensors: Mapping[str, torch.Tensor], checkpoint: str
) -> ModuleT:
    """A network that holds a file's tensors themselves.

    Args:
        make: makes the network, with sizes that the tensors tell.
        tensors: by the network's names.
        checkpoint: where they come from.

    Raises:
        CheckpointMismatchError: lists tensors that are missing, unexpected or of another shape.
    """
    with telling_sizes(checkpoint), torch.device("meta"):
        network = make()
    load_matching(network, tensors, checkpoint, assign=True)
    return network
