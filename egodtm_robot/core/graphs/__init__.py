"""Networks as files for other runtimes: ONNX and ``torch.export``, checked against the original."""

from egodtm_robot.core.graphs.graph import Graph, GraphExportError, check_image_size
from egodtm_robot.core.graphs.parity import PARITY_LIMIT, Parity
from egodtm_robot.core.graphs.writing import (
    OPSET,
    SUFFIXES,
    GraphFormat,
    check_free_output,
    read_metadata,
    write_graph,
)

__all__ = [
    "OPSET",
    "PARITY_LIMIT",
    "SUFFIXES",
    "Graph",
    "GraphExportError",
    "GraphFormat",
    "Parity",
    "check_free_output",
    "check_image_size",
    "read_metadata",
    "write_graph",
]
