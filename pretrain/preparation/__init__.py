"""From annotated video to a clip store: plan, stages, runners, report.

``python -m pretrain.prepare`` is the command.
"""
