"""`anomaly-seg parity`: whether two engines give the same results, and where they part."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly_seg_ros.cli.options import INPUT_HELP, positive_int

if TYPE_CHECKING:
    from anomaly_seg_ros.bundle import Bundle
    from anomaly_seg_ros.engine_parity.compare import Engine, OnFrame
    from anomaly_seg_ros.engine_parity.errors import Gates

DEFAULT_ENGINE = "onnxruntime:fp32"
DEFAULT_IMAGES = "scenes:7"
MIN_AGREEMENT = 0.999  # what half precision keeps, with room for ties
DISPLAY_SHARE = 0.02  # of the bundle's display range: what nobody sees in the heat layer
EXIT_BEYOND = 1

EPILOG = """An engine is BACKEND[:PRECISION][@DEVICE]: onnxruntime:int8, tensorrt:fp16,
onnxruntime:fp32@cuda:0. Both run on the same frames; then each stage of the test runs alone on the
reference's tensors, and the reference goes on where the test's stages stop. So the first stage
beyond the gates is named.

Score errors count away from flipped labels (see --flip-margin), on the network's own grid, in units
of the score. Exit code: 0 within the gates, 1 beyond them, 2 nothing could be compared.

written below --out:
  parity.json           engines, gates, result, every stage and tensor, every frame
  pictures/NAME.png     image, both scores, classes, flipped labels, score difference

examples:
  anomaly-seg parity street_obsnet_lite --test onnxruntime:int8
  anomaly-seg parity ./my_bundle --test tensorrt:fp16 --images drive.mcap --out parity
  anomaly-seg parity ./old_export --against ./new_export --frames 5
  anomaly-seg parity ./my_bundle --test onnxruntime:int8 --min-agreement 0.98 --max-score-error 0.1
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `parity`."""
    parser = subparsers.add_parser(
        "parity",
        help="compare two engines: labels, score and every stage",
        description="Compare the results of two engines, stage by stage.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="shipped bundle or folder")
    parser.add_argument(
        "--ref",
        default=DEFAULT_ENGINE,
        metavar="ENGINE",
        help="what is right (default: %(default)s)",
    )
    parser.add_argument(
        "--test",
        default=None,
        metavar="ENGINE",
        help="what is judged (needed without --against; with it, default: as --ref)",
    )
    parser.add_argument(
        "--against", default=None, metavar="BUNDLE", help="judge this bundle instead of the first"
    )
    parser.add_argument(
        "--images", default=DEFAULT_IMAGES, metavar="INPUT", help=f"{INPUT_HELP} (%(default)s)"
    )
    parser.add_argument("--topic", default=None, help="image topic of a bag")
    parser.add_argument(
        "--frames",
        type=positive_int,
        default=20,
        metavar="N",
        help="compared, spread over the input (default: 20)",
    )
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="JSON and pictures")
    parser.add_argument(
        "--min-agreement",
        type=share,
        default=MIN_AGREEMENT,
        metavar="SHARE",
        help="of pixels with the same label (default: %(default)s)",
    )
    parser.add_argument(
        "--max-score-error",
        type=not_negative,
        default=None,
        metavar="X",
        help=f"of any pixel (default: {DISPLAY_SHARE:g} of the bundle's display range)",
    )
    parser.add_argument(
        "--flip-margin",
        type=not_negative_int,
        default=4,
        metavar="CELLS",
        help="around flipped labels, left out of the score's error (default: %(default)s)",
    )
    parser.add_argument(
        "--operating-point",
        default="default",
        metavar="NAME",
        help="whose threshold splits alarms from the rest (default: %(default)s)",
    )
    parser.add_argument(
        "--threads", type=positive_int, default=None, metavar="N", help="CPU threads"
    )
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Compare and print; 0 or EXIT_BEYOND. Raises AnomalySegError."""
    from anomaly_seg_ros.bundle import Bundle
    from anomaly_seg_ros.engine_name import EngineName, open_engine, parse_engine
    from anomaly_seg_ros.engine_parity.compare import (
        Engine,
        ParityError,
        ParityOptions,
        check_comparable,
        compare_engines,
    )
    from anomaly_seg_ros.engine_parity.errors import Gates
    from anomaly_seg_ros.engine_parity.report import report_json, report_lines
    from anomaly_seg_ros.replay.progress import progress_bar
    from anomaly_seg_ros.replay.sources import open_source
    from anomaly_seg_ros.replay.video import quiet_decoders
    from anomaly_seg_ros.replay.writers import write_atomically

    if args.test is None and args.against is None:
        raise ParityError(
            "nothing to compare with: name another engine (--test onnxruntime:int8) or another "
            "bundle (--against FOLDER)"
        )
    names = parse_engine(args.ref), parse_engine(args.test or args.ref)
    bundles = Bundle.open(args.bundle), Bundle.open(args.against or args.bundle)
    check_comparable(*bundles)
    low, high = bundles[0].score_display
    error = args.max_score_error
    gates = Gates(args.min_agreement, DISPLAY_SHARE * (high - low) if error is None else error)
    if args.out is not None:
        try:  # before the work, not after it
            args.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ParityError(f"cannot write {args.out}: {error.strerror}") from error
    quiet_decoders()
    with ExitStack() as stack:
        source = stack.enter_context(open_source(args.images, topic=args.topic))

        def loaded(bundle: Bundle, name: EngineName) -> Engine:
            runner = open_engine(bundle, name, args.threads)
            stack.callback(runner.close)
            return Engine(bundle, runner)

        report = compare_engines(
            loaded(bundles[0], names[0]),
            loaded(bundles[1], names[1]),
            source,
            ParityOptions(gates, args.frames, args.flip_margin, args.operating_point),
            progress=progress_bar,
            on_frame=None if args.out is None else _painter(bundles[0], gates, names, args.out),
        )
    print("\n".join(report_lines(report)))
    if args.out is not None:
        text = json.dumps(report_json(report), indent=1, allow_nan=False) + "\n"
        write_atomically(args.out / "parity.json", text.encode())
        print(f"results: {args.out}")
    return EXIT_BEYOND if report.faults else 0


def _painter(bundle: Bundle, gates: Gates, names: tuple[object, object], folder: Path) -> OnFrame:
    """A function that writes the picture of one frame."""
    from anomaly_seg_ros.engine_parity.pictures import draw_parity
    from anomaly_seg_ros.replay.writers import png_bytes, write_atomically

    shown = [str(name) for name in names]
    if shown[0] == shown[1]:
        shown = ["reference", "test"]

    def paint(frame: str, expected: Any, found: Any) -> None:
        picture = draw_parity(bundle, gates, expected, found, (shown[0], shown[1]))
        write_atomically(folder / "pictures" / f"{frame}.png", png_bytes(picture))

    return paint


def share(text: str) -> float:
    """An argparse type: a number from 0 to 1."""
    value = not_negative(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is above 1: a share, such as 0.999")
    return value


def not_negative(text: str) -> float:
    """An argparse type: a finite number of 0 or more."""
    return _number(text, float)


def not_negative_int(text: str) -> int:
    """An argparse type: a whole number of 0 or more."""
    return int(_number(text, int))


def _number(text: str, kind: Callable[[str], float]) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return value
