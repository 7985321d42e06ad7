"""A command for tests: says what it was given, then waits, dies or fails as it is told to."""

import os
import signal
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    folder, what = Path(sys.argv[1]), sys.argv[2]
    attempts = folder / "attempts"
    with attempts.open("a") as file:
        file.write(f"{os.getpid()}\n")
    print(f"threads {os.environ['OMP_NUM_THREADS']} {sys.argv[3]}", flush=True)
    first = len(attempts.read_text().splitlines()) == 1
    if what == "sleep" or (what == "sleep once" and first):
        time.sleep(120)
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "fail":
        sys.exit("EncoderWeightsError: no weights")
    (folder / "finished").touch()
