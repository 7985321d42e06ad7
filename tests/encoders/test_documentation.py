"""What the pages on encoders say holds."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from egodtm_robot.encoders import encoder_config, encoder_names, make_encoder

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = DOCS / "guide" / "encoders.md"
REFERENCE = DOCS / "reference" / "encoders.md"


def test_the_example_of_a_users_encoder_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (example,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) == 10
    (tmp_path / "my_encoders.py").write_text(example)
    monkeypatch.syspath_prepend(str(tmp_path))
    network = torch.nn.Conv2d(3, 32, kernel_size=16, stride=16)
    torch.save(network.state_dict(), tmp_path / "my_weights.pt")
    encoder = make_encoder(
        {
            **encoder_config("efficientnet_lite0"),
            "_target_": "my_encoders.MyEncoder",
            "weights": str(tmp_path / "my_weights.pt"),
        }
    )
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 112, 112, 3), dtype=np.uint8)
    assert encoder.encode(images).shape == (3, 49, 32)


def test_the_reference_names_every_encoder():
    text = REFERENCE.read_text()
    for name in encoder_names():
        assert f"| `{name}` |" in text
