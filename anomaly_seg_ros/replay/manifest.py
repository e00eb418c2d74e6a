"""The diary of a detection run: one JSON line per finished frame, so that a second run resumes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from anomaly_seg_ros.errors import ReplayError

MANIFEST_NAME = "manifest.jsonl"
MANIFEST_FORMAT = 1
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of some network file systems
SYNC_EVERY = 64  # lines between fsyncs; lost lines only cost their frames a second time


@dataclass(frozen=True)
class FrameRecord:
    """One finished frame: what it was, and the files that hold its results."""

    index: int
    name: str
    shape: tuple[int, int]  # camera size (H, W)
    stamp_ns: int | None
    log_ns: int | None
    frame_id: str
    topic: str
    files: dict[str, tuple[str, int]]  # kind -> (path below the output folder, bytes)
    seconds: dict[str, float]  # of the detector, by step
    anomalous: int  # pixels of the mask
    clipped: int = 0  # score pixels outside the range of a 16-bit PNG

    def complete(self, out: Path, kinds: Iterable[str]) -> bool:
        """Whether the files of these kinds are there in full length."""
        for kind in kinds:
            path, size = self.files.get(kind, ("", -1))
            if size < 0 or not _has_size(out / path, size):
                return False
        return True


@dataclass
class Manifest:
    """Open for one run at a time. Appends survive a kill; a torn last line is dropped.

    Raises ReplayError when the folder holds other things, another run, or other settings.
    """

    out: Path
    settings: dict[str, Any]
    frames: dict[int, FrameRecord] = field(default_factory=dict)
    bad: dict[int, tuple[str, str]] = field(default_factory=dict)  # index -> (name, reason)
    products: dict[str, str] = field(default_factory=dict)  # video, bag -> key of their frames
    warnings: list[str] = field(default_factory=list)  # what the recording did not deliver
    _stream: IO[bytes] | None = None
    _unsynced: int = 0

    @property
    def path(self) -> Path:
        return self.out / MANIFEST_NAME

    def __enter__(self) -> Manifest:
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            used = any(not entry.name.startswith(".") for entry in self.out.iterdir())
            fresh = not self.path.exists()
            if not (fresh and used):
                self._stream = self.path.open("a+b")
        except OSError as error:
            raise ReplayError(
                f"{self.out}: results cannot be written here ({error.strerror or error}). Choose"
                " another --out."
            ) from error
        if self._stream is None:
            raise ReplayError(
                f"{self.out} is not empty and holds no {MANIFEST_NAME} of an earlier run. Choose"
                " another --out."
            )
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._stream.close()
            raise ReplayError(
                f"{self.out}: another run is writing here. Wait for it or choose another --out."
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        try:
            self._load()
        except BaseException:
            self._stream.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self._stream is not None:
            self._sync()
            self._stream.close()
            self._stream = None

    def add_frame(self, record: FrameRecord) -> None:
        self.frames[record.index] = record
        self.bad.pop(record.index, None)
        self._append({"kind": "frame", **asdict(record)})

    def add_bad(self, index: int, name: str, reason: str) -> None:
        self.bad[index] = (name, reason)
        self.frames.pop(index, None)
        self._append({"kind": "bad", "index": index, "name": name, "reason": reason})

    def add_product(self, name: str, key: str) -> None:
        self.products[name] = key
        self._append({"kind": "product", "name": name, "key": key})
        self._sync()

    def add_warning(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)
            self._append({"kind": "warning", "text": text})

    def _load(self) -> None:
        assert self._stream is not None
        self._stream.seek(0)
        text = self._stream.read()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):  # killed in the middle of a line
            self._stream.truncate(len(whole))
        lines = whole.splitlines()
        if not lines:
            self._append({"kind": "settings", "format": MANIFEST_FORMAT, **self.settings})
            self._sync()
            return
        for number, line in enumerate(lines, start=1):
            try:
                self._take(number, json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise ReplayError(
                    f"{self.path}, line {number}: not a line of this command ({error}). Choose"
                    " another --out, or start over with --overwrite."
                ) from error

    def _take(self, number: int, entry: dict[str, Any]) -> None:
        kind = entry.pop("kind")
        if number == 1:
            self._compare(entry)
        elif kind == "frame":
            entry["shape"] = tuple(entry["shape"])
            entry["files"] = {key: (path, size) for key, (path, size) in entry["files"].items()}
            self.frames[entry["index"]] = FrameRecord(**entry)
            self.bad.pop(entry["index"], None)
        elif kind == "bad":
            self.bad[entry["index"]] = (entry["name"], entry["reason"])
            self.frames.pop(entry["index"], None)
        elif kind == "product":
            self.products[entry["name"]] = entry["key"]
        elif kind == "warning":
            self.warnings.append(entry["text"])
        else:
            raise ValueError(f"unknown kind {kind!r}")

    def _compare(self, before: dict[str, Any]) -> None:
        now = json.loads(json.dumps({"format": MANIFEST_FORMAT, **self.settings}))
        differing = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        if differing:
            listed = "; ".join(f"{k}: {before.get(k)} before, {now.get(k)} now" for k in differing)
            raise ReplayError(
                f"{self.out} holds results of other settings ({listed}). Choose another --out, or"
                " start over with --overwrite."
            )

    def _append(self, entry: dict[str, Any]) -> None:
        assert self._stream is not None
        self._stream.write(json.dumps(entry).encode() + b"\n")
        self._stream.flush()
        self._unsynced += 1
        if self._unsynced >= SYNC_EVERY:
            self._sync()

    def _sync(self) -> None:
        if self._stream is not None:
            os.fsync(self._stream.fileno())
            self._unsynced = 0


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False
