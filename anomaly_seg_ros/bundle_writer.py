"""Write the files of a bundle: copy the graphs and their side files, fill in the hashes."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from anomaly_seg_ros.bundle_parts import BUNDLE_FILE
from anomaly_seg_ros.errors import BundleError
from anomaly_seg_ros.onnx_file import OnnxFormatError, read_onnx


class PlainDumper(yaml.SafeDumper):
    """Writes a value out wherever it stands: bundles know no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write_draft(
    draft: Path, description: Mapping[str, Any], stage_files: Mapping[str, Mapping[str, Path]]
) -> None:
    """Write bundle.yaml and copies of the graphs into the empty folder `draft`, unchecked.

    See `bundle.write_bundle` for the arguments. Raises BundleError.
    """
    stages = description.get("stages", [])
    extra = set(stage_files) - {stage.get("name") for stage in stages}
    if extra:
        raise BundleError(
            f"files for the stages {', '.join(sorted(extra))}, which the description does not "
            "have: add the stages or drop the files"
        )
    document = {**description, "stages": [_stage(draft, s, stage_files) for s in stages]}
    try:
        text = yaml.dump(
            document, Dumper=PlainDumper, sort_keys=False, allow_unicode=True, width=100
        )
    except yaml.YAMLError as error:
        raise BundleError(
            f"the description holds a value that plain yaml cannot say ({error}): turn arrays and "
            "numpy numbers into lists and Python numbers"
        ) from error
    (draft / BUNDLE_FILE).write_text(text, encoding="utf-8")


def _stage(
    draft: Path, stage: Mapping[str, Any], stage_files: Mapping[str, Mapping[str, Path]]
) -> dict[str, Any]:
    name = str(stage.get("name"))
    parity = {
        (entry.get("precision"), entry.get("for", "any")): entry.get("parity", {})
        for entry in stage.get("files", [])
    }
    files = []
    for key, source in stage_files.get(name, {}).items():
        precision, _, target = key.partition("@")
        target = target or "any"
        middle = "" if (precision, target) == ("fp32", "any") else f".{precision}"
        middle += "" if target == "any" else f".{target}"
        entry: dict[str, Any] = {"precision": precision, "for": target}
        entry.update(_copy(source, draft / f"{name}{middle}.onnx"))
        entry["external"] = _copy_external(source, draft)
        if not entry["external"]:
            del entry["external"]
        if parity.get((precision, target)):
            entry["parity"] = dict(parity[precision, target])
        files.append(entry)
    return {**stage, "files": files}


def _copy(source: Path, to: Path) -> dict[str, Any]:
    if not source.is_file():
        raise BundleError(f"{source} is missing: export the stage first")
    if to.exists():
        raise BundleError(f"two files of the bundle would be named {to.name}: rename one")
    shutil.copyfile(source, to)
    return {"file": to.name, "sha256": hashlib.sha256(to.read_bytes()).hexdigest()}


def _copy_external(source: Path, draft: Path) -> list[dict[str, Any]]:
    try:
        locations = read_onnx(source.read_bytes()).external
    except OnnxFormatError as error:
        raise BundleError(f"{source} is not an ONNX model ({error})") from error
    copied = []
    for location in locations:
        if Path(location).name != location:
            raise BundleError(
                f"{source} keeps weights in {location!r}: export it with its data in the same "
                "folder, or as a single file"
            )
        copied.append(_copy(source.parent / location, draft / location))
    return copied
