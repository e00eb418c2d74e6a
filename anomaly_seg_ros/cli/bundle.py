"""`anomaly-seg bundle`: what a bundle holds, whether it holds together, and who can run it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from anomaly_seg_ros.cli import bundle_create

if TYPE_CHECKING:
    from anomaly_seg_ros.bundle import Bundle, StageSpec
    from anomaly_seg_ros.graph_rules.check import GraphReport

EPILOG = """A bundle is the folder that holds a trained method: bundle.yaml, its ONNX graphs and the
model card. It is named by its folder or, when it came with the package, by its name.

examples:
  anomaly-seg bundle list
  anomaly-seg bundle info street_obsnet_lite
  anomaly-seg bundle check ./my_bundle
  anomaly-seg bundle create net.onnx --classes cityscapes --score max_logit --out my_bundle
"""
INFO_EPILOG = """examples:
  anomaly-seg bundle info                        the shipped default
  anomaly-seg bundle info ./my_bundle
"""
CHECK_EPILOG = """Checked are bundle.yaml, the hash of every file, the chain of tensors from
stage to stage, names, dtypes and shapes of every graph, and one frame of noise through ONNX Runtime
on the CPU. All faults are listed. Exit code: 0 sound, 2 faulty.

With --target, the graphs that this backend would run are read and judged by its rules (operators,
types, shapes, quantisation), node by node, with the mend; the backend itself is not needed. What is
listed as a warning runs, slowly or with doubts. Only onnxruntime-cpu runs a frame besides.

examples:
  anomaly-seg bundle check ./my_bundle
  anomaly-seg bundle check street_obsnet_lite && echo sound
  anomaly-seg bundle check ./my_bundle --target tensorrt
"""
EXIT_FAULTY = 2
# Keys of graph_rules.RULES; the module itself needs the package onnx.
CHECK_TARGETS = ("tensorrt", "onnxruntime-cpu")
NODES_LISTED = 8


def add_parser(subparsers: Any) -> None:
    """Add the verb `bundle` with `list`, `info`, `check` and `create`."""
    parser = subparsers.add_parser(
        "bundle",
        help="show, check or make the folder that holds a trained method",
        description="Show, check or make bundles.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    shipped = verbs.add_parser("list", help="names of the shipped bundles")
    shipped.set_defaults(handler=run_list)
    for name, handler, epilog, text in (
        ("info", run_info, INFO_EPILOG, "stages, classes, operating points, provenance"),
        ("check", run_check, CHECK_EPILOG, "find every fault, then run one frame"),
    ):
        verb = verbs.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.add_argument(
            "bundle",
            metavar="NAME",
            nargs="?",
            default=None,
            help="shipped bundle or folder (default: the shipped default)",
        )
        verb.set_defaults(handler=handler)
        if name == "check":
            verb.add_argument(
                "--target", choices=CHECK_TARGETS, help="judge the graphs by a backend's rules"
            )
    bundle_create.add_parser(verbs)


def run_list(args: argparse.Namespace) -> int:
    """Print the shipped names, one per line."""
    from anomaly_seg_ros.bundle import shipped_bundles

    for name in shipped_bundles():
        print(name)
    return 0


def run_info(args: argparse.Namespace) -> int:
    """Print what a bundle holds. Raises BundleError."""
    bundle = _open(args)
    print("\n\n".join("\n".join(part) for part in _info(bundle, colours=_colours_wanted())))
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Check a bundle and run one frame; 0 or EXIT_FAULTY. Raises BundleError with all faults."""
    if args.target is not None:
        from anomaly_seg_ros.onnx_package import need_onnx

        need_onnx("anomaly-seg bundle check --target")
    bundle = _open(args)
    files = [file.path.name for stage in bundle.stages for file in stage.files]
    print(f"{bundle.folder}: yaml, hashes, tensors and graphs agree ({', '.join(files)})")
    faulty = False
    if args.target is not None:
        from anomaly_seg_ros.graph_rules.check import check_bundle

        for report in check_bundle(bundle, args.target):
            print("\n".join(_judged(report, args.target)))
            faulty |= report.faulty
    if args.target in (None, "onnxruntime-cpu"):
        faulty |= _try(bundle)
    print("faulty" if faulty else "sound")
    return EXIT_FAULTY if faulty else 0


def _try(bundle: Bundle) -> bool:
    """Run one frame, print how that went; whether there were faults."""
    from anomaly_seg_ros.backends.trial import try_bundle

    faulty = False
    for trial in try_bundle(bundle):
        if trial.faults:
            faulty = True
            for fault in trial.faults:
                print(f"fault: {trial.precision}: {fault}", file=sys.stderr)
        else:
            print(
                f"{trial.precision}: one frame ran on ONNX Runtime (CPU) in "
                f"{trial.seconds * 1e3:.1f} ms; every tensor as declared and finite"
            )
    return faulty


def _judged(report: GraphReport, target: str) -> list[str]:
    """A graph and what the rules object to; nodes with the same trouble share a line."""
    file = report.file
    graph = f"{file.path.name}, {file.precision} for {file.target}" if file else "no graph"
    groups: dict[tuple[str, str, str], list[str]] = {}
    for finding in report.findings:
        groups.setdefault((finding.severity, finding.text, finding.mend), []).append(finding.node)
    lines = [f"{target}: {report.stage} ({graph}): {'' if groups else 'fits'}".rstrip()]
    for (severity, text, mend), nodes in groups.items():
        named = ", ".join(nodes[:NODES_LISTED])
        if len(nodes) > NODES_LISTED:
            named += f" and {len(nodes) - NODES_LISTED} more"
        lines.append(f"  {severity}: {f'{named}: ' if named else ''}{text}: {mend}")
    return lines


def _open(args: argparse.Namespace) -> Bundle:
    from anomaly_seg_ros.bundle import DEFAULT_BUNDLE, Bundle

    return Bundle.open(args.bundle or DEFAULT_BUNDLE)


def _info(bundle: Bundle, colours: bool) -> list[list[str]]:
    """The parts of the page, each a list of lines."""
    spec = bundle.input
    antialias = "area-averaged" if spec.antialias else "not antialiased"
    low, high = bundle.score_display
    head = [
        f"{bundle.name} ({bundle.method})",
        *table(
            [
                ("  folder", str(bundle.folder)),
                ("  paper", bundle.paper),
                ("  source", bundle.source),
                ("  input", f"{spec.height} x {spec.width} RGB, {spec.fit}, {antialias}"),
                (
                    "  score",
                    f"shown from {low:g} to {high:g}",
                ),
                ("  size", _bytes(_total_bytes(bundle))),
            ]
        ),
    ]
    parts = [head, ["stages", *(line for stage in bundle.stages for line in _stage(stage))]]
    rows = [("  name", "threshold", "focus", "min. region", "chosen by", "on")]
    rows += [
        (f"  {p.name}", f"{p.threshold:g}", p.focus, str(p.min_region or "-"), p.rule, p.data)
        for p in bundle.operating_points.values()
    ]
    parts.append(["operating points", *table(rows)])
    class_rows = []
    for entry in bundle.classes:
        red, green, blue = entry.color
        swatch = f"\x1b[48;2;{red};{green};{blue}m    \x1b[0m" if colours else ""
        drivable = "drivable" if entry.drivable else ""
        class_rows.append((f"  {entry.id}", entry.name, f"{red},{green},{blue}", drivable, swatch))
    parts.append(["classes", *table(class_rows)])
    if bundle.provenance:
        parts.append(["provenance", *_tree(bundle.provenance, "  ")])
    return parts


def _stage(stage: StageSpec) -> list[str]:
    lines = [f"  {stage.name}: {', '.join(stage.inputs)} ->"]
    lines += table([("   ", spec.name, spec.dtype, _shape(spec.shape)) for spec in stage.outputs])
    for file in stage.files:
        size = _bytes(file.path.stat().st_size)
        lines.append(f"    {file.path.name}: {file.precision} for {file.target}, {size}")
        lines += _tree({"parity": file.parity} if file.parity else {}, "      ")
    return lines


def _tree(value: Any, indent: str) -> list[str]:
    """Free-form yaml content as indented lines."""
    if not isinstance(value, dict):
        return [f"{indent}{value}"]
    lines = []
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            lines += [f"{indent}{key}:", *_tree(inner, indent + "  ")]
        elif isinstance(inner, list) and inner:
            lines += [f"{indent}{key}:", *(f"{indent}  - {item}" for item in inner)]
        else:
            shown = "-" if inner in ({}, [], None) else inner
            lines.append(f"{indent}{key}: {shown}")
    return lines


def table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows of cells as lines whose columns stand below each other."""
    listed = [tuple(row) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*listed, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in listed
    ]


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(str(size) for size in shape)


def _total_bytes(bundle: Bundle) -> int:
    files = {f.path for stage in bundle.stages for f in stage.files}
    files |= {e.path for stage in bundle.stages for f in stage.files for e in f.external}
    return sum(path.stat().st_size for path in files)


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def _colours_wanted() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ
