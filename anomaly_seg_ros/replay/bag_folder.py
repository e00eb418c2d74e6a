"""A ROS 2 bag that appears under its name only when it is whole, and the end of one cut off.

What a killed process leaves depends on the storage. rosbags writes sqlite3 as one transaction: the
next reader rolls it back and nothing is left. An mcap file grows by chunks of 1 MiB or of one
larger message; `end_cut_off` gives it a valid end after its last whole one.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from anomaly_seg_ros.errors import ReplayError
from anomaly_seg_ros.replay.bag_reader import no_rosbags, typestore

STORAGES = ("mcap", "sqlite3")
METADATA_VERSION: Final = 8  # read by every rosbag2 that reads 9, and by older ones

# The MCAP format, version 0: https://mcap.dev/spec
_MAGIC = b"\x89MCAP0\r\n"
_CHUNK = 0x06
_IN_DATA = frozenset({0x01, 0x03, 0x04, 0x05, _CHUNK, 0x07, 0x09, 0x0C})  # op codes before the end
_RECORD_HEAD = 9  # bytes: op code, uint64 length
_DATA_END = b"\x0f" + (4).to_bytes(8, "little") + bytes(4)  # no checksum
_FOOTER = b"\x02" + (20).to_bytes(8, "little") + bytes(20)  # no summary: readers scan
_END = _DATA_END + _FOOTER + _MAGIC


class BagFolder:
    """A rosbags writer in a hidden folder beside `folder`; `reveal` gives it its name."""

    def __init__(
        self, folder: Path, storage: str = "mcap", compress: bool = True, types: Any = None
    ) -> None:
        """compress: mcap by chunk with zstd; sqlite3 never. types: a rosbags typestore.

        Removes what an earlier run left in the hidden folder. Raises ReplayError, OSError.
        """
        if storage not in STORAGES:
            raise ReplayError(f"bag storage {storage!r}: expected one of {', '.join(STORAGES)}")
        try:
            from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
        except ImportError as error:
            raise no_rosbags(error) from error
        self.folder = folder
        self.part = hidden(folder)
        self.inside = self.part / folder.name  # the files carry its name, so one level down
        self.types = typestore(False) if types is None else types
        self.messages: dict[str, int] = {}  # by topic
        shutil.rmtree(self.part, ignore_errors=True)
        mcap = storage == "mcap"
        self._bag = Writer(
            self.inside,
            version=METADATA_VERSION,
            storage_plugin=StoragePlugin.MCAP if mcap else StoragePlugin.SQLITE3,
        )
        if mcap and compress:
            self._bag.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._bag.open()
        self._open = True
        self._connections: dict[str, Any] = {}

    def add(self, topic: str, message_type: str, log_ns: int, cdr: bytes | memoryview) -> None:
        """Write one serialized message. Raises OSError."""
        if topic not in self._connections:
            self._connections[topic] = self._bag.add_connection(
                topic, message_type, typestore=self.types
            )
            self.messages[topic] = 0
        self._bag.write(self._connections[topic], log_ns, cdr)
        self.messages[topic] += 1

    def close(self) -> None:
        """Write index and metadata. Raises OSError."""
        self._bag.close()
        self._open = False

    def abort(self) -> None:
        """Close without index and metadata: the files stay as they are. Raises OSError."""
        if self._open:
            self._open = False
            self._bag.abort()

    def reveal(self) -> None:
        """Give the closed bag its name, in place of an older one. Raises OSError."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.inside.rename(self.folder)
        shutil.rmtree(self.part, ignore_errors=True)

    def discard(self) -> None:
        """Delete what is not revealed."""
        with suppress(OSError):  # of a full disk: what cannot be written is not wanted any more
            self.abort()
        shutil.rmtree(self.part, ignore_errors=True)


def hidden(folder: Path) -> Path:
    """Where the bag of this name is written."""
    return folder.with_name(f".{folder.name}.part")


def end_cut_off(file: Path) -> int:
    """Cut an mcap file behind its last whole record and end it there; returns its chunks.

    Nothing is written where there is none. Messages of the bag can be read then, without an index.
    Raises OSError.
    """
    with file.open("r+b") as stream:
        ends = _record_ends(stream)
        while ends and ends[-1][1]:
            end, chunks = ends.pop()
            stream.truncate(end)
            stream.seek(end)
            try:
                stream.write(_END)
                stream.flush()
                os.fsync(stream.fileno())
            except OSError:  # a full disk: the room of a record less is enough
                if not ends or not ends[-1][1]:
                    raise
                continue
            return chunks
    return 0


def _record_ends(stream: BinaryIO) -> list[tuple[int, int]]:
    """Position after each whole record of the data section, and the chunks up to there."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    ends: list[tuple[int, int]] = []
    if stream.read(len(_MAGIC)) != _MAGIC:
        return ends
    position, chunks = len(_MAGIC), 0
    while position + _RECORD_HEAD <= size:
        stream.seek(position)
        head = stream.read(_RECORD_HEAD)
        position += _RECORD_HEAD + int.from_bytes(head[1:], "little")
        if head[0] not in _IN_DATA or position > size:
            break
        chunks += head[0] == _CHUNK
        ends.append((position, chunks))
    return ends
