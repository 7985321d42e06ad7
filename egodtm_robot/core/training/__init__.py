"""What every trainer shares, one concern a file; a trainer adds its data and its step.

Everything that a step needs is a pure function of the seed and the step, so what a run resumes from
is weights, moments and a short record (:mod:`~egodtm_robot.core.training.states`).
"""
