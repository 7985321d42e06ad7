"""The hook of mkdocs that makes a reference page for each command from the code.

A page shows what ``python -m MODULE --help`` shows: the command's settings with type, default and
meaning, read from the docstrings of its configuration without importing the command.
"""

import ast
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
FOLDER = "reference/commands"


def commands() -> dict[str, str]:
    """The import path of each command by the name of its configuration, in alphabetical order."""
    found = {}
    for package in ("egodtm_robot", "pretrain"):
        for path in sorted((ROOT / package).rglob("*.py")):
            source = path.read_text()
            if "@command(" not in source:
                continue
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for node in ast.parse(source).body:
                name = _command_name(node)
                if name is not None:
                    found[name] = module.removesuffix(".__main__")
    return dict(sorted(found.items()))


def _command_name(node: ast.stmt) -> str | None:
    """The second argument of ``@command(Settings, "name")``, if ``node`` is decorated so."""
    for decorator in getattr(node, "decorator_list", ()):
        match decorator:
            case ast.Call(func=ast.Name("command"), args=[_, ast.Constant(str(name)), *_]):
                return name
    return None


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the commands' pages in place of their folder in the navigation."""
    pages = [{module: f"{FOLDER}/{name}.md"} for name, module in commands().items()]
    _replace(config.nav, pages)
    return config


def _replace(nav: Any, pages: list[dict[str, str]]) -> None:
    for entry in nav:
        for title, content in entry.items():
            if content == FOLDER:
                entry[title] = pages
            elif isinstance(content, list):
                _replace(content, pages)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for name, module in commands().items():
        files.append(
            File.generated(config, f"{FOLDER}/{name}.md", content=page(name, module))
        )
    return files


def page(name: str, module: str) -> str:
    """The Markdown of one command's page."""
    source = (ROOT / Path(*module.split("."))).with_suffix(".py").read_text()
    summary = ast.get_docstring(ast.parse(source)) or ""
    return f"# `python -m {module}`\n\n{summary.splitlines()[0]}\n"
