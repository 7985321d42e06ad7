"""What the pages on sources and on a user's own video say holds."""

import re
from pathlib import Path

import pytest

from pretrain.clips.sources.base import ClipRequest
from pretrain.clips.sources.folder import FolderSource
from pretrain.clips.sources.registry import source_names

DOCS = Path(__file__).parents[4] / "docs"


def test_the_reference_names_every_source():
    text = (DOCS / "reference" / "sources.md").read_text()
    for name in source_names():
        assert f"| `{name}` |" in text


@pytest.mark.parametrize("page", ["reference/sources.md", "guide/video.md"])
def test_the_example_of_a_table_is_read(page, tmp_path):
    (table,) = re.findall(r"```\n(video,.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)
    (tmp_path / "clips.csv").write_text(table)
    requests = list(FolderSource(str(tmp_path)).read())
    assert len(requests) == 4
    assert all(isinstance(request, ClipRequest) for request in requests)
