import io

from egodtm_robot.core.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_few_lines_and_always_the_last() -> None:
    stream = io.StringIO()
    progress = Progress("embed", 100, stream=stream)
    for done in range(1, 101):
        progress(done)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert "100/100" in lines[0]


def test_a_terminal_line_is_rewritten_in_place() -> None:
    stream = Terminal()
    progress = Progress("train", 2, stream=stream)
    progress(2, "loss 0.1")
    assert stream.getvalue().startswith("\r")
    assert stream.getvalue().endswith("\n")
    assert "loss 0.1" in stream.getvalue()
