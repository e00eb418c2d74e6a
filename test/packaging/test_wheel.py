"""What `pip install` brings to a vehicle, read from the wheel and from an installed copy."""

from __future__ import annotations

import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from builds import ROOT, run

from anomaly_seg_ros import __version__
from anomaly_seg_ros.bundle import DEFAULT_BUNDLE

DISTRIBUTION = f"anomaly_seg_ros-{__version__}"
DATA = f"{DISTRIBUTION}.data/data/"


def test_every_module_and_data_file_of_the_package_is_in_the_wheel(
    wheel: zipfile.ZipFile, source_tree: Path
) -> None:
    package = source_tree / "anomaly_seg_ros"
    files = {str(f.relative_to(source_tree)) for f in package.rglob("*") if f.is_file()}
    missing = files - set(wheel.namelist())
    assert not missing


def test_the_default_bundle_is_in_the_wheel_with_graphs_description_and_model_card(
    wheel: zipfile.ZipFile,
) -> None:
    folder = f"anomaly_seg_ros/bundles/{DEFAULT_BUNDLE}/"
    names = {n.removeprefix(folder) for n in wheel.namelist() if n.startswith(folder)}
    assert {"bundle.yaml", "MODEL_CARD.md"} <= names
    assert any(name.endswith(".onnx") for name in names)


@pytest.mark.parametrize("kind", ["launch", "config"])
def test_launch_and_config_files_go_where_ros2_launch_looks(
    wheel: zipfile.ZipFile, kind: str
) -> None:
    share = f"{DATA}share/anomaly_seg_ros/{kind}/"
    installed = {n.removeprefix(share) for n in wheel.namelist() if n.startswith(share)}
    assert installed == {file.name for file in (ROOT / kind).iterdir() if file.is_file()}
    assert installed


def test_ament_finds_the_package_by_marker_and_manifest(wheel: zipfile.ZipFile) -> None:
    assert f"{DATA}share/ament_index/resource_index/packages/anomaly_seg_ros" in wheel.namelist()
    assert (
        wheel.read(f"{DATA}share/anomaly_seg_ros/package.xml")
        == (ROOT / "package.xml").read_bytes()
    )


def test_executables_for_ros2_run_may_be_executed_and_match_the_console_scripts(
    wheel: zipfile.ZipFile,
) -> None:
    folder = f"{DATA}lib/anomaly_seg_ros/"
    scripts = [i for i in wheel.infolist() if i.filename.startswith(folder)]
    assert all(script.external_attr >> 16 & 0o777 == 0o755 for script in scripts)
    entries = wheel.read(f"{DISTRIBUTION}.dist-info/entry_points.txt").decode()
    console = {line.split(" = ")[0] for line in entries.splitlines() if " = " in line}
    assert {script.filename.removeprefix(folder) for script in scripts} == console


def test_the_wheel_brings_no_training_code_and_no_tests(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert top == {"anomaly_seg_ros", f"{DISTRIBUTION}.data", f"{DISTRIBUTION}.dist-info"}


def test_an_installed_copy_opens_its_own_bundle_far_from_the_checkout(
    wheel_file: Path, tmp_path: Path
) -> None:
    prefix = tmp_path / "prefix"
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--prefix", str(prefix)]
    run([sys.executable, *install, "--ignore-installed", str(wheel_file)], cwd=tmp_path)
    library = sysconfig.get_path("purelib", vars={"base": str(prefix)})
    executable = prefix / "lib" / "anomaly_seg_ros" / "anomaly-seg"

    described = run(
        [sys.executable, str(executable), "bundle", "info", DEFAULT_BUNDLE],
        cwd=tmp_path,
        PYTHONPATH=library,
    )

    assert str(prefix) in described
