"""Named exceptions for everything that a user can cause.

Each message says what was expected, what came, and what to do about it. All of them derive from
:class:`EgoDTMRobotError`, so the commands can print them without a traceback.
"""


class EgoDTMRobotError(Exception):
    """Base of all errors that the toolkit raises on purpose."""


class UnknownNameError(EgoDTMRobotError, ValueError):
    """A name (task, camera, preset, encoder, ...) is not among those known."""

    def __init__(self, kind: str, name: object, known: "list[str] | tuple[str, ...]") -> None:
        import difflib

        close = difflib.get_close_matches(str(name), known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(f"Unknown {kind} {name!r}; expected one of: {', '.join(known)}.{hint}")


class InvalidActionError(EgoDTMRobotError, ValueError):
    """An action has the wrong shape or holds values that are not finite."""


class InvalidStateError(EgoDTMRobotError, ValueError):
    """A simulator state does not fit the model that is asked to hold it."""


class RenderingError(EgoDTMRobotError, RuntimeError):
    """No off-screen OpenGL context could be made, or the model cannot be drawn as asked."""


class EncoderInputError(EgoDTMRobotError, ValueError):
    """Images or states given to an encoder have the wrong shape or type."""


class EncoderOptionError(EgoDTMRobotError, ValueError):
    """An encoder is configured with options that it does not take or that contradict each other."""


class WeightsError(EgoDTMRobotError, RuntimeError):
    """Weights from elsewhere are not installed, not reachable, not readable, or could run code."""


class ModelInputError(EgoDTMRobotError, ValueError):
    """Frames, texts or targets given to the model or its losses have the wrong shape or type."""


class CheckpointMismatchError(EgoDTMRobotError, ValueError):
    """The tensors of a checkpoint do not match the model by name and shape."""


class ObservationError(EgoDTMRobotError, ValueError):
    """An observation lacks a key that the policy reads, or has the wrong shape."""


class PoolingError(EgoDTMRobotError, ValueError):
    """A pooling of tokens does not fit the tokens that the encoder gives."""


class PolicyOptionError(EgoDTMRobotError, ValueError):
    """A policy's class cannot be found, breaks the contract of policies, or lacks an option."""


class CheckpointError(EgoDTMRobotError, RuntimeError):
    """A checkpoint is missing, unreadable, or does not fit what it is loaded into."""


class DatasetError(EgoDTMRobotError, ValueError):
    """Training data (demonstrations and features, or clips) do not fit together or are too few."""


class TrainingDivergedError(EgoDTMRobotError, ArithmeticError):
    """The training loss is no longer finite."""


class ResumeMismatchError(EgoDTMRobotError, RuntimeError):
    """A run's folder holds the state of a run with other settings or other data."""


class EnvironmentWorkerError(EgoDTMRobotError, RuntimeError):
    """A process that steps environments failed, died or no longer answers."""


class WorkerDiedError(EgoDTMRobotError, RuntimeError):
    """Worker processes died again and again at the same work.

    Args:
        work: what they died at.
        deaths: how many of them did.
        reason: what is known of the last death, such as ``was killed by SIGKILL``.
    """

    def __init__(self, work: str, deaths: int, reason: str) -> None:
        super().__init__(
            f"Expected a worker to finish {work}, but {deaths} of them died of it, the last one "
            f"{reason}. SIGKILL is mostly the kernel short of memory; an exit code on start is "
            "mostly a script without `if __name__ == '__main__':`. What was written is whole: run "
            "fewer workers, or start the same command again to go on."
        )


class ExecutorClosedError(EgoDTMRobotError, RuntimeError):
    """Workers were closed while another thread waited for them."""


class ClusterError(EgoDTMRobotError, RuntimeError):
    """A cluster cannot be reached, or one of its nodes lacks what the work needs."""


class MissingPackageError(EgoDTMRobotError, ImportError):
    """An optional package is not installed."""


class ConfigurationError(EgoDTMRobotError, ValueError):
    """A configuration key does not exist, has the wrong type, or is missing."""


class OutputPathError(ConfigurationError):
    """Nothing can be written at the place that a setting names."""


class ShadowedPackageError(EgoDTMRobotError, ImportError):
    """A folder of the user's hides one of the toolkit's packages."""


class GLUnavailableError(RenderingError):
    """No library for off-screen OpenGL is at hand, or MuJoCo was bound to another one."""


class StoreNotFoundError(EgoDTMRobotError, FileNotFoundError):
    """There is no store, or no committed array of that name, at the place that was named."""


class StoreExistsError(EgoDTMRobotError, FileExistsError):
    """A new store was asked for where one, or something else, already lies."""


class StoreLockedError(EgoDTMRobotError, TimeoutError):
    """Another process kept writing to the same arrays for longer than we were willing to wait."""


class StoreReadOnlyError(EgoDTMRobotError, PermissionError):
    """Something was to be written through a store that is open for reading only, or closed."""


class StoreArrayError(EgoDTMRobotError, ValueError):
    """Rows do not fit the array (shape, type or number) that they are to be appended to."""


class CorruptStoreError(EgoDTMRobotError, ValueError):
    """Stored bytes are not those that were written: a checksum fails or a file is missing."""


class ForeignStoreError(EgoDTMRobotError, ValueError):
    """A store was made by another model, randomization or visual preset than the one in use."""


class DiskSpaceError(EgoDTMRobotError, OSError):
    """The disk is full, or has less room than the work that is about to start needs."""


class InvalidEpisodeError(EgoDTMRobotError, ValueError):
    """An episode's arrays disagree with each other or with the store they are to enter."""


class InvalidClipError(EgoDTMRobotError, ValueError):
    """A clip's arrays disagree with each other or with the store they are to enter."""
