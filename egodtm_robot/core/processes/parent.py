"""Ends a process when its parent has died, however the parent died."""

import ctypes
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.5


def follow_parent(parent: int, by_kernel: bool = True) -> None:
    """End this process, with SIGKILL, as soon as its parent is gone.

    On Linux the kernel does it (``PR_SET_PDEATHSIG``, see prctl(2)), even while native code such as
    a renderer or a video encoder holds Python's interpreter lock. Elsewhere a thread looks every
    half second whether this process has another parent now.

    Args:
        parent: process id of the parent. Where this process has another parent already, the parent
            died before the call, and this process ends here.
        by_kernel: whether the kernel may be asked. The kernel sends its signal when the *thread*
            that started this process ends, so the thread must live as long as the parent does; the
            parent's main thread does.
    """
    asked = by_kernel and sys.platform == "linux" and _ask_kernel()
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    if not asked:
        threading.Thread(target=_poll, args=(parent,), daemon=True, name="follow-parent").start()


def _ask_kernel() -> bool:
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return bool(prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) == 0)


def _poll(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    os.kill(os.getpid(), signal.SIGKILL)
