"""The evaluation command: ``python -m pretrain.evaluate checkpoint=... tasks=[retrieval,depth]``.

Measures a model of video and text on held-out clips: fresh synthetic ones, or the stores of
``data.path``. Prints a table with intervals, and writes ``results.json`` and one row a question.
Started again with the same settings it goes on where it was stopped.
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

from accelerate import PartialState

from egodtm_robot.core.configuration import command
from pretrain.evaluate.evaluation import EvaluateConfig, describe, evaluate


@command(EvaluateConfig, "evaluate")
def main(config: EvaluateConfig) -> None:
    """Measure the model and print what it scores."""
    results, run_dir = evaluate(config)
    if PartialState().is_main_process:
        print(describe(results, run_dir))


if __name__ == "__main__":
    main()
