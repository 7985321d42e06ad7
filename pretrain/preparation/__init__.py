"""From annotated video to a clip store: plan, stages, runners, report.

:func:`pretrain.preparation.prepare.prepare` is the whole; ``python -m pretrain.prepare`` its command.
"""
