"""`anomaly-seg doctor` in real processes: healthy, and with modules that crash, hang or lie."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from anomaly_seg_ros.doctor import FAIL, surroundings
from anomaly_seg_ros.doctor.surroundings import Imported, is_there
from anomaly_seg_ros.doctor.trial import bundle_faults, cache_state

ROOT = Path(__file__).parents[2]


def doctor(*options: str, path: Path | None = None, **environ: str) -> tuple[int, str]:
    """Run the command with `path` before all other modules; exit code and output."""
    places = [str(path)] if path else []
    environment = {**os.environ, **environ, "PYTHONPATH": os.pathsep.join([*places, str(ROOT)])}
    command = [sys.executable, "-m", "anomaly_seg_ros.cli.main", "doctor", *options]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, cwd=path or ROOT
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def by_name(text: str) -> dict[str, dict[str, Any]]:
    """Findings of the JSON by what they are about."""
    areas = json.loads(text)["areas"]
    return {finding["what"]: finding for found in areas.values() for finding in found}


def light(folder: Path) -> None:
    """Stand-ins for what is slow to import: they are none of these tests' business."""
    for module in ("torch", "rclpy"):
        (folder / f"{module}.py").write_text("raise ImportError('stand-in')\n")


def test_this_environment_is_examined_in_full(tmp_path: Path) -> None:
    engines = tmp_path / "engines"
    code, text = doctor("--json", ANOMALY_SEG_ENGINES=str(engines), AMENT_PREFIX_PATH="")
    found = by_name(text)
    for needed in ("numpy", "OpenCV", "PyYAML", "ONNX Runtime", "backend onnxruntime"):
        assert found[needed]["mark"] == "ok", found[needed]
    assert found["engine cache"]["mark"] == "ok" and not engines.exists()  # it only looks
    assert found["one frame"]["mark"] == "ok"
    assert found["street_obsnet_lite"]["found"].startswith("yaml, hashes")
    assert code == (1 if json.loads(text)["failed"] else 0)


def test_modules_that_crash_or_lie_are_findings_and_the_page_is_whole(tmp_path: Path) -> None:
    light(tmp_path)
    (tmp_path / "cv2.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n")
    (tmp_path / "tensorrt.py").write_text("print('noise'); __version__ = '10.13.3'\n")
    (tmp_path / "tqdm.py").write_text("raise RuntimeError('broken on purpose')\n")
    code, text = doctor(path=tmp_path)
    assert code == 1
    assert "OpenCV" in text and "it ended the interpreter (SIGSEGV)" in text
    assert "10.13.3" in text
    assert "RuntimeError: broken on purpose" in text
    assert text.splitlines()[-1].endswith("mend what is marked [FAIL]")


def test_without_numpy_the_doctor_still_speaks(tmp_path: Path) -> None:
    light(tmp_path)
    (tmp_path / "numpy.py").write_text("raise ImportError('numpy is damaged')\n")
    code, text = doctor("--json", path=tmp_path)
    assert code == 1
    found = by_name(text)
    assert found["numpy"]["mark"] == FAIL
    assert "could not be tried: ImportError: numpy is damaged" in found["backends"]["found"]


def test_a_module_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sleepy.py").write_text("import time; time.sleep(60)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(surroundings, "IMPORT_SECONDS", 0.5)
    monkeypatch.setattr(surroundings, "MODULES", {"sleepy": "''"})
    assert surroundings._import("sleepy", {}) == Imported(fault="it did not end within 0 s")


@pytest.mark.parametrize(
    ("module", "there"),
    [("json", True), ("json.decoder", True), ("nowhere_at_all", False), ("nowhere.at.all", False)],
)
def test_a_module_is_looked_for_without_importing_it(module: str, there: bool) -> None:
    assert is_there(module) is there


def test_a_damaged_shipped_bundle_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tiny_bundle import write_tiny_bundle

    write_tiny_bundle(tmp_path / "sound")
    broken = write_tiny_bundle(tmp_path / "broken")
    (broken / "observer.onnx").write_bytes(b"cut off")
    monkeypatch.setattr("anomaly_seg_ros.bundle.SHIPPED", tmp_path)
    faults = bundle_faults()
    assert faults["sound"] == "" and "observer.onnx" in faults["broken"]


def test_the_cache_tells_its_engines_and_what_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anomaly_seg_ros.backends.engine_cache import EngineCache

    monkeypatch.setenv("ANOMALY_SEG_ENGINES", str(tmp_path / "engines"))
    cache = EngineCache(tmp_path / "engines")
    cache.plan({"tensorrt": "11.4.0"}, lambda: b"an engine")
    cache.reject(cache.plan({"tensorrt": "10.3.0"}, lambda: b"another"), "for a test")
    state = cache_state()
    assert [engine["key"] for engine in state["engines"]] == [{"tensorrt": "11.4.0"}]
    assert state["damaged"] == 1 and state["writable"] and state["bytes"] > 0


def test_a_cache_folder_that_is_not_there_is_judged_by_the_folder_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANOMALY_SEG_ENGINES", str(tmp_path / "a" / "b"))
    state = cache_state()
    assert state["writable"] and state["engines"] == [] and not (tmp_path / "a").exists()


def test_the_doctor_loads_nothing_heavy_itself() -> None:
    code = (
        "import sys\n"
        "import anomaly_seg_ros.doctor\n"
        "print([n for n in ('numpy', 'cv2', 'yaml', 'onnxruntime', 'torch', 'rclpy')"
        " if n in sys.modules])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stdout == "[]\n", done.stderr
