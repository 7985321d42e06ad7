"""Read dataclasses and constructors from source code, without importing it.

A field's docstring is in no object at run time, and the modules that hold configurations import
PyTorch and MuJoCo, which ``--help`` need not wait for. Names are followed through imports, as far
as the files lie in packages that are installed; nothing is executed.
"""

import ast
import functools
import importlib.util
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from egodtm_robot.core.configuration.constraints import Bounds, OutputPath

_CONSTRAINTS: dict[str, Any] = {"Bounds": Bounds, "OutputPath": OutputPath}
_PLAIN_TYPES = {"str", "int", "float", "bool"}
_LISTS = {"list", "List", "Sequence", "tuple"}
_MAPPINGS = {"dict", "Dict", "Mapping"}


@dataclass(frozen=True)
class TypeHint:
    """What an annotation says."""

    text: str
    """In words, such as ``list of str or null``."""

    choices: tuple[str, ...] = ()
    """The values of a ``Literal``."""

    constraint: str = ""
    """What a value must satisfy, such as ``at least 1``."""

    dataclass: "SourceClass | None" = None
    """The dataclass that it names."""


@dataclass(frozen=True)
class Parameter:
    """A field of a dataclass, or an argument of a constructor."""

    name: str
    """As it is written in a configuration."""

    hint: TypeHint
    """Its type."""

    default: Any
    """A literal, nested dictionaries for a dataclass, or ``???`` for none; the expression as it is
    written where it is more than a literal."""

    meaning: str
    """Its docstring as one paragraph; empty where there is none."""


@dataclass(frozen=True)
class SourceClass:
    """A class, or a function that makes an object, as its source says."""

    module: "SourceModule"
    node: ast.ClassDef | ast.FunctionDef

    @property
    def summary(self) -> str:
        """The first paragraph of its docstring."""
        return paragraph((ast.get_docstring(self.node) or "").split("\n\n")[0])

    @property
    def is_dataclass(self) -> bool:
        """Whether it bears the decorator."""
        return any("dataclass" in ast.unparse(one) for one in self.node.decorator_list)

    def decorators(self, name: str) -> Iterator[list[Any]]:
        """The arguments of decorators of a name: names as they are written, literals as values."""
        for decorator in self.node.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == name:
                yield [
                    one.value if isinstance(one, ast.Constant) else ast.unparse(one)
                    for one in decorator.args
                ]

    def parameters(self) -> list[Parameter]:
        """The fields of a dataclass, those of its bases first, or the arguments to call it with."""
        if isinstance(self.node, ast.ClassDef) and self.is_dataclass:
            return list({one.name: one for one in self._fields()}.values())
        return self._arguments()

    def defaults(self) -> dict[str, Any]:
        """The default of each parameter by its name."""
        return {one.name: one.default for one in self.parameters()}

    def _bases(self) -> Iterator["SourceClass"]:
        if isinstance(self.node, ast.ClassDef):
            for base in self.node.bases:
                found = self.module.find(ast.unparse(base))
                if isinstance(found, SourceClass):
                    yield found

    def _fields(self) -> Iterator[Parameter]:
        for base in self._bases():
            yield from base._fields()
        body = self.node.body
        for statement, after in zip(body, [*body[1:], None], strict=True):
            if not isinstance(statement, ast.AnnAssign) or not isinstance(
                statement.target, ast.Name
            ):
                continue
            if ast.unparse(statement.annotation).startswith(("ClassVar", "typing.ClassVar")):
                continue  # what a dataclass takes for no field
            meaning = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                meaning = paragraph(str(after.value.value))
            hint = self.module.hint(statement.annotation)
            default = "???"
            if statement.value is not None:
                default = self.module.value(statement.value)
            yield Parameter(statement.target.id, hint, default, meaning)

    def configuration(self) -> "SourceClass | None":
        """The dataclass that the class attribute ``config_class`` names, its own or inherited."""
        for statement in self.node.body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
                targets = (
                    statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                )
                if any(ast.unparse(target) == "config_class" for target in targets):
                    found = self.module.find(ast.unparse(statement.value))
                    return found if isinstance(found, SourceClass) else None
        return next((found for base in self._bases() if (found := base.configuration())), None)

    def _arguments(self) -> list[Parameter]:
        """The arguments of the constructor, which the docstring of the class documents."""
        maker = self._maker()
        if maker is None:
            return []
        owner, function = maker
        documented = argument_meanings(ast.get_docstring(owner.node) or "")
        documented |= argument_meanings(ast.get_docstring(function) or "")
        positional = [*function.args.posonlyargs, *function.args.args]
        lacking: list[ast.expr | None] = [None] * (len(positional) - len(function.args.defaults))
        pairs = [
            *zip(positional, [*lacking, *function.args.defaults], strict=True),
            *zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True),
        ]
        found = []
        for argument, default in pairs:
            if argument.arg == "self":
                continue
            annotation = argument.annotation
            hint = TypeHint("any") if annotation is None else owner.module.hint(annotation)
            value = "???" if default is None else owner.module.value(default)
            meaning = documented.get(argument.arg, "")
            found.append(Parameter(argument.arg, hint, value, meaning))
        return found

    def _maker(self) -> tuple["SourceClass", ast.FunctionDef] | None:
        if isinstance(self.node, ast.FunctionDef):
            return self, self.node
        for statement in self.node.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                return self, statement
        return next((maker for base in self._bases() if (maker := base._maker())), None)


class SourceModule:
    """A module's definitions and imports; made by :func:`read_module`."""

    def __init__(self, path: Path, package: str) -> None:
        self.path = path
        self.package = package
        tree = ast.parse(path.read_text(encoding="utf-8"))
        self.docstring = ast.get_docstring(tree) or ""
        self._imports: dict[str, tuple[str, str]] = {}
        self._definitions: dict[str, ast.ClassDef | ast.FunctionDef | ast.expr] = {}
        for statement in tree.body:
            self._read(statement)

    def classes(self) -> Iterator[SourceClass]:
        """Classes and functions that the module defines."""
        for node in self._definitions.values():
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                yield SourceClass(self, node)

    def find(self, name: str) -> "SourceClass | tuple[SourceModule, ast.expr] | None":
        """What a name of this module stands for: a class or function, or an expression."""
        node = self._definitions.get(name)
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            return SourceClass(self, node)
        if node is not None:
            return self, node
        if name not in self._imports:
            return None
        module_name, original = self._imports[name]
        module = find_module(module_name)
        return None if module is None else module.find(original)

    def hint(self, node: ast.expr) -> TypeHint:
        """Read an annotation."""
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                return self.hint(ast.parse(node.value, mode="eval").body)
            return TypeHint("null")
        if isinstance(node, ast.BinOp):
            left, right = self.hint(node.left), self.hint(node.right)
            return TypeHint(
                f"{left.text} or {right.text}",
                left.choices or right.choices,
                left.constraint or right.constraint,
                left.dataclass or right.dataclass,
            )
        if isinstance(node, ast.Subscript):
            return self._subscript(node)
        name = ast.unparse(node)
        if name in _PLAIN_TYPES:
            return TypeHint(name)
        if name in _LISTS | _MAPPINGS | {"Any"}:
            return TypeHint({"Any": "any"}.get(name, "mapping" if name in _MAPPINGS else "list"))
        found = self.find(name)
        if isinstance(found, SourceClass):
            return TypeHint("settings", dataclass=found) if found.is_dataclass else TypeHint(name)
        if found is not None:
            module, expression = found
            return module.hint(expression)
        return TypeHint(name)

    def value(self, node: ast.expr) -> Any:
        """Evaluate a default: a literal, a named constant, or the defaults of a dataclass.

        Anything else is its source text.
        """
        try:
            return ast.literal_eval(node)
        except ValueError:
            pass
        if isinstance(node, ast.Name):
            found = self.find(node.id)
            if found is not None and not isinstance(found, SourceClass):
                module, expression = found
                return module.value(expression)
        if isinstance(node, ast.List | ast.Tuple) and not _starred(node):
            return [self.value(item) for item in node.elts]
        if isinstance(node, ast.Call):
            return self._called(node)
        return ast.unparse(node)

    def _read(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef):
            self._definitions[statement.name] = statement
        elif isinstance(statement, ast.ImportFrom):
            module = self._absolute(statement)
            for alias in statement.names:
                self._imports[alias.asname or alias.name] = (module, alias.name)
        elif isinstance(statement, ast.AnnAssign | ast.Assign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    self._definitions[target.id] = statement.value

    def _absolute(self, statement: ast.ImportFrom) -> str:
        if not statement.level:
            return statement.module or ""
        parts = self.package.split(".")[: -(statement.level - 1) or None]
        return ".".join([*parts, *([statement.module] if statement.module else [])])

    def _subscript(self, node: ast.Subscript) -> TypeHint:
        name = ast.unparse(node.value).rpartition(".")[2]
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "Literal":
            choices: list[str] = []
            kinds: dict[str, None] = {}
            for choice in inner:
                # A choice may be the name of another Literal, whose choices it stands for.
                hint = self.hint(choice) if isinstance(choice, ast.Name) else None
                value = self.value(choice)
                choices += [str(value)] if hint is None else hint.choices
                kinds[type(value).__name__ if hint is None else hint.text] = None
            return TypeHint(" or ".join(kinds), tuple(choices))
        if name == "Annotated":
            hint = self.hint(inner[0])
            return TypeHint(hint.text, hint.choices, self._constraint(inner[1:]), hint.dataclass)
        if name == "Optional":
            hint = self.hint(inner[0])
            return TypeHint(f"{hint.text} or null", hint.choices, hint.constraint, hint.dataclass)
        if name in _LISTS:
            hint = self.hint(inner[0])
            text = "list" if hint.text == "any" else f"list of {hint.text}"
            return TypeHint(text, hint.choices, hint.constraint)
        if name in _MAPPINGS:
            hint = self.hint(inner[-1])
            return TypeHint("mapping" if hint.text == "any" else f"mapping to {hint.text}")
        return TypeHint(ast.unparse(node))

    def _constraint(self, annotations: list[ast.expr]) -> str:
        """The text of a constraint of this package; one of another is not known here."""
        for node in annotations:
            if isinstance(node, ast.Call):
                made = _CONSTRAINTS.get(ast.unparse(node.func).rpartition(".")[2])
                if made is not None:
                    named = {str(one.arg): ast.literal_eval(one.value) for one in node.keywords}
                    return str(made(*map(ast.literal_eval, node.args), **named))
        return ""

    def _called(self, node: ast.Call) -> Any:
        """The value of ``field(...)``, or of a dataclass that is made with some arguments."""
        name = ast.unparse(node.func).rpartition(".")[2]
        keywords = {one.arg: one.value for one in node.keywords if one.arg is not None}
        if name == "field":
            if "default" in keywords:
                return self.value(keywords["default"])
            if "default_factory" in keywords:
                return self._made(keywords["default_factory"])
            return "???"
        if name in ("dict", "list") and len(node.args) == 1 and not keywords:
            return self.value(node.args[0])
        found = self.find(name)
        if isinstance(found, SourceClass) and found.is_dataclass and not node.args:
            given = {key: self.value(value) for key, value in keywords.items()}
            return {**found.defaults(), **given}
        return ast.unparse(node)

    def _made(self, factory: ast.expr) -> Any:
        if isinstance(factory, ast.Lambda):
            return self.value(factory.body)
        name = ast.unparse(factory)
        if name in ("list", "dict"):
            return [] if name == "list" else {}
        return self.value(ast.Call(factory, [], []))


def paragraph(text: str) -> str:
    """A docstring's text on one line."""
    return " ".join(text.split())


def argument_meanings(docstring: str) -> dict[str, str]:
    """What the ``Args:`` section of a docstring says of each argument."""
    meanings: dict[str, str] = {}
    section, name = False, ""
    for line in inspect.cleandoc(docstring).splitlines():
        if re.fullmatch(r"\w[\w ]*:", line):
            section = line == "Args:"
        elif section and (begun := re.match(r" {4}\*{0,2}(\w+)(?: \([^)]*\))?: (.*)", line)):
            name = begun.group(1)
            meanings[name] = begun.group(2).strip()
        elif section and name and line.strip():
            meanings[name] += " " + line.strip()
    return meanings


def find_class(import_path: str) -> SourceClass | None:
    """The class or function that ``package.module.Class`` names; None if there is no source."""
    module_name, _, name = import_path.rpartition(".")
    module = find_module(module_name)
    found = None if module is None else module.find(name)
    return found if isinstance(found, SourceClass) else None


def find_module(name: str) -> SourceModule | None:
    """The source of a module by its import path; None if there is none."""
    top, *rest = name.split(".")
    try:
        # The top package alone: to find a module below it, Python would import the package.
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        path = Path(spec.origin or "")
        return read_module(path, top) if path.suffix == ".py" else None
    for folder in spec.submodule_search_locations or ():
        base = Path(folder, *rest)
        if base.with_suffix(".py").is_file():
            return read_module(base.with_suffix(".py"), name.rpartition(".")[0])
        if (base / "__init__.py").is_file():
            return read_module(base / "__init__.py", name)
    return None


@functools.cache
def read_module(path: Path, package: str) -> SourceModule:
    """Read a file's source.

    Args:
        path: the file.
        package: the import path that its relative imports start from.
    """
    return SourceModule(path, package)


def _starred(node: ast.List | ast.Tuple) -> bool:
    return any(isinstance(item, ast.Starred) for item in node.elts)
