"""`anomaly-seg engine`: build, list and clear, in processes that may be stopped at any time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FAKES = Path(__file__).parents[1] / "backends"
sys.path.insert(0, str(FAKES))

from fake_tensorrt import LOG_VARIABLE, SECONDS_VARIABLE, FakeTensorRT, install  # noqa: E402
from tiny_bundle import write_tiny_bundle  # noqa: E402

from anomaly_seg_ros.backends.engine_cache import EngineCache  # noqa: E402
from anomaly_seg_ros.cli.main import main  # noqa: E402

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
PROGRAM = """
import sys
import fake_tensorrt
fake_tensorrt.install()
from anomaly_seg_ros.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "engines"
    monkeypatch.setenv("ANOMALY_SEG_ENGINES", str(folder))
    return folder


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    return install(monkeypatch)


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for verbs, count in (
        (["engine"], 4),
        (["engine", "build"], 3),
        (["engine", "list"], 2),
        (["engine", "clear"], 2),
    ):
        with pytest.raises(SystemExit) as end:
            main([*verbs, "--help"])
        assert end.value.code == 0
        assert capsys.readouterr().out.count("anomaly-seg " + " ".join(verbs)) >= count


def test_build_tells_progress_and_what_was_built_and_builds_once(
    tiny: Path, engines: Path, trt: FakeTensorRT, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["engine", "build", str(tiny)]) == 0
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert [line.partition(",")[0][:22] for line in lines] == [
        "segmentation: built in",
        "observer: built in 0.0",
    ]
    assert all(Path(line.rpartition(" ")[2]).parent == engines for line in lines)
    assert "stage segmentation:  50%\n" in output.err and "stage observer: 100%\n" in output.err
    assert main(["engine", "build", str(tiny)]) == 0
    output = capsys.readouterr()
    assert "segmentation: was there, " in output.out and output.err == ""
    assert len(trt._builds) == 2


def test_list_shows_what_clear_deletes(
    tiny: Path, engines: Path, trt: FakeTensorRT, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["engine", "list"]) == 0
    assert capsys.readouterr().out == f"no engines in {engines}\n"
    main(["engine", "build", str(tiny), "--precision", "fp32_strict", "--device", "cuda:1"])
    capsys.readouterr()
    assert main(["engine", "list"]) == 0
    head, *rows, _, total = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["key", "bundle", "stage", "precision"]
    cells = sorted(row.split("  ") for row in rows)
    assert sorted(row.split()[2] for row in rows) == ["observer", "segmentation"]
    assert all("tiny" in row and "fp32_strict" in row for row in cells)
    assert all("Fake Orin, TensorRT 10.13.3.9" in row for row in cells)
    assert f"of 4295 MB in {engines}" in total

    key = rows[0].split()[0]
    assert main(["engine", "clear", key]) == 0
    assert f"deleted {key}\n" in capsys.readouterr().out
    assert main(["engine", "clear", "abcxyz"]) == 2
    assert "no key in" in capsys.readouterr().err
    assert main(["engine", "clear"]) == 0
    assert not [path for path in engines.rglob("*") if path.is_file()]


def test_a_damaged_engine_is_listed_as_such(
    tiny: Path, engines: Path, trt: FakeTensorRT, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["engine", "build", str(tiny)])
    next(engines.glob("*.plan")).write_bytes(b"damaged")
    assert main(["engine", "build", str(tiny)]) == 0
    next(engines.glob("*.plan")).with_suffix(".json").unlink()
    capsys.readouterr()
    main(["engine", "list"])
    assert capsys.readouterr().out.count(" damaged ") == 1


def test_programs_of_torch_are_listed_too(
    engines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = {"torch": "2.9.1", "device": "cuda", "precision": "fp16"}
    EngineCache(engines).plan(key, lambda: b"program", suffix=".pt2")
    main(["engine", "list"])
    row = capsys.readouterr().out.splitlines()[1]
    assert "  fp16 " in row and "  cuda, torch 2.9.1  " in row


def test_another_cache_can_be_named(
    tiny: Path, engines: Path, tmp_path: Path, trt: FakeTensorRT
) -> None:
    assert main(["engine", "build", str(tiny), "--cache", str(tmp_path / "other")]) == 0
    assert len(list((tmp_path / "other").glob("*.plan"))) == 2 and not engines.exists()


def test_failures_are_one_error_with_exit_code_2(
    tiny: Path, engines: Path, trt: FakeTensorRT, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["engine", "build", str(tiny), "--precision", "int8"]) == 2
    assert "has no int8 graph that tensorrt can run" in capsys.readouterr().err
    trt._faults.add("no_gpu")
    assert main(["engine", "build", str(tiny)]) == 2
    assert "error: backend tensorrt cannot run: no NVIDIA GPU" in capsys.readouterr().err


# --- several processes -----------------------------------------------------------------------


def build(tiny: Path, engines: Path, seconds: float) -> subprocess.Popen[str]:
    """`anomaly-seg engine build` on the fake, in a process of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, FAKES))),
        "ANOMALY_SEG_ENGINES": str(engines),
        LOG_VARIABLE: str(engines.with_name("log")),
        SECONDS_VARIABLE: str(seconds),
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "engine", "build", str(tiny)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def wait_for_builds(engines: Path, count: int) -> None:
    log, deadline = engines.with_name("log"), time.monotonic() + PATIENCE
    while not log.exists() or log.read_text().count("begin") < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_processes_that_build_the_same_bundle_build_it_once(tiny: Path, engines: Path) -> None:
    both = [build(tiny, engines, 1.0) for _ in range(2)]
    outputs = [process.communicate(timeout=PATIENCE)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert engines.with_name("log").read_text().count("begin") == 2  # one for each stage
    assert "".join(outputs).count("built in") == 2
    assert "".join(outputs).count("was there") == 2


def test_a_build_that_is_killed_leaves_nothing_broken(tiny: Path, engines: Path) -> None:
    killed = build(tiny, engines, 600)
    wait_for_builds(engines, 1)
    waiting = build(tiny, engines, 0.1)
    killed.kill()
    killed.communicate()
    output = waiting.communicate(timeout=PATIENCE)[0]
    assert waiting.returncode == 0 and output.count("built in") == 2
    endings = sorted(path.name.partition(".")[2] for path in engines.iterdir() if path.is_file())
    assert endings == ["json", "json", "layers.json", "layers.json", "plan", "plan"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_a_build_between_two_steps(
    tiny: Path, engines: Path, number: signal.Signals
) -> None:
    process = build(tiny, engines, 4.0)
    wait_for_builds(engines, 1)
    process.send_signal(number)
    errors = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130, errors
    assert "interrupted: nothing half-built is left." in errors and "Traceback" not in errors
    assert "end" not in engines.with_name("log").read_text()
    assert [path for path in engines.iterdir() if path.is_file()] == []
