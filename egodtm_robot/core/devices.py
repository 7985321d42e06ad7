"""Where networks run."""

import torch

from egodtm_robot.core.errors import ConfigurationError


def pick_device(name: str) -> torch.device:
    """The device of that name.

    Args:
        name: ``auto`` for a GPU if there is one and the CPU otherwise, or as torch names devices
            (``cpu``, ``cuda``, ``cuda:1``).

    Raises:
        ConfigurationError: torch knows no such device, or this machine has none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError(
            f"Expected device=auto, cpu or an accelerator of this machine, got {name!r}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    return device
