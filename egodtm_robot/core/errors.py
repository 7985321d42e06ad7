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
