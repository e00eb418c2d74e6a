"""The engine cache: keyed by content, whole or not there, one builder at a time, limited."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_seg_ros.backends.build_watch import BuildCancelled, BuildStep, BuildWatch
from anomaly_seg_ros.backends.engine_cache import (
    Built,
    EngineCache,
    default_cache,
    key_digest,
)
from anomaly_seg_ros.errors import BackendError

KEY = {"kind": "test", "onnx_sha256": ["ab"], "level": 3}
ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


def forbidden() -> bytes:
    raise AssertionError("it is there already")


@pytest.fixture
def cache(engines: Path) -> EngineCache:
    return EngineCache(engines)


def names(folder: Path) -> set[str]:
    """Endings of the files that the cache holds."""
    return {path.name.partition(".")[2] for path in folder.iterdir() if path.is_file()}


# --- what is kept ----------------------------------------------------------------------------


def test_an_engine_is_built_once_and_found_again(cache: EngineCache) -> None:
    first = cache.plan(KEY, lambda: b"engine")
    second = cache.plan(dict(reversed(KEY.items())), forbidden)
    assert (first.built, second.built) == (True, False)
    assert first.path == second.path and second.read() == b"engine"
    assert first.path.name == f"{key_digest(KEY)}.plan"


def test_the_side_car_holds_the_key_and_what_the_builder_notes(cache: EngineCache) -> None:
    made = Built(b"engine", {"stage": "segmentation"}, {".layers.json": b"{}"})
    engine = cache.plan(KEY, lambda: made, suffix=".pt2")
    side_car = json.loads(engine.path.with_suffix(".json").read_text())
    assert side_car == engine.side_car
    assert (side_car["key"], side_car["bytes"]) == (KEY, 6)
    assert side_car["notes"] == {"stage": "segmentation"} and side_car["seconds"] >= 0
    assert names(cache.folder) == {"pt2", "json", "layers.json"}


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), min_size=1))
@settings(deadline=None, max_examples=50)
def test_every_change_of_a_key_is_another_key(key: dict[str, Any]) -> None:
    digest = key_digest(key)
    assert digest == key_digest(json.loads(json.dumps(key)))
    for name, value in key.items():
        assert key_digest({**key, name: [value]}) != digest
    assert key_digest({**key, "x" * 9: None}) != digest


def test_what_a_builder_raises_passes_and_leaves_nothing(cache: EngineCache) -> None:
    def fails() -> bytes:
        raise BackendError("no kernel")

    with pytest.raises(BackendError, match="no kernel"):
        cache.plan(KEY, fails)
    assert names(cache.folder) == set() and cache.find(KEY) is None
    assert cache.plan(KEY, lambda: b"engine").built


def test_the_default_folder_follows_the_environment(
    engines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANOMALY_SEG_ENGINES_READ_ONLY", str(tmp_path / "shipped"))
    cache = default_cache()
    assert (cache.folder, cache.read_only) == (engines, tmp_path / "shipped")
    monkeypatch.delenv("ANOMALY_SEG_ENGINES")
    assert default_cache().folder == Path.home() / ".cache/anomaly_seg_ros/engines"


# --- what is damaged -------------------------------------------------------------------------

DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped byte": lambda path: path.write_bytes(b"engime"),
    "a lost half": lambda path: path.write_bytes(b"eng"),
    "side-car that is no JSON": lambda path: path.with_suffix(".json").write_text("{"),
    "side-car without hash": lambda path: path.with_suffix(".json").write_text("{}"),
    "side-car of another key": lambda path: path.with_suffix(".json").write_text(
        path.with_suffix(".json").read_text().replace('"level": 3', '"level": 4')
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_engine_is_moved_aside_and_built_anew(
    cache: EngineCache, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    damage(cache.plan(KEY, lambda: b"engine").path)
    assert cache.find(KEY) is None
    assert "moved aside as .bad" in caplog.text
    assert names(cache.folder) == {"plan.bad"}
    assert cache.plan(KEY, lambda: b"engine").built
    assert cache.plan(KEY, forbidden).read() == b"engine"


def test_an_engine_without_side_car_does_not_count(cache: EngineCache) -> None:
    cache.plan(KEY, lambda: b"engine").path.with_suffix(".json").unlink()
    assert cache.find(KEY) is None
    assert cache.plan(KEY, lambda: b"engine").built


def test_a_rejected_engine_is_not_found_again(cache: EngineCache) -> None:
    cache.reject(cache.plan(KEY, lambda: b"engine"), "another version")
    assert cache.find(KEY) is None and names(cache.folder) == {"plan.bad"}


def test_an_engine_that_changes_after_it_was_found_is_not_read(cache: EngineCache) -> None:
    engine = cache.plan(KEY, lambda: b"engine")
    engine.path.write_bytes(b"engime")
    with pytest.raises(BackendError, match="changed while it was read"):
        engine.read()
    engine.path.unlink()
    with pytest.raises(BackendError, match="cannot be read"):
        engine.read()


def test_a_folder_that_cannot_be_written_is_an_error_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match=r"cannot be written .*set ANOMALY_SEG_ENGINES"):
        EngineCache(tmp_path / "file" / "engines").plan(KEY, lambda: b"engine")


# --- a second folder -------------------------------------------------------------------------


def test_the_read_only_folder_is_looked_into_second_and_never_changed(
    cache: EngineCache, tmp_path: Path
) -> None:
    shipped = tmp_path / "shipped"
    EngineCache(shipped).plan(KEY, lambda: b"shipped")
    before = {path: path.stat().st_mtime_ns for path in shipped.iterdir()}
    both = EngineCache(cache.folder, read_only=shipped)
    found = both.plan(KEY, forbidden)
    assert found.read() == b"shipped" and not found.built
    both.reject(found, "of no use here")
    assert both.plan(KEY, lambda: b"own").read() == b"own"
    assert EngineCache(cache.folder, read_only=shipped).plan(KEY, forbidden).read() == b"own"
    assert {path: path.stat().st_mtime_ns for path in shipped.iterdir()} == before


def test_a_damaged_engine_of_the_read_only_folder_is_passed_over(
    cache: EngineCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shipped = EngineCache(tmp_path / "shipped")
    shipped.plan(KEY, lambda: b"shipped").path.write_bytes(b"damaged")
    assert EngineCache(cache.folder, read_only=shipped.folder).find(KEY) is None
    assert "is passed over" in caplog.text
    assert names(shipped.folder) == {"plan", "json"}


# --- room ------------------------------------------------------------------------------------


def test_the_engines_unused_for_longest_make_room(engines: Path) -> None:
    cache = EngineCache(engines, limit_bytes=5000)
    keys = [{"number": number} for number in range(4)]
    for age, key in enumerate(keys[:3]):
        path = cache.plan(key, lambda: bytes(1000)).path
        for file in path.parent.glob(f"{path.stem}*"):
            os.utime(file, (1000 + age, 1000 + age))
    cache.find(keys[0])  # a use
    cache.plan(keys[3], lambda: bytes(2000))
    kept = [key["number"] for key in keys if cache.find(key) is not None]
    assert kept == [0, 2, 3]


def test_an_engine_larger_than_the_limit_is_kept_alone(engines: Path) -> None:
    cache = EngineCache(engines, limit_bytes=100)
    cache.plan({"number": 1}, lambda: bytes(1000))
    cache.plan({"number": 2}, lambda: bytes(1000))
    assert cache.find({"number": 1}) is None and cache.find({"number": 2}) is not None


def test_entries_list_the_last_used_first_and_can_be_removed(cache: EngineCache) -> None:
    for number in (1, 2):
        path = cache.plan({"number": number}, lambda: b"engine").path
        os.utime(path, (3e9 + number, 3e9 + number))
    first, second = cache.entries()
    assert [entry.side_car["key"]["number"] for entry in (first, second)] == [2, 1]
    assert cache.remove(second)
    assert [entry.name for entry in cache.entries()] == [first.name]


def test_timings_are_kept_by_name(cache: EngineCache) -> None:
    assert cache.read_timings("gpu") == b""
    cache.write_timings("gpu", b"measured")
    assert cache.read_timings("gpu") == b"measured" and cache.entries() == []
    assert cache.clear_timings() == 8 and cache.read_timings("gpu") == b""


# --- several builders ------------------------------------------------------------------------


def test_threads_that_want_the_same_engine_build_it_once(cache: EngineCache) -> None:
    built: list[int] = []

    def build() -> bytes:
        built.append(1)
        time.sleep(0.2)
        return b"engine"

    threads = [threading.Thread(target=cache.plan, args=(KEY, build)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1 and names(cache.folder) == {"plan", "json"}


def test_a_wait_for_another_builder_can_be_cancelled(cache: EngineCache) -> None:
    begun, end = threading.Event(), threading.Event()

    def build() -> bytes:
        begun.set()
        end.wait(PATIENCE)
        return b"engine"

    builder = threading.Thread(target=cache.plan, args=(KEY, build))
    builder.start()
    begun.wait(PATIENCE)
    told: list[BuildStep] = []
    with pytest.raises(BuildCancelled):
        cache.plan(KEY, forbidden, watch=BuildWatch(told.append, lambda: len(told) > 1))
    assert "waiting for another" in told[0].phase and cache.entries() == []
    end.set()
    builder.join()
    assert cache.plan(KEY, forbidden).read() == b"engine"


BUILDER = """
import sys, time
from pathlib import Path
from anomaly_seg_ros.backends.engine_cache import EngineCache
folder, log, seconds = sys.argv[1:]
def build():
    with open(log, "a") as stream: stream.write("begin\\n")
    time.sleep(float(seconds))
    return b"engine"
engine = EngineCache(Path(folder)).plan({"kind": "test"}, build)
print(engine.built, engine.read().decode())
"""


def builder(folder: Path, log: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(folder), str(log), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def begun(log: Path, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while not log.exists() or log.read_text().count("begin") < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_processes_that_want_the_same_engine_build_it_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    both = [builder(tmp_path / "engines", log, 1.0) for _ in range(2)]
    outputs = sorted(process.communicate(timeout=PATIENCE)[0].strip() for process in both)
    assert outputs == ["False engine", "True engine"]
    assert log.read_text().count("begin") == 1


def test_a_builder_that_is_killed_leaves_nothing_broken(tmp_path: Path) -> None:
    folder, log = tmp_path / "engines", tmp_path / "log"
    killed = builder(folder, log, 600)
    begun(log, 1)
    waiting = builder(folder, log, 0)  # waits for the lock of a process that will be killed
    name = key_digest({"kind": "test"})
    (folder / f".{name}.plan.{killed.pid}.tmp").write_bytes(b"half of it")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert waiting.communicate(timeout=PATIENCE)[0].strip() == "True engine"
    assert names(folder) == {"plan", "json"}
    assert {path.name.partition(".")[0] for path in folder.iterdir()} == {name}
