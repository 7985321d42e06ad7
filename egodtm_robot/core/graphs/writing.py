"""Writing a network as ONNX or as an exported program of torch, and reading what a file says."""

import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from egodtm_robot.core.errors import EgoDTMRobotError, MissingPackageError, OutputPathError
from egodtm_robot.core.graphs import distances, resizing
from egodtm_robot.core.graphs.graph import Graph, GraphExportError
from egodtm_robot.core.graphs.parity import Parity, compare
from egodtm_robot.core.storage.atomic_files import write_atomically

GraphFormat = Literal["onnx", "torch_export"]
"""``onnx`` runs with onnxruntime, without torch and without this package; ``torch_export`` is a
program that ``torch.export.load`` reads."""

SUFFIXES: dict[GraphFormat, str] = {"onnx": ".onnx", "torch_export": ".pt2"}

OPSET = 18
"""Version of the operators of ONNX, the one that the exporter of torch writes by itself."""

METADATA = "egodtm_robot"
"""Key of the metadata in the file."""

_LARGEST_ONNX = 2 * 2**30 - 2**20
"""Bytes: Protocol Buffers hold two GiB."""


def check_free_output(path: Path, format: GraphFormat) -> None:
    """Refuse a path that has the wrong suffix or is taken, before anything is computed.

    Raises:
        OutputPathError: it has, or is.
    """
    if path.suffix != SUFFIXES[format]:
        raise OutputPathError(
            f"Expected out to end in {SUFFIXES[format]} with format={format}, got {path}."
        )
    if path.exists():
        raise OutputPathError(
            f"Expected a free path for a new file, but {path} exists. Choose another out, or "
            "remove it: a robot may be running it."
        )


def write_graph(graph: Graph, path: Path, format: GraphFormat) -> Parity:
    """Write a network, compare what was written with the original, and give it its name.

    Args:
        graph: what to write.
        path: of the file; it appears whole or not at all, and only if it matches.
        format: of the file.

    Returns:
        How well it matches.

    Raises:
        GraphExportError: it cannot be written, or the file differs from the original.
        OutputPathError: the path is taken or has another suffix.
        MissingPackageError: a package that the format needs is not installed.
    """
    check_free_output(path, format)
    program, rows = _exported(graph)
    metadata = {
        "format": 1,
        **graph.metadata,
        "inputs": {
            name: {"shape": [rows or "batch", *array.shape[1:]], "dtype": str(array.dtype)}
            for name, array in graph.sample(1, 0).items()
        },
        "output": graph.output,
        **({"opset": OPSET} if format == "onnx" else {"torch": torch.__version__}),
    }
    text = json.dumps(metadata, allow_nan=False)
    content = _onnx_bytes(graph, program, text) if format == "onnx" else _saved(program, text)
    run = _onnx_runner(graph, content) if format == "onnx" else _program_runner(content)
    parity = compare(graph, run, rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return parity


def read_metadata(path: Path) -> dict[str, Any]:
    """What a file of :func:`write_graph` says of itself.

    Raises:
        GraphExportError: it is no such file.
    """
    try:
        if path.suffix == SUFFIXES["onnx"]:
            session = _onnxruntime().InferenceSession(str(path))
            text = session.get_modelmeta().custom_metadata_map[METADATA]
        else:
            files = {METADATA: ""}
            torch.export.load(path, extra_files=files)
            text = files[METADATA]
        found: dict[str, Any] = json.loads(text)
    except MissingPackageError:
        raise
    except Exception as error:  # both runtimes raise several types for a foreign file
        raise GraphExportError(
            f"Expected a file that egodtm_robot.export wrote at {path}, could not read one: "
            f"{_first_line(error)}"
        ) from error
    return found


def _exported(graph: Graph) -> tuple[torch.export.ExportedProgram, int | None]:
    """The recorded operations, and the number of rows where it had to be fixed."""
    module = graph.module.eval().requires_grad_(False)
    try:
        # Two rows: the exporter takes an axis of one for a constant.
        return _recorded(graph, module, 2, torch.export.Dim("batch")), None
    except EgoDTMRobotError:
        raise  # the network says by itself why it cannot be written
    except Exception as error:  # anything that its Python code does can fail here
        try:
            # Python's len() of a batch, for one, makes the number of rows a constant. A robot has
            # one row.
            return _recorded(graph, module, 1, None), 1
        except Exception:
            raise GraphExportError(
                f"Expected {graph.name} to consist of torch operations that can be recorded, but "
                f"torch.export refused it: {_cause(error)} Its forward must not depend on values "
                "or call numpy."
            ) from error


def _recorded(
    graph: Graph, module: nn.Module, rows: int, batch: Any
) -> torch.export.ExportedProgram:
    inputs = tuple(torch.from_numpy(array.copy()) for array in graph.sample(rows, 0).values())
    shapes = None if batch is None else {"inputs": tuple({0: batch} for _ in inputs)}
    with torch.no_grad(), _quiet():
        return torch.export.export(module, inputs, dynamic_shapes=shapes, strict=False)


def _onnx_bytes(graph: Graph, program: torch.export.ExportedProgram, text: str) -> bytes:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "format=onnx needs the packages onnx and onnxscript; install them with "
            "pip install 'egodtm-robot[export]', or choose format=torch_export."
        ) from error
    try:
        with torch.no_grad(), _quiet():
            written = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(graph.sample(1, 0)),
                output_names=[graph.output],
                custom_translation_table=resizing.translations() | distances.translations(),
                verbose=False,
            )
    except Exception as error:  # the exporter wraps whatever an operator's translation raises
        raise GraphExportError(
            f"Expected {graph.name} to consist of operations that ONNX has, but the exporter "
            f"refused it: {_cause(error)} Try format=torch_export."
        ) from error
    assert written is not None
    model = written.model
    for node in model.graph.all_nodes():
        # Lines of source code with paths of this machine.
        node.metadata_props.clear()
        node.doc_string = None
    model.metadata_props[METADATA] = text
    proto = written.model_proto
    if proto.ByteSize() > _LARGEST_ONNX:
        raise GraphExportError(
            f"Expected at most two GiB for one ONNX file, {graph.name} takes {proto.ByteSize()} "
            "bytes. Choose format=torch_export."
        )
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _saved(program: torch.export.ExportedProgram, text: str) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={METADATA: text})
    return buffer.getvalue()


def _onnx_runner(graph: Graph, content: bytes) -> Any:
    options = _onnxruntime().SessionOptions()
    options.log_severity_level = 3
    try:
        session = _onnxruntime().InferenceSession(content, options)
    except MissingPackageError:
        raise
    except Exception as error:  # onnxruntime's errors share no base class
        raise GraphExportError(
            f"Expected {graph.name} to consist of operations that onnxruntime has, but it refused "
            f"the file: {_first_line(error)} Try format=torch_export."
        ) from error

    def run(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        known = {one.name for one in session.get_inputs()}
        found: np.ndarray = session.run(
            [graph.output], {name: array for name, array in inputs.items() if name in known}
        )[0]
        return found

    return run


def _program_runner(content: bytes) -> Any:
    module = torch.export.load(io.BytesIO(content)).module()

    def run(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = module(*map(torch.from_numpy, inputs.values())).numpy()
        return found

    return run


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError(
            "Files of ONNX are checked with the package onnxruntime; install it with "
            "pip install 'egodtm-robot[export]'."
        ) from error
    return onnxruntime


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' remarks on their own workings from the user, whole programs included."""
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "torch"]
    loggers = [logging.getLogger(name) for name in names]
    levels = [(one, one.level) for one in loggers]
    for one, _ in levels:
        one.setLevel(logging.CRITICAL)
    unseen = io.StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(unseen), redirect_stderr(unseen):
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in levels:
            one.setLevel(level)


def _cause(error: BaseException) -> str:
    """What lies at the bottom of errors that wrap one another."""
    while error.__cause__ is not None:
        error = error.__cause__
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300].rstrip('.') if lines else 'no message'}."
