"""What tells published models apart: weights that are not loaded, and tokenizers."""

import hashlib
from pathlib import Path
from typing import Any

from egodtm_robot.core.fingerprints import hash_parts

_SAMPLED_BYTES = 2**20


def folder_identity(model: str, gguf_file: str | None, revision: str | None) -> list[Any]:
    """What tells a model's weights apart, without reading all of them.

    Of a folder: name, size and the first and last MB of each file; of a hub id: id and revision.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return [model, gguf_file, revision]
    found: list[Any] = [gguf_file]
    for path in sorted(folder.rglob(gguf_file or "*")):
        if not path.is_file():
            continue
        digest = hashlib.sha256()
        size = path.stat().st_size
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLED_BYTES))
            if size > _SAMPLED_BYTES:
                file.seek(max(_SAMPLED_BYTES, size - _SAMPLED_BYTES))
                digest.update(file.read())
        found.append([str(path.relative_to(folder)), size, digest.hexdigest()])
    return found


def tokenizer_identity(tokenizer: Any) -> list[Any]:
    """What tells a tokenizer of transformers apart: its class, and its tokens with their ids."""
    return [type(tokenizer).__name__, hash_parts(tokenizer.get_vocab())]
