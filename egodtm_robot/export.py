"""Writes a policy with its encoder as one file: ``python -m egodtm_robot.export checkpoint=...``.

The file maps a robot's images and joints to its actions. It is compared with the original before it
gets its name. An encoder alone is written with ``encoder=NAME`` in place of ``checkpoint``.
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from egodtm_robot.core.configuration import OutputFile, command
from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.graphs import (
    Graph,
    GraphFormat,
    Parity,
    check_free_output,
    check_image_size,
    write_graph,
)
from egodtm_robot.core.storage import format_bytes
from egodtm_robot.deployment.encoder_graph import encoder_graph
from egodtm_robot.deployment.policy_graph import policy_graph
from egodtm_robot.deployment.trained_policy import load_trained_policy
from egodtm_robot.encoders import make_encoder


@dataclass
class ExportPolicyConfig:
    """What to write, and where to."""

    out: OutputFile = "???"
    """Path of the file, ending in ``.onnx`` or, with ``format=torch_export``, in ``.pt2``; it must
    be free."""

    checkpoint: str | None = None
    """A run's folder (its chosen checkpoint) or a checkpoint's own folder."""

    encoder: dict[str, Any] = field(default_factory=dict)
    """In place of ``checkpoint``: an encoder that is written alone; a name of ``configs/encoder``
    or an import path in ``_target_``."""

    image_size: list[int] = field(default_factory=lambda: [112, 112])
    """With ``encoder``: height and width of the images that it will be given, pixels. A policy's
    are those that it was trained on."""

    format: GraphFormat = "onnx"
    """``onnx`` for onnxruntime, which needs neither torch nor this package; ``torch_export`` for
    ``torch.export.load``."""

    def __post_init__(self) -> None:
        """Refuse a choice of nothing or of two things, and sizes that no image has.

        Raises:
            ConfigurationError: it is one of these.
        """
        if (self.checkpoint is None) == (not self.encoder):
            raise ConfigurationError(
                "Expected either checkpoint=RUN for a policy with its encoder, or encoder=NAME "
                f"for an encoder alone, got {'neither' if self.checkpoint is None else 'both'}."
            )
        check_image_size(self.image_size)


def export(config: ExportPolicyConfig) -> Parity:
    """Write the file.

    Returns:
        How well it matches the original.

    Raises:
        OutputPathError: the path is taken or has another suffix.
        GraphExportError: the network cannot be written, or the file differs from it.
        EgoDTMRobotError: see the parts.
    """
    out = Path(config.out)
    check_free_output(out, config.format)
    return write_graph(_graph(config), out, config.format)


def _graph(config: ExportPolicyConfig) -> Graph:
    if config.checkpoint is None:
        height, width = config.image_size
        return encoder_graph(make_encoder(config.encoder), (height, width))
    trained = load_trained_policy(Path(config.checkpoint))
    record = {
        name: trained.provenance[name] for name in ("dataset_fingerprint", "step", "versions")
    }
    return policy_graph(trained.policy, trained.pipeline, trained.robot, record)


@command(ExportPolicyConfig, "export_policy")
def main(config: ExportPolicyConfig) -> None:
    """Exports, and says how large the file is and how well it matches."""
    parity = export(config)
    path = Path(config.out)
    print(f"{path} ({format_bytes(path.stat().st_size)}), compared with the original: {parity}")


if __name__ == "__main__":
    main()
