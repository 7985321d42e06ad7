"""The floors of the house: who may import whom (docs/architecture.md)."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("configs", "egodtm_robot", "envs", "policies", "pretrain")
FILES = {
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__"): (
        path
    )
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def imports(name: str) -> Iterator[str]:
    """Full names of what a module imports, wherever in it."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{name} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in FILES else node.module


def is_command(name: str) -> bool:
    """Whether ``python -m name`` is a command: it runs its main function."""
    return any(
        isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
        for node in TREES[name].body
    )


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize(
    ("floor", "forbidden"),
    [
        ("egodtm_robot.core", ("envs", "policies", "pretrain")),
        ("envs", ("policies", "pretrain", "torch")),
        ("policies", ("envs", "pretrain", "mujoco", "gymnasium")),
        ("pretrain", ("envs", "policies", "gymnasium")),
    ],
)
def test_a_floor_imports_only_from_those_below_it(floor: str, forbidden: tuple[str, ...]) -> None:
    found = {
        f"{name} imports {other}"
        for name in FILES
        if within(name, floor)
        for other in imports(name)
        if within(other, *forbidden)
        or (
            within(other, "egodtm_robot")
            and not within(other, "egodtm_robot.core")
            and other != "egodtm_robot"
        )
    }
    assert not found


def test_nothing_imports_a_command() -> None:
    found = {
        f"{name} imports {other}"
        for name in FILES
        for other in imports(name)
        if other in FILES and is_command(other)
    }
    assert not found


def test_every_import_is_declared_and_every_dependency_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {_distribution(line) for line in project["dependencies"]}
    optional = {
        _distribution(line)
        for extra, lines in project["optional-dependencies"].items()
        if extra not in ("dev", "docs")
        for line in lines
    }
    tops = {other.partition(".")[0] for name in FILES for other in imports(name)}
    tops -= sys.stdlib_module_names | set(PACKAGES) | OTHERWISE_INSTALLED
    installed = importlib.metadata.packages_distributions()
    # A package of an extra that is not installed is taken to be called as its module.
    providers = {top: {_normal(name) for name in installed.get(top, [top])} for top in tops}
    undeclared = {top for top, names in providers.items() if not names & (required | optional)}
    assert not undeclared
    unused = required - set().union(*providers.values()) - WITHOUT_IMPORT.keys()
    assert not unused


OTHERWISE_INSTALLED = {"metaworld"}
"""Optional packages that cannot stand in pyproject.toml, because they pin versions that are not the
tested ones; their pages say how to install them."""

WITHOUT_IMPORT = {
    "gymnasium-robotics": "its kitchen's XML and meshes are read as files",
    "imageio-ffmpeg": "imageio writes films with it",
}
"""Dependencies that are used, though no module of them is imported."""


def _distribution(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match is not None
    return _normal(match[0])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


SIMULATORS = {"metaworld", "robohive"}
"""Packages whose environments stand in a folder of ``envs`` that bears their name."""


def test_no_module_has_the_name_of_another_package_or_nearly_that_of_a_neighbor() -> None:
    found = []
    installed = importlib.metadata.packages_distributions().keys()
    for name in FILES:
        parent, _, last = name.rpartition(".")
        if parent and (last in sys.stdlib_module_names or last in installed - SIMULATORS):
            found.append(f"{name} has the name of a package")
        neighbors = [other for other in FILES if other.rpartition(".")[0] == parent]
        found += [f"{name} and {other}" for other in neighbors if other == f"{name}s"]
    assert not found


def test_documented_arguments_are_those_of_the_signature() -> None:
    """Every argument that a docstring lists exists, and a list leaves none out."""
    found = []
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            documented = _documented_arguments(ast.get_docstring(node) or "")
            function = _signature(node)
            if not documented or function is None:
                continue
            arguments = function.args
            parameters = {
                argument.arg
                for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
            } - {"self", "cls"}
            starred = {a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None}
            if documented - starred != parameters:
                odd = sorted((documented - starred) ^ parameters)
                found.append(f"{name}.{node.name}: {', '.join(odd)}")
    assert not found


def test_documented_defaults_are_those_of_the_signature() -> None:
    """What a docstring says happens by default has a default, and a value that it names is it."""
    found = []
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            function = _signature(node)
            if function is None:
                continue
            defaults = _defaults(function)
            for argument, text in _argument_texts(ast.get_docstring(node) or "").items():
                said = re.search(r"\b(?:by default|[Dd]efaults? to)\b(?: ``?([\w.+-]+)``?)?", text)
                if said is None:
                    continue
                place = f"{name}.{node.name}: {argument}"
                if argument not in defaults:
                    found.append(f"{place} has no default")
                elif said[1] is not None and said[1] not in ("None", defaults[argument]):
                    found.append(f"{place} is {defaults[argument]} by default, not {said[1]}")
    assert not found


def _defaults(function: ast.FunctionDef) -> dict[str, str]:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    without = len(positional) - len(arguments.defaults)
    pairs = [
        *zip(positional[without:], arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    return {a.arg: ast.unparse(value).strip("'") for a, value in pairs if value is not None}


def _argument_texts(docstring: str) -> dict[str, str]:
    """What is said of each argument that a docstring lists by itself."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", docstring, re.MULTILINE)
    entries = re.split(r"^ {4}(?=\w)", section[1], flags=re.MULTILINE) if section else []
    pairs = (entry.partition(":")[::2] for entry in entries)
    return {head: " ".join(text.split()) for head, text in pairs if head.isidentifier()}


def _documented_arguments(docstring: str) -> set[str]:
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", docstring, re.MULTILINE)
    if section is None:
        return set()
    entry = r"^ {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \([^)]*\))?:"
    names = re.findall(entry, section[1], re.MULTILINE)
    return {name.strip(" *") for group in names for name in group.split(",")}


def _signature(node: ast.FunctionDef | ast.ClassDef) -> ast.FunctionDef | None:
    if isinstance(node, ast.FunctionDef):
        return node
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and child.name == "__init__":
            return child
    return None


def test_every_public_function_has_a_caller_or_is_named_in_the_documentation() -> None:
    """What neither the product nor a reader of its documentation can reach is dead."""
    texts = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}
    programs = (*ROOT.glob("benchmarks/*.py"), *ROOT.glob("docs/**/*.py"))
    used = re.findall(
        r"\w+", "\n".join([*texts.values(), *(path.read_text() for path in programs)])
    )
    counts: dict[str, int] = {}
    for word in used:
        counts[word] = counts.get(word, 0) + 1
    pages = "\n".join(
        path.read_text(encoding="utf-8")
        for pattern in ("docs/**/*.md", "configs/**/*.yaml", "README.md")
        for path in ROOT.glob(pattern)
    )
    documented = set(re.findall(r"\w+", pages))
    found = []
    for name, tree in TREES.items():
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            if counts[node.name] == 1 and node.name not in documented and node.name[0] != "_":
                found.append(f"{name}.{node.name}")
            if isinstance(node, ast.ClassDef) and node.name[0] != "_":
                found += [
                    f"{name}.{node.name}.{method.name}"
                    for method in node.body
                    if isinstance(method, ast.FunctionDef)
                    and counts[method.name] == 1
                    and method.name not in documented
                    and not method.name.startswith("_")
                ]
    assert not found
