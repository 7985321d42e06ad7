"""What docs/sources.md says holds."""

import re
from pathlib import Path

from pretrain.clips.sources.base import ClipRequest
from pretrain.clips.sources.folder import FolderSource
from pretrain.clips.sources.registry import source_names

PAGE = Path(__file__).parents[4] / "docs" / "sources.md"


def test_the_page_names_every_source():
    text = PAGE.read_text()
    for name in source_names():
        assert f"| `{name}` |" in text


def test_the_example_of_a_table_is_read(tmp_path):
    (table,) = re.findall(r"```\n(video,.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (tmp_path / "clips.csv").write_text(table)
    requests = list(FolderSource(str(tmp_path)).read())
    assert len(requests) == 4
    assert all(isinstance(request, ClipRequest) for request in requests)
