"""What was built on this machine, kept by content: a key that holds everything it depends on.

An entry is a group of files `<sha256 of the key>.*`: the engine itself (`.plan` of TensorRT, `.pt2`
of torch), what the builder keeps beside it, and the side-car `.json` with the whole key, time of
building, size and sha256 of the engine, and notes. The side-car is written last: an engine without
one does not count. Every file appears in one step or not at all.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from anomaly_seg_ros.backends.build_watch import BuildStep, BuildWatch
from anomaly_seg_ros.backends.file_lock import file_lock
from anomaly_seg_ros.errors import BackendError

log = logging.getLogger(__name__)

FOLDER_VARIABLE = "ANOMALY_SEG_ENGINES"
READ_ONLY_VARIABLE = "ANOMALY_SEG_ENGINES_READ_ONLY"
DEFAULT_FOLDER = Path("~/.cache/anomaly_seg_ros/engines")
DEFAULT_LIMIT = 4 << 30  # bytes; a vehicle computer's disk is not large
SIDE_CAR, BAD, TIMINGS = ".json", ".bad", "timings"
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Built:
    """What a builder made: the engine, what the side-car notes of it, and files beside it."""

    data: bytes
    notes: Mapping[str, Any] = field(default_factory=dict)  # JSON
    files: Mapping[str, bytes] = field(default_factory=dict)  # by suffix, such as ".layers.json"


@dataclass(frozen=True)
class CachedEngine:
    """An engine in the cache, its content checked against the side-car."""

    path: Path
    sha256: str
    built: bool  # by this call
    side_car: dict[str, Any]

    def read(self) -> bytes:
        """The engine's bytes. Raises BackendError when they are not those that were checked."""
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise BackendError(f"engine {self.path} cannot be read ({error.strerror})") from error
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise BackendError(f"engine {self.path} changed while it was read: start again")
        return data


@dataclass(frozen=True)
class CacheEntry:
    """All files of one key, for lists and for making room."""

    name: str  # sha256 of the key, in hex
    paths: tuple[Path, ...]
    size: int  # bytes
    used: float  # seconds since the epoch
    side_car: dict[str, Any]  # empty where there is none, or none that can be read


def key_digest(key: Mapping[str, Any]) -> str:
    """sha256 of the key as canonical JSON (sorted, without spaces), in hex."""
    return hashlib.sha256(_canonical(key)).hexdigest()


def default_cache() -> EngineCache:
    """$ANOMALY_SEG_ENGINES or ~/.cache/anomaly_seg_ros/engines.

    $ANOMALY_SEG_ENGINES_READ_ONLY names a second folder that is only looked into, such as engines
    that came with a disk image.
    """
    second = os.environ.get(READ_ONLY_VARIABLE)
    return EngineCache(
        Path(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER),
        read_only=Path(second) if second else None,
    )


class EngineCache:
    """Engines in a folder, at most `limit_bytes` of them: those unused for longest go first.

    `read_only`: a second folder of the same layout, looked into after the first and never changed.
    Safe between processes and threads.
    """

    def __init__(
        self, folder: Path, *, read_only: Path | None = None, limit_bytes: int = DEFAULT_LIMIT
    ) -> None:
        self.folder = folder.expanduser()
        self.read_only = None if read_only is None else read_only.expanduser()
        self.limit_bytes = limit_bytes
        self._refused: set[Path] = set()  # of the read-only folder, where nothing can be moved

    def plan(
        self,
        key: Mapping[str, Any],
        build: Callable[[], bytes | Built],
        *,
        suffix: str = ".plan",
        watch: BuildWatch | None = None,
    ) -> CachedEngine:
        """The engine of a key, built when it is not there.

        key: JSON with everything that the engine depends on; the content of files goes in as their
        sha256. While another process builds the same engine this one waits, then finds it. What
        `build` raises is passed on and leaves nothing. Raises BackendError when the folder cannot
        be written and BuildCancelled when the watch ends the wait.
        """
        found = self.find(key, suffix=suffix)
        if found is not None:
            return found
        name, watch = key_digest(key), watch or BuildWatch()

        def waiting() -> None:
            watch.told(BuildStep("engine", "waiting for another process that builds it", 0.0))
            watch.check("an engine that another process builds")

        with self._locked(name, waiting):
            found = self._checked(self.folder, name, suffix, key)[0]
            if found is None:
                for left in self.folder.glob(f".{name}*.tmp"):  # by a builder that was killed
                    left.unlink(missing_ok=True)
                start = time.perf_counter()
                made = build()
                if isinstance(made, bytes):
                    made = Built(made)
                with self._explained():
                    found = self._store(name, suffix, key, made, time.perf_counter() - start)
        self._make_room(keep=name)
        return found

    def find(self, key: Mapping[str, Any], *, suffix: str = ".plan") -> CachedEngine | None:
        """The engine of a key when it is there and whole. A damaged one is moved aside."""
        name = key_digest(key)
        found, fault = self._checked(self.folder, name, suffix, key)
        if fault:
            with self._locked(name, lambda: None):
                found, fault = self._checked(self.folder, name, suffix, key)  # not being written?
                if fault:
                    self._move_aside(self.folder / (name + suffix), fault)
        if found is not None:
            self._touch(found.path)
        elif self.read_only is not None and self.read_only / (name + suffix) not in self._refused:
            found, fault = self._checked(self.read_only, name, suffix, key)
            if fault:
                log.warning("engine %s is passed over: %s", self.read_only / name, fault)
        return found

    def reject(self, engine: CachedEngine, reason: str) -> None:
        """Move an engine aside that its runtime does not take, so that it is built anew.

        It stays as `.bad` until room is needed. One of the read-only folder stays where it is, and
        this object does not find it any more.
        """
        if engine.path.parent != self.folder:
            log.warning("engine %s is of no use here: %s", engine.path, reason)
            self._refused.add(engine.path)
            return
        with self._locked(engine.path.name.partition(".")[0], lambda: None):
            self._move_aside(engine.path, reason)

    def entries(self) -> list[CacheEntry]:
        """What the folder holds, the most recently used first, damaged ones among it."""
        groups: dict[str, list[Path]] = {}
        if self.folder.is_dir():
            for path in sorted(self.folder.iterdir()):
                name = path.name.lstrip(".").partition(".")[0]
                if DIGEST.fullmatch(name) and path.suffix != ".lock":
                    groups.setdefault(name, []).append(path)
        found = (self._entry(name, paths) for name, paths in groups.items())
        return sorted((e for e in found if e.paths), key=lambda e: e.used, reverse=True)

    def remove(self, entry: CacheEntry) -> bool:
        """Delete an entry; False when it is being built at this moment."""
        try:
            with self._locked(entry.name, _give_up), self._explained():
                for path in entry.paths:
                    path.unlink(missing_ok=True)
        except _BusyError:
            return False
        return True

    def read_timings(self, name: str) -> bytes:
        """What a builder measured before, so that it need not again; empty when there is none."""
        try:
            return (self.folder / TIMINGS / name).read_bytes()
        except OSError:
            return b""

    def write_timings(self, name: str, data: bytes) -> None:
        """Keep what a builder measured. Raises BackendError."""
        with self._explained():
            (self.folder / TIMINGS).mkdir(parents=True, exist_ok=True)
            _write(self.folder / TIMINGS / name, data)

    def clear_timings(self) -> int:
        """Delete what builders measured; how many bytes that were. Raises BackendError."""
        freed = 0
        with self._explained():
            for path in (self.folder / TIMINGS).glob("*"):
                freed += path.stat().st_size
                path.unlink()
        return freed

    def _checked(
        self, folder: Path, name: str, suffix: str, key: Mapping[str, Any]
    ) -> tuple[CachedEngine | None, str]:
        """The engine, or why what is there is none; (None, "") where there is nothing."""
        path = folder / (name + suffix)
        try:
            side_car = json.loads((folder / (name + SIDE_CAR)).read_bytes())
            data = path.read_bytes()
        except FileNotFoundError:
            return None, ""
        except (OSError, ValueError) as error:
            return None, f"it cannot be read ({error})"
        if not isinstance(side_car, dict) or not isinstance(side_car.get("sha256"), str):
            return None, "its side-car file states no sha256"
        if side_car.get("key") != json.loads(_canonical(key)):
            return None, "its side-car file states another key"
        digest = hashlib.sha256(data).hexdigest()
        if digest != side_car["sha256"]:
            return None, f"it has sha256 {digest}, expected {side_car['sha256']}"
        return CachedEngine(path, digest, False, side_car), ""

    def _store(
        self, name: str, suffix: str, key: Mapping[str, Any], made: Built, seconds: float
    ) -> CachedEngine:
        digest = hashlib.sha256(made.data).hexdigest()
        side_car = {
            "key": dict(key),
            "built": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
            "sha256": digest,
            "bytes": len(made.data),
            "notes": dict(made.notes),
        }
        text = json.dumps(side_car, indent=1, sort_keys=True, allow_nan=False)
        (self.folder / (name + SIDE_CAR)).unlink(missing_ok=True)
        for beside, content in made.files.items():
            _write(self.folder / (name + beside), content)
        _write(self.folder / (name + suffix), made.data)
        _write(self.folder / (name + SIDE_CAR), text.encode())
        return CachedEngine(self.folder / (name + suffix), digest, True, json.loads(text))

    def _move_aside(self, path: Path, reason: str) -> None:
        """Take an engine out of use; its side-car is removed first, so that it never counts."""
        log.warning("engine %s is moved aside as %s: %s", path, BAD, reason)
        with self._explained():
            (self.folder / (path.name.partition(".")[0] + SIDE_CAR)).unlink(missing_ok=True)
            if path.exists():
                path.replace(path.with_name(path.name + BAD))

    def _make_room(self, keep: str) -> None:
        """Remove the entries unused for longest until the others fit into the limit."""
        entries = self.entries()
        total = sum(entry.size for entry in entries)
        for entry in reversed(entries):
            if total <= self.limit_bytes:
                return
            if entry.name != keep and self.remove(entry):
                log.info("engine %s removed: more than %d bytes kept", entry.name, self.limit_bytes)
                total -= entry.size

    def _entry(self, name: str, paths: list[Path]) -> CacheEntry:
        size, used, there = 0, 0.0, []
        for path in paths:
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # removed by another process meanwhile
            there.append(path)
            size, used = size + status.st_size, max(used, status.st_mtime)
        try:
            side_car = json.loads((self.folder / (name + SIDE_CAR)).read_bytes())
        except (OSError, ValueError):
            side_car = {}
        known = side_car if isinstance(side_car, dict) else {}
        return CacheEntry(name, tuple(there), size, used, known)

    def _touch(self, path: Path) -> None:
        """Note the use, for _make_room; a folder that cannot be written needs no room."""
        try:
            os.utime(path)
        except OSError:
            log.debug("the use of %s cannot be noted", path)

    @contextmanager
    def _locked(self, name: str, waiting: Callable[[], None]) -> Iterator[None]:
        with ExitStack() as stack:
            with self._explained():
                self.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(file_lock(self.folder / f"{name}.lock", waiting))
            yield

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the file system refuses into our error."""
        try:
            yield
        except OSError as error:
            raise BackendError(
                f"engine cache {self.folder} cannot be written ({error.strerror}): make room or "
                f"set {FOLDER_VARIABLE} to a folder that can"
            ) from error


class _BusyError(Exception):
    """Somebody else holds the lock."""


def _give_up() -> None:
    raise _BusyError


def _canonical(key: object) -> bytes:
    return json.dumps(key, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _write(path: Path, data: bytes) -> None:
    """Put a file there whole, in one step, and on the disk before it has its name."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
