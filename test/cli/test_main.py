"""`anomaly-seg` explains itself quickly, without ROS, and ends with the exit code it promises."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from anomaly_seg_ros.cli import main as cli
from anomaly_seg_ros.errors import ReplayError

ROOT = Path(__file__).parents[2]


def python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_help_lists_every_verb_and_loads_nothing_heavy() -> None:
    heavy = ["rclpy", "cv2", "numpy", "onnxruntime", "onnx", "torch", "rosbags", "yaml", "tqdm"]
    done = python(
        "import sys\n"
        "from anomaly_seg_ros.cli.main import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        f"print('loaded:', [name for name in {heavy} if name in sys.modules])\n"
    )
    assert done.returncode == 0, done.stderr
    for verb in ("detect", "evaluate", "demo", "bench", "bundle"):
        assert f"\n    {verb}" in done.stdout
    assert done.stdout.endswith("loaded: []\n")


@pytest.mark.parametrize("verb", ["detect", "evaluate"])
def test_help_of_a_verb_shows_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([verb, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.count(f"  anomaly-seg {verb} ") >= 4


def test_missing_or_unknown_verb_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["paint"]):
        with pytest.raises(SystemExit) as end:
            cli.main(arguments)
        assert end.value.code == 2
    assert "paint" in capsys.readouterr().err


def run_handler(monkeypatch: pytest.MonkeyPatch, raised: BaseException, **extra: str) -> int:
    """main with one verb whose handler raises."""

    def handler(args: argparse.Namespace) -> int:
        raise raised

    parser = argparse.ArgumentParser()
    parser.set_defaults(handler=handler, **extra)
    monkeypatch.setattr(cli, "build_parser", lambda: parser)
    return cli.main([])


def test_own_errors_are_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_handler(monkeypatch, ReplayError("the disk is full")) == 2
    assert capsys.readouterr().err == "error: the disk is full\n"


def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        run_handler(monkeypatch, ZeroDivisionError())


def test_ctrl_c_ends_with_130_and_says_what_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_handler(monkeypatch, KeyboardInterrupt(), interrupted="it can be resumed.")
    assert code == 130
    assert "interrupted: it can be resumed." in capsys.readouterr().err


def test_reader_that_leaves_a_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m anomaly_seg_ros.cli.main evaluate --help | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.startswith("usage: anomaly-seg evaluate")
    assert done.stderr == ""


def test_a_python_without_opencv_is_told_where_to_get_it(tmp_path: Path) -> None:
    done = python(
        "import sys\n"
        "sys.modules['cv2'] = None  # importing it fails as if it were not installed\n"
        "from anomaly_seg_ros.cli.main import main\n"
        f"sys.exit(main(['detect', 'scenes:1', '--out', {str(tmp_path / 'out')!r}]))\n"
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "pip install opencv-python-headless" in done.stderr
