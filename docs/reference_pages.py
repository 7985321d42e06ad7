"""The hook of mkdocs that makes a reference page for each command from the code.

A page shows what ``python -m MODULE --help`` shows: the groups and settings of the command with
type, default and meaning, read from the source without importing the command.
"""

from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from egodtm_robot.core.configuration.reference import command_modules, reference_markdown

FOLDER = "reference/commands"
"""Where the pages go, and the entry of the navigation that they replace."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the commands' pages in place of their folder in the navigation."""
    pages = [{module: f"{FOLDER}/{name}.md"} for name, module in sorted(command_modules().items())]
    _replace(config.nav, pages)
    return config


def _replace(navigation: Any, pages: list[dict[str, str]]) -> None:
    for entry in navigation:
        for title, content in entry.items():
            if content == FOLDER:
                entry[title] = pages
            elif isinstance(content, list):
                _replace(content, pages)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for name in command_modules():
        content = reference_markdown(name)
        files.append(File.generated(config, f"{FOLDER}/{name}.md", content=content))
    return files
