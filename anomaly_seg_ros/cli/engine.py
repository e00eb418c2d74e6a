"""`anomaly-seg engine`: build a bundle's engines for the GPU of this machine, list, clear."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anomaly_seg_ros.backends.build_watch import BuildStep
    from anomaly_seg_ros.backends.engine_cache import CacheEntry, EngineCache

EPILOG = """An engine is a stage of a bundle, compiled by TensorRT for one kind of GPU and one
version of TensorRT. Building takes minutes, once; what was built is kept in
~/.cache/anomaly_seg_ros/engines or the folder that ANOMALY_SEG_ENGINES names.

examples:
  anomaly-seg engine build                          the shipped default, fp32
  anomaly-seg engine build ./my_bundle --precision fp16
  anomaly-seg engine list
  anomaly-seg engine clear
"""
BUILD_EPILOG = """Engines that are there already are tried, not built again. Ctrl-C stops a build
and leaves nothing half-built. `--backend tensorrt`, and `auto`, find the engines then.

fp32 lets convolutions use TF32 on GPUs that have it, as TensorRT does by default; fp32_strict does
not. fp16 and int8 need a bundle with such graphs.

examples:
  anomaly-seg engine build street_obsnet_lite
  anomaly-seg engine build ./my_bundle --precision fp16 --device cuda:1
  ANOMALY_SEG_ENGINES=/opt/engines anomaly-seg engine build ./my_bundle
"""
LIST_EPILOG = """examples:
  anomaly-seg engine list
  anomaly-seg engine list --cache /opt/engines
"""
CLEAR_EPILOG = """examples:
  anomaly-seg engine clear                          everything
  anomaly-seg engine clear 3fa1 77c0                the engines whose keys begin so
"""
PRECISIONS = ("fp32", "fp32_strict", "fp16", "int8")
SHOWN_KEY = 12  # characters of a key in the list


def add_parser(subparsers: Any) -> None:
    """Add the verb `engine` with `build`, `list` and `clear`."""
    parser = subparsers.add_parser(
        "engine",
        help="build the engines of a bundle for this GPU, list and clear them",
        description="Build, list and clear the engines of this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    build = _verb(verbs, "build", "build what is not there yet", BUILD_EPILOG, run_build)
    build.add_argument(
        "bundle",
        metavar="BUNDLE",
        nargs="?",
        default=None,
        help="shipped bundle or folder (default: the shipped default)",
    )
    build.add_argument(
        "--precision", choices=PRECISIONS, default="fp32", help="default: %(default)s"
    )
    build.add_argument("--device", default=None, help="cuda or cuda:N (default: cuda:0)")
    for verb in (
        build,
        _verb(verbs, "list", "what is there, last used first", LIST_EPILOG, run_list),
        clear := _verb(verbs, "clear", "delete engines", CLEAR_EPILOG, run_clear),
    ):
        verb.add_argument(
            "--cache", type=Path, default=None, metavar="DIR", help="folder of the engines"
        )
    clear.add_argument(
        "keys", metavar="KEY", nargs="*", help="beginnings of keys, see `list` (default: all)"
    )


def run_build(args: argparse.Namespace) -> int:
    """Build a bundle's engines. Raises BundleError and BackendError."""
    from anomaly_seg_ros.backends.build_watch import BuildCancelled, BuildWatch
    from anomaly_seg_ros.backends.tensorrt_backend import TensorRTBackend
    from anomaly_seg_ros.bundle import DEFAULT_BUNDLE, Bundle

    bundle = Bundle.open(args.bundle or DEFAULT_BUNDLE)
    cache = _cache(args)
    progress = Progress()
    args.interrupted = "nothing half-built is left."
    with _interrupts() as interrupted:
        try:
            engines = TensorRTBackend(cache=lambda: cache).build(
                bundle,
                args.device,
                args.precision,
                BuildWatch(progress.told, lambda: bool(interrupted)),
            )
        except BuildCancelled as error:
            raise KeyboardInterrupt from error
        finally:
            progress.end()
    for stage, engine in engines.items():
        size = f"{engine.side_car['bytes'] / 1e6:.1f} MB"
        how = f"built in {engine.side_car['seconds']:.1f} s" if engine.built else "was there"
        print(f"{stage}: {how}, {size}, {engine.path}")
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Print what the cache holds."""
    from anomaly_seg_ros.cli.bundle import table

    cache = _cache(args)
    entries = cache.entries()
    if not entries:
        print(f"no engines in {cache.folder}")
        return 0
    rows = [("key", "bundle", "stage", "precision", "for", "MB", "built", "used (UTC)")]
    print("\n".join(table(rows + [_row(entry) for entry in entries])))
    total = sum(entry.size for entry in entries)
    print(f"\n{total / 1e6:.1f} MB of {cache.limit_bytes / 1e6:.0f} MB in {cache.folder}")
    return 0


def run_clear(args: argparse.Namespace) -> int:
    """Delete entries. Raises BackendError for a beginning that fits none."""
    from anomaly_seg_ros.errors import BackendError

    cache = _cache(args)
    entries = cache.entries()
    for key in args.keys:
        if not any(entry.name.startswith(key) for entry in entries):
            raise BackendError(
                f"no key in {cache.folder} begins with {key!r}; see `anomaly-seg engine list`"
            )
    freed = 0 if args.keys else cache.clear_timings()
    for entry in entries:
        if args.keys and not entry.name.startswith(tuple(args.keys)):
            continue
        if cache.remove(entry):
            freed += entry.size
            print(f"deleted {entry.name[:SHOWN_KEY]}")
        else:
            print(f"kept {entry.name[:SHOWN_KEY]}: it is being built", file=sys.stderr)
    print(f"{freed / 1e6:.1f} MB freed in {cache.folder}")
    return 0


class Progress:
    """A line for each phase where nobody watches, one line that changes where somebody does."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._last = ""

    def told(self, step: BuildStep) -> None:
        text = f"{step.what}: {step.done:4.0%}"
        if self._live:
            text += f" {step.phase}"
            print(f"\r\x1b[K{text[:100]}", end="", file=sys.stderr, flush=True)
        elif text != self._last and int(100 * step.done) % 10 == 0:
            print(text, file=sys.stderr, flush=True)
        self._last = text

    def end(self) -> None:
        """Leave the terminal at the beginning of a line."""
        if self._live and self._last:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM fill the list; a second one acts as always.

    An exception out of a signal handler inside TensorRT's C++ would end the process.
    """
    told: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        told.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, note)
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _verb(verbs: Any, name: str, text: str, epilog: str, handler: Any) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.set_defaults(handler=handler)
    return verb


def _cache(args: argparse.Namespace) -> EngineCache:
    from anomaly_seg_ros.backends.engine_cache import EngineCache, default_cache

    return default_cache() if args.cache is None else EngineCache(args.cache)


def _row(entry: CacheEntry) -> tuple[str, ...]:
    """One line of the list; dashes where its builder notes nothing or it is damaged."""
    from datetime import datetime, timezone

    key, notes = entry.side_car.get("key", {}), entry.side_car.get("notes", {})
    runtime = "-"
    if "tensorrt" in key:
        runtime = f"{key['gpu']}, TensorRT {key['tensorrt']}"
    elif "torch" in key:
        runtime = f"{key.get('device', '-')}, torch {key['torch']}"
    used = datetime.fromtimestamp(entry.used, timezone.utc)
    return (
        entry.name[:SHOWN_KEY],
        str(notes.get("bundle", "-")),
        str(notes.get("stage", "-" if entry.side_car else "damaged")),
        str(key.get("precision", "-")),
        runtime,
        f"{entry.size / 1e6:.1f}",
        str(entry.side_car.get("built", "-"))[:10],
        f"{used:%Y-%m-%d %H:%M}",
    )
