r"""Compares encoders: ``python -m egodtm_robot.benchmark seeds=[0,1,2]``.

Runs ``train_bc`` for every encoder, environment and seed, several at a time, each in a process of
its own, and writes a table with intervals. Runs that are finished are not repeated, so an
interrupted benchmark goes on where it was, and one more encoder costs its own runs only.
Demonstrations and features are shared through the store: the second encoder of an environment
collects nothing.

Policies, protocols and cameras are compared in the same way, and ``vary=`` takes any other setting.
Each protocol has a table of its own::

    python -m egodtm_robot.benchmark environments=[franka_kitchen_light,robohive_kitchen_light] \
        encoders=[pixels,egodtm] policies=[mlp,knn] protocols=[few,standard]

Pretrainings are compared as rows of their own, with pretraining seed and policy seed varied
together, so that the intervals hold both::

    python -m egodtm_robot.benchmark encoders=[text,text_depth,pixels] \
        "+checkpoints.text='runs/text_seed{seed}/checkpoints/best.safetensors'" \
        "+checkpoints.text_depth='runs/text_depth_seed{seed}/checkpoints/best.safetensors'"

``runner=ray`` spreads the runs over a cluster (docs/guide/cluster.md).
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

from egodtm_robot.comparison.grid import run_grid
from egodtm_robot.comparison.grid_config import GridConfig
from egodtm_robot.core.configuration import command


@command(GridConfig, "benchmark")
def main(config: GridConfig) -> None:
    """Runs the benchmark and prints its tables."""
    for protocol, result in run_grid(config).items():
        print(f"\nprotocol {protocol}\n\n{result.to_markdown()}")


if __name__ == "__main__":
    main()
