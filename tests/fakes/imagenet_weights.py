"""Whether the package that holds the ImageNet weights is there."""

import importlib.util

import pytest

from egodtm_robot.core.published_models.efficientnet import WEIGHTS_PACKAGE

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec(WEIGHTS_PACKAGE) is None,
    reason="the ImageNet weights are not installed",
)
