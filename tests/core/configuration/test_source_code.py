import textwrap

import pytest

from egodtm_robot.core.configuration.source_code import argument_meanings, read_module

SOURCE = '''
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from egodtm_robot.core.configuration import Bounds, OutputFolder, PositiveInt

Look = Literal["fixed", "varied"]
STEPS = 10


@dataclass
class Base:
    """What all have."""

    seed: int = 0
    """Decides
    everything."""


@dataclass
class Config(Base):
    kind: ClassVar[str] = "config"
    look: Look | None = None
    """How it looks."""

    stages: list[Literal["decode", Look]] = field(default_factory=lambda: ["decode"])
    """Which stages."""

    steps: PositiveInt = STEPS
    share: Annotated[float, Bounds(0, 1)] = -0.5
    out: OutputFolder | None = "runs"
    base: Base = field(default_factory=lambda: Base(seed=3))
    options: dict[str, Any] = field(default_factory=dict)
    needed: str = "???"
    computed: int = len("abc")


class Encoder:
    """Encodes.

    Args:
        size: side of the picture,
            pixels.
        kind: which one.

    Attributes:
        size: not this one.
    """

    def __init__(self, size: int = 16, *, kind: Look = "fixed") -> None:
        raise RuntimeError("must not be executed")


class Policy(Encoder):
    config_class = Config


raise RuntimeError("must not be executed")
'''


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "settings.py"
    path.write_text(textwrap.dedent(SOURCE))
    return read_module(path, "")


def test_fields_have_types_choices_constraints_defaults_and_meanings(module):
    found = {one.name: one for one in module.find("Config").parameters()}
    assert list(found)[:2] == ["seed", "look"]
    assert found["seed"].meaning == "Decides everything."
    assert (found["look"].hint.text, found["look"].hint.choices) == (
        "str or null",
        ("fixed", "varied"),
    )
    assert found["stages"].hint.text == "list of str"
    assert found["stages"].hint.choices == ("decode", "fixed", "varied")
    assert found["stages"].default == ["decode"]
    assert (found["steps"].default, found["steps"].hint.constraint) == (10, "at least 1")
    assert (found["share"].default, found["share"].hint.constraint) == (-0.5, "from 0 to 1")
    assert found["out"].hint.constraint == "path of a folder"
    assert found["base"].default == {"seed": 3}
    assert found["base"].hint.dataclass.summary == "What all have."
    assert found["options"].default == {}
    assert found["needed"].default == "???"
    assert found["computed"].default == "len('abc')"


def test_arguments_of_a_constructor_are_explained_by_its_class(module):
    size, kind = module.find("Encoder").parameters()
    assert (size.name, size.default, size.meaning) == ("size", 16, "side of the picture, pixels.")
    assert (kind.hint.choices, kind.meaning) == (("fixed", "varied"), "which one.")


def test_a_class_may_name_the_dataclass_of_its_options(module):
    assert module.find("Policy").configuration().node.name == "Config"
    assert module.find("Encoder").configuration() is None


def test_only_the_args_section_explains_arguments():
    found = argument_meanings("Do.\n\nArgs:\n    a: one.\n\nRaises:\n    ValueError: never.\n")
    assert found == {"a": "one."}
