import importlib
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from egodtm_robot.core.configuration.composition import composer
from egodtm_robot.core.configuration.reference import (
    command_modules,
    configuration_reference,
    reference_markdown,
    reference_text,
)
from egodtm_robot.core.configuration.schema import schema_of
from egodtm_robot.core.errors import UnknownNameError
from egodtm_robot.train_bc import TrainBCConfig

HEAVY = ("torch", "mujoco", "numpy", "transformers")


def setting(reference, key):
    (found,) = [one for one in reference.settings if one.key == key]
    return found


def test_a_command_has_its_own_groups_alone():
    reference = configuration_reference("train_bc")
    assert {group.name: group.chosen for group in reference.groups} == {
        "env": "franka_kitchen_microwave",
        "encoder": "egodtm_looks",
        "policy": "mlp",
        "protocol": "quick",
    }
    assert "pixels" in reference.groups[1].choices


def test_settings_have_the_values_of_the_files_that_are_chosen():
    reference = configuration_reference("train_bc", ["protocol=r3m", "seed=3"])
    assert setting(reference, "protocol.training.steps").default == "20000"
    assert setting(reference, "seed").default == "3"
    assert setting(reference, "seed").constraint == "from 0 to 9999"
    assert setting(reference, "protocol.training.schedule").choices == ("cosine", "constant")
    assert [group.chosen for group in reference.groups if group.name == "policy"] == ["mlp_mean"]


def test_options_of_the_chosen_class_are_explained():
    reference = configuration_reference("train_bc", ["encoder=pixels"])
    assert setting(reference, "encoder.size").meaning
    assert setting(reference, "encoder.size").type == "int"


def test_what_the_source_says_is_what_the_command_composes():
    with composer("train_bc", schema_of(TrainBCConfig)) as composing:
        (run,) = composing.runs([])
    reference = configuration_reference("train_bc")
    compared = 0
    for one in reference.settings:
        value = OmegaConf.select(run.composed, one.key)
        # An option that a file leaves to its class is in the reference alone.
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert float(one.default) == value, one.key
            compared += 1
    assert compared > 25


def test_a_group_that_one_must_choose_from_leaves_the_rest_to_be_shown():
    reference = configuration_reference("prepare")
    (source,) = [group for group in reference.groups if group.name == "source"]
    assert source.chosen == "???"
    assert setting(reference, "decoding.sampling").choices == ("central", "random")


def test_an_unknown_command_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'collect'"):
        configuration_reference("colect")


def test_the_text_keeps_to_the_width_where_words_allow_it():
    text = reference_text(configuration_reference("collect"), width=80)
    prose = [line for line in text.splitlines() if line.startswith("      ")]
    assert max(map(len, prose)) <= 80
    assert "Successful episodes that the store shall hold." in text
    assert "``" not in text


@pytest.mark.parametrize("name", command_modules())
def test_every_command_has_a_page_with_examples(name):
    page = reference_markdown(name)
    assert page.startswith(f"# `python -m {command_modules()[name]}`")
    assert "```bash" in page
    assert "| key | type | default | meaning |" in page
    rows = [line for line in page.splitlines() if line.startswith("| `") and "default" not in line]
    assert rows


def test_help_is_answered_before_anything_heavy_is_imported():
    script = (
        "import runpy, sys\n"
        "sys.argv = ['train_bc', 'encoder=pixels', '--help']\n"
        "try:\n"
        "    runpy.run_module('egodtm_robot.train_bc', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as stopped:\n"
        "    assert stopped.code == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert process.stdout.splitlines()[-1] == "[]", process.stderr
    assert "encoder.size=16" in process.stdout


@pytest.mark.parametrize("name", ["egodtm_robot.demos.verify", "pretrain.clips.verify"])
def test_verify_takes_h_for_help_and_no_other_option_for_a_path(name, capsys):
    main = importlib.import_module(name).main
    assert main(["-h"]) == 0
    assert f"python -m {name} PATH" in capsys.readouterr().out
    assert main(["--deep"]) == 2
