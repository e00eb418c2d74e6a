"""Reading ROS bags without ROS: ROS 2 folders, bare .mcap and .db3 files, ROS 1 .bag.

Only standard messages are deserialised, with rosbags' own copy of their definitions, so that a bag
whose other topics carry odd or missing definitions is read all the same.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from anomaly_seg_ros.errors import EncodingError, ReplayError
from anomaly_seg_ros.replay.sources import RawMessage, natural_key

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # RFC 8878, 3.1.1: never the start of a CDR message


@dataclass(frozen=True)
class BagMessage:
    """One message as stored, and how it deserialises."""

    message_type: str
    log_ns: int
    raw: bytes


class Bag:
    """An open bag: its topics, and the messages of one of them in log order.

    Raises ReplayError for a bag that is missing, empty, damaged, or when rosbags is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = _storage_files(path)
        self.is_ros1 = self.files[0].suffix == ".bag"
        self._types = typestore(self.is_ros1)
        self._readers: list[Any] = []
        with ExitStack() as opened:
            for part in self.files:
                reader = _opened(part, path)
                opened.callback(reader.close)
                self._readers.append(reader)
            self._stack = opened.pop_all()  # closed here already when one of the files is damaged
        self.warnings = _unfinished(path, self.files)

    def close(self) -> None:
        self._stack.close()
        self._readers = []

    def topics(self, message_types: tuple[str, ...]) -> dict[str, tuple[str, int]]:
        """Topic -> (message type, messages) of these types."""
        found: dict[str, tuple[str, int]] = {}
        for reader in self._readers:
            for connection in reader.connections:
                if connection.msgtype in message_types:
                    before = found.get(connection.topic, ("", 0))[1]
                    found[connection.topic] = (connection.msgtype, before + connection.msgcount)
        return dict(sorted(found.items()))

    def size(self) -> int:
        """Bytes of all files of the recording."""
        return sum(file.stat().st_size for file in recorded_files(self.path))

    def messages(
        self, topic: str, start: int | None = None, stop: int | None = None
    ) -> Iterator[BagMessage]:
        """Messages of a topic with start <= log time < stop, in log order.

        Raises ReplayError where the bag cannot be read further.
        """
        for reader in self._readers:
            connections = [entry for entry in reader.connections if entry.topic == topic]
            if not connections:
                continue
            # Damage anywhere shows as whatever the parser trips over: struct, zstd, SQL, ...
            try:
                for connection, log_ns, raw in reader.messages(connections, start, stop):
                    yield BagMessage(connection.msgtype, log_ns, _unpacked(raw))
            except GeneratorExit:
                raise
            except Exception as error:
                raise ReplayError(
                    f"{self.path}: the bag cannot be read further ({_reason(error)}): it is"
                    " damaged or cut short"
                ) from error

    def decode(self, message: BagMessage) -> Any:
        """The message as an object with the fields of its ROS type. Raises EncodingError."""
        try:
            if self.is_ros1:
                return self._types.deserialize_ros1(message.raw, message.message_type)
            return self._types.deserialize_cdr(message.raw, message.message_type)
        except Exception as error:  # generated parsers raise whatever the bytes lead them to
            raise EncodingError(
                f"the {message.message_type} of {len(message.raw)} bytes cannot be deserialised"
                f" ({_reason(error)}): the message is damaged"
            ) from error

    def as_ros2(self, message: BagMessage, decoded: Any) -> RawMessage:
        """The message for a ROS 2 bag: bytes unchanged, or translated from ROS 1."""
        if not self.is_ros1:
            return RawMessage(message.message_type, bytes(message.raw))
        types = typestore(False)
        make = types.types
        stamp = decoded.header.stamp
        header = make["std_msgs/msg/Header"](  # without the sequence number of ROS 1
            stamp=make["builtin_interfaces/msg/Time"](sec=stamp.sec, nanosec=stamp.nanosec),
            frame_id=decoded.header.frame_id,
        )
        kind = make[message.message_type]
        names = [
            entry.name for entry in fields(kind) if entry.name not in {"header", "__msgtype__"}
        ]
        again = kind(header=header, **{name: getattr(decoded, name) for name in names})
        return RawMessage(
            message.message_type, bytes(types.serialize_cdr(again, again.__msgtype__))
        )

    def seconds(self) -> float:
        """Seconds between the first and the last message of the bag."""
        filled = [reader for reader in self._readers if reader.message_count]
        if not filled:
            return 0.0
        start = min(reader.start_time for reader in filled)
        return (max(reader.end_time for reader in filled) - start) / 1e9


def header_stamp(header: Any, log_ns: int) -> int:
    """The header's stamp in nanoseconds; the log time where the driver left it at zero."""
    stamp = header.stamp
    return (int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)) or log_ns


def _storage_files(path: Path) -> list[Path]:
    """What the readers open: the bag itself, or the parts of a folder without metadata."""
    if not path.is_dir() or (path / "metadata.yaml").is_file():
        return [path]
    parts = [file for file in path.iterdir() if file.suffix in {".mcap", ".db3"}]
    return sorted(parts, key=lambda file: natural_key(file.name))


def recorded_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.is_file())


def _unfinished(path: Path, files: list[Path]) -> list[str]:
    """Signs that the recorder was killed: what it had not yet written to the files is missing."""
    warnings = []
    if path.is_dir() and files != [path]:
        names = ", ".join(file.name for file in files)
        warnings.append(f"{path} has no metadata.yaml: its files are read one by one ({names})")
    folder = path if path.is_dir() else path.parent
    for log in sorted(folder.glob("*.db3-wal")):
        if log.stat().st_size and (path.is_dir() or log.name.startswith(path.name)):
            warnings.append(
                f"{log.name} holds messages that were never merged into the database and are not"
                f" read; merge them with: sqlite3 {log.name.removesuffix('-wal')} vacuum"
            )
    return warnings


def _opened(part: Path, path: Path) -> Any:
    """An open rosbags reader."""
    if part.is_file() and part.stat().st_size == 0:
        raise ReplayError(f"{part}: the file is empty (0 bytes). Copy or record the bag again.")
    try:
        if part.suffix == ".bag":
            from rosbags.rosbag1 import Reader as Reader1

            reader: Any = Reader1(part)
        else:
            from rosbags.rosbag2 import Reader as Reader2

            reader = Reader2(part)
    except ImportError as error:
        raise no_rosbags(error) from error
    # Damage anywhere shows as whatever the parser trips over: struct, assert, zstd, SQL, ...
    try:
        reader.open()
    except Exception as error:
        raise ReplayError(
            f"{path}: cannot be read as a ROS bag ({_reason(error)}): cut short, damaged or"
            f" incomplete. {_mend(part)}"
        ) from error
    return reader


def _mend(part: Path) -> str:
    if part.suffix == ".mcap":
        return (
            f"A recording that was cut off can be mended: mcap recover {part.name} -o mended.mcap"
        )
    if part.suffix == ".bag":
        return f"A recording that was cut off can be mended: rosbag reindex {part.name}"
    if part.suffix == ".db3":
        return f'A damaged database can often be mended: sqlite3 {part.name} ".recover"'
    return "Without a sound metadata.yaml the bag's .mcap or .db3 file can be given instead."


@functools.cache
def typestore(ros1: bool) -> Any:
    try:
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise no_rosbags(error) from error
    return get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_HUMBLE)


def no_rosbags(error: ImportError) -> ReplayError:
    return ReplayError(
        f"reading and writing ROS bags needs the Python package rosbags ({error}). Install it:"
        " pip install rosbags"
    )


def _unpacked(raw: bytes) -> bytes:
    """A message compressed by itself: the metadata says so, but a bare file has no metadata."""
    if raw[:4] != ZSTD_MAGIC:
        return raw
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        from backports import zstd  # what rosbags itself installs
    return zstd.decompress(raw)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
