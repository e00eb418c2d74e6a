"""A lock between processes that a crash cannot leave behind: flock on a file."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_SECONDS = 0.1


@contextmanager
def file_lock(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of that file for the block; the file is gone afterwards.

    While another process (or thread) holds it, `waiting` is called again and again and may raise to
    give up. The kernel frees the lock of a process that dies, so nobody waits for a dead one.
    Raises OSError where the folder cannot be written.
    """
    while (handle := _try_lock(path)) is None:
        waiting()
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _try_lock(path: Path) -> int | None:
    """The locked file's descriptor, or None when somebody else has it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), path.stat()):
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass  # held, or its holder has just removed the file that we opened
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None
