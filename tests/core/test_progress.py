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


def test_a_resumed_loop_counts_its_rate_from_its_first_report(monkeypatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    stream = io.StringIO()
    progress = Progress("train", 50, start=None, stream=stream)
    clock[0] += 30  # what is read first takes time that is no training
    progress(40)
    assert not stream.getvalue()
    clock[0] += 5
    progress(50)
    assert "50/50     2.0/s" in stream.getvalue()
