"""A workspace built by colcon holds what `ros2 run` and `ros2 launch` look for."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest
from builds import ROOT, run

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("colcon_ros") is None, reason="colcon is not installed"
)


@pytest.fixture(scope="module")
def workspace(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with our package in src/, built."""
    folder = tmp_path_factory.mktemp("workspace")
    shutil.copytree(source_tree, folder / "src" / "anomaly_seg_ros")
    shutil.copytree(
        ROOT / "test" / "packaging", folder / "src" / "anomaly_seg_ros" / "test" / "packaging"
    )
    colcon(folder, "build", "--event-handlers", "console_cohesion+")
    return folder


def colcon(folder: Path, *arguments: str) -> str:
    """Run colcon's command line with this Python in `folder`."""
    start = "import sys; from colcon_core.command import main; sys.exit(main())"
    return run(
        [sys.executable, "-c", start, "--log-base", "log", *arguments],
        cwd=folder,
        COLCON_EXTENSION_BLOCKLIST="colcon_core.event_handler.desktop_notification",
    )


def test_executables_lie_where_ros2_run_looks_and_take_the_python_of_the_path(
    workspace: Path,
) -> None:
    folder = workspace / "install" / "anomaly_seg_ros" / "lib" / "anomaly_seg_ros"
    scripts = sorted(folder.iterdir())
    names = ["anomaly-seg", "detector_node", "evaluator_node", "image_source_node"]
    assert [s.name for s in scripts] == names
    for script in scripts:
        assert script.stat().st_mode & 0o111
        assert script.read_text().startswith("#!/usr/bin/env python3\n")


def test_launch_config_and_bundles_are_installed(workspace: Path) -> None:
    prefix = workspace / "install" / "anomaly_seg_ros"
    share = prefix / "share" / "anomaly_seg_ros"
    for kind in ("launch", "config"):
        assert {f.name for f in (share / kind).iterdir()} == {
            f.name for f in (ROOT / kind).iterdir() if f.is_file()
        }
    assert (prefix / "share/ament_index/resource_index/packages/anomaly_seg_ros").is_file()
    source = {
        f.relative_to(ROOT) for f in (ROOT / "anomaly_seg_ros/bundles").rglob("*") if f.is_file()
    }
    (library,) = prefix.glob("lib/python*/site-packages")
    assert source
    assert all((library / file).is_file() for file in source)


def test_colcon_test_runs_our_tests_and_reads_their_result(workspace: Path) -> None:
    only_the_manifest = ["--pytest-args", "test/packaging/test_manifest.py", "-k", "rosdep"]
    colcon(workspace, "test", "--event-handlers", "console_cohesion+", *only_the_manifest)
    assert "1 test, 0 errors, 0 failures" in colcon(workspace, "test-result", "--all")
