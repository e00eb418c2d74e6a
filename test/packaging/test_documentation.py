"""What the documents say about parameters, arguments, commands and files is what the code has."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from builds import ROOT

from anomaly_seg_ros.imaging import SUPPORTED_ENCODINGS
from anomaly_seg_ros.nodes.detector_parameters import DETECTOR_PARAMETERS
from anomaly_seg_ros.nodes.evaluator_parameters import EVALUATOR_PARAMETERS
from anomaly_seg_ros.nodes.parameters import NodeParameter
from anomaly_seg_ros.nodes.source_parameters import SOURCE_PARAMETERS

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
INTERFACE = (ROOT / "docs" / "ros_interface.md").read_text()


def row(parameter: NodeParameter) -> str:
    """The line of the parameter table."""
    default = parameter.default
    if isinstance(default, bool):
        text = str(default).lower()
    elif isinstance(default, str | tuple):
        text = json.dumps(default)
    else:
        text = "NaN" if math.isnan(default) else f"{default:g}"
    cells = (
        f"`{parameter.name}`",
        parameter.type_name,
        f"`{text}`",
        parameter.set_at,
        parameter.description,
    )
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize(
    "parameter",
    [*DETECTOR_PARAMETERS, *SOURCE_PARAMETERS, *EVALUATOR_PARAMETERS],
    ids=lambda item: item.name,
)
def test_each_parameter_is_documented_as_it_is_declared(parameter: NodeParameter) -> None:
    assert row(parameter) in INTERFACE.splitlines()


@pytest.mark.parametrize("file", ["detector", "replay"])
def test_each_launch_argument_is_documented(file: str) -> None:
    source = (ROOT / "launch" / f"{file}.launch.py").read_text()
    arguments = re.findall(r'DeclareLaunchArgument\(\s*"(\w+)"', source)
    table = INTERFACE[INTERFACE.index("## Launch files") :]
    rows = [line for line in table.splitlines() if f"| {file} |" in line]
    documented = {name for line in rows for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert documented == set(arguments)


def test_each_supported_encoding_is_documented() -> None:
    start = INTERFACE.index("### Camera encodings")
    text = INTERFACE[start : INTERFACE.index("### Diagnostics")]
    spelled_out = {name for name in SUPPORTED_ENCODINGS if not name.startswith("bayer_")}
    assert spelled_out <= set(re.findall(r"\w+", text))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings_that_exist(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), f"{document.name} links to {target}"
        if heading:
            assert heading in headings(file), f"{document.name} links to {target}"


def headings(document: Path) -> set[str]:
    """Anchors of a document's headings, as code hosts make them."""
    titles = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.replace(" ", "-") for title in plain}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_make_targets_that_are_named_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)", document.read_text()))
    assert named <= targets
