"""One run of the detector over a recording: what is missing, the loop, what is made of it all."""

from __future__ import annotations

import hashlib
import itertools
import json
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from anomaly_seg_ros import __version__
from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.bundle_parts import SYNTHESIS
from anomaly_seg_ros.detector import MAPS, Detection, Detector
from anomaly_seg_ros.errors import DetectorError, ReplayError
from anomaly_seg_ros.replay.bag_writer import write_bag
from anomaly_seg_ros.replay.drawing import Painter
from anomaly_seg_ros.replay.manifest import FrameRecord, Manifest
from anomaly_seg_ros.replay.progress import Progress
from anomaly_seg_ros.replay.sources import BadFrame, Frame, Source
from anomaly_seg_ros.replay.video_writer import write_video
from anomaly_seg_ros.replay.writers import FrameWriter, ScoreFormat

# What each kind of file is made of. Names that the bundle does not make are left out.
NEEDED: dict[str, tuple[str, ...]] = {
    "overlay": MAPS,
    "overlay_part": MAPS,
    "panels": ("labels", "score", SYNTHESIS),
    "score": ("score",),
    "mask": ("mask",),
    "labels": ("labels",),
    SYNTHESIS: (SYNTHESIS,),
    "bag": (*MAPS, SYNTHESIS),
}
RESULTS = ("overlay", "panels", "video", "score", "mask", "labels", SYNTHESIS, "bag")  # to save
WRITERS = 2  # threads that encode and write while the next frame is being computed
IN_FLIGHT = 4  # frames that may wait for them
STILL_FPS = 10.0  # video rate for recordings without one


@dataclass(frozen=True)
class DetectOptions:
    """What to keep of which frames: every 3 takes frames 0, 3, 6, ...; limit takes so many."""

    save: frozenset[str] = frozenset({"overlay", "score", "mask"})
    score: ScoreFormat = field(default_factory=ScoreFormat)
    every: int = 1
    limit: int | None = None
    fps: float | None = None  # of the video; None: the recording's own
    storage: str = "mcap"  # of the result bag: mcap | sqlite3

    def __post_init__(self) -> None:
        if unknown := self.save - set(RESULTS):
            raise ReplayError(
                f"cannot save {', '.join(sorted(unknown))}: expected some of {', '.join(RESULTS)}"
            )
        if not self.save:
            raise ReplayError(f"nothing to save: name some of {', '.join(RESULTS)}")
        if self.every < 1 or (self.limit is not None and self.limit < 1):
            raise ReplayError(f"every {self.every}, limit {self.limit}: expected 1 or more")
        if not self.score.low < self.score.high:
            raise ReplayError(
                f"score range {self.score.low} to {self.score.high}: expected low < high"
            )


@dataclass
class DetectionRun:
    """One call of replay: the loop over frames, then what is made of all of them."""

    source: Source
    detector: Detector
    options: DetectOptions
    writer: FrameWriter
    manifest: Manifest

    def __post_init__(self) -> None:
        self.painter = Painter(self.detector.bundle)
        self.wanted_outputs = _wanted_outputs(self.writer.kinds, self.detector.bundle)
        # Parts of a video or bag are gone once it is made; they are needed again when it changes.
        self.kinds = self._kinds_beyond_products()
        self.missing = self._missing()
        if self.missing is None or self.missing:
            self.kinds = self.writer.kinds
            self.missing = self._missing()

    def frames(self, progress: Progress) -> None:
        """Process every selected frame that has no result yet."""
        if self.missing is not None and not self.missing:
            return
        last = max(self.missing) if self.missing is not None else self._last_index()
        done = len(self.selected())
        self.detector.warmup(1)
        with progress("frames", self._total(), done) as advance, self._recorder(advance) as record:
            for frame in self.source.frames(self._needs):
                if isinstance(frame, BadFrame):
                    self.manifest.add_bad(frame.index, frame.name, frame.reason)
                else:
                    self._detect(frame, record)
                if last is not None and frame.index >= last:
                    return
        for text in self.source.warnings:
            self.manifest.add_warning(text)
        self.manifest.add_product("end", self._choice())

    def selected(self) -> list[FrameRecord]:
        """Finished frames of this run's choice, in recording order."""
        out, kinds = self.writer.out, self.kinds
        return [record for record in self._noted() if record.complete(out, kinds)]

    def products(self, records: list[FrameRecord], progress: Progress) -> dict[str, Any]:
        """Join the frames' results to the video and the bag."""
        made: dict[str, Any] = {}
        out = self.writer.out
        if "video" in self.options.save and records:
            fps = self.options.fps or self._fps(records)
            path = out / "overlay.mp4"
            if not self._made("video"):
                with progress("video", len(records), 0) as advance:
                    kind = self._video_kind()
                    pictures = [out / record.files[kind][0] for record in records]
                    write_video(pictures, path, fps, advance)
                self.manifest.add_product("video", self._key("video"))
            made["video"] = {"file": path.name, "fps": round(fps, 6), "frames": len(records)}
        if "bag" in self.options.save and records:
            folder = out / "result_bag"
            if not self._made("bag"):
                with progress("bag", len(records), 0) as advance:
                    write_bag(records, out, folder, self.options.storage, advance)
                self.manifest.add_product("bag", self._key("bag"))
            made["bag"] = {"folder": folder.name, "storage": self.options.storage}
        return made

    def report(self, records: list[FrameRecord], products: dict[str, Any]) -> dict[str, Any]:
        info = self.source.describe()
        bad = self.manifest.bad
        warnings = list(dict.fromkeys([*self.manifest.warnings, *self.source.warnings]))
        clipped = sum(record.clipped for record in records)
        if clipped:
            warnings.append(
                f"{clipped} score pixels lie outside {self.options.score.low} to"
                f" {self.options.score.high} and were clipped: widen --score-range or use npz"
            )
        steps = dict.fromkeys(key for record in records for key in record.seconds)
        return {
            "version": __version__,
            "input": asdict(info),
            "settings": self.manifest.settings,
            "save": sorted(self.options.save),
            "limit": self.options.limit,
            "runner": asdict(self.detector.runner.describe()),
            "frames": len(records),
            "frames_promised": self._total(),
            "bad_frames": [
                {"index": index, "name": bad[index][0], "reason": bad[index][1]}
                for index in sorted(bad)
                if self._chosen(index)
            ],
            "warnings": warnings,
            "frames_with_anomaly": sum(1 for record in records if record.anomalous),
            "seconds": {
                step: percentiles([r.seconds[step] for r in records if step in r.seconds])
                for step in steps
            },
            "products": products,
        }

    def _detect(self, frame: Frame, record: Callable[[Frame, Detection], None]) -> None:
        begin = time.perf_counter()
        try:
            found = self.detector.detect([frame.image], self.wanted_outputs)[0]
        except DetectorError as error:  # of this picture: its size, or a region of another size
            self.manifest.add_bad(frame.index, frame.name, str(error))
            return
        found.seconds["detect"] = time.perf_counter() - begin
        record(frame, found)

    @contextmanager
    def _recorder(
        self, advance: Callable[[], object]
    ) -> Iterator[Callable[[Frame, Detection], None]]:
        """Write results on other threads, in bounded number; note them in order, come what may."""
        waiting: deque[tuple[Frame, Detection, Future[Any]]] = deque()

        def settle() -> None:
            frame, found, future = waiting[0]  # Ctrl-C may come at any line: note it, then forget
            files, clipped = future.result()
            before = self.manifest.frames.get(frame.index)
            if before is not None:  # other results of the same settings stay known
                files = {**before.files, **files}
                clipped = max(clipped, before.clipped)
            self.manifest.add_frame(_record(frame, found, files, clipped))
            waiting.popleft()
            advance()

        with ThreadPoolExecutor(WRITERS) as pool:

            def record(frame: Frame, found: Detection) -> None:
                waiting.append((frame, found, pool.submit(self._write, frame, found)))
                while len(waiting) > IN_FLIGHT or (waiting and waiting[0][2].done()):
                    settle()

            try:
                yield record
            finally:
                while waiting:
                    settle()

    def _write(self, frame: Frame, found: Detection) -> tuple[dict[str, tuple[str, int]], int]:
        kinds, painter = self.writer.kinds, self.painter
        drawn = bool(kinds & {"overlay", "overlay_part"})
        overlay = painter.overlay(frame.image, found) if drawn else None
        panels = painter.panels(frame.image, found) if "panels" in kinds else None
        return self.writer.write(frame, found, overlay, panels)

    def _chosen(self, index: int) -> bool:
        last = self._last_index()
        return index % self.options.every == 0 and (last is None or index <= last)

    def _last_index(self) -> int | None:
        limit = self.options.limit
        return None if limit is None else (limit - 1) * self.options.every

    def _choice(self) -> str:
        return f"every {self.options.every}, limit {self.options.limit}"

    def _noted(self) -> list[FrameRecord]:
        """Frames of this run's choice that the manifest knows, in recording order."""
        frames = self.manifest.frames
        return [frames[index] for index in sorted(frames) if self._chosen(index)]

    def _missing(self) -> set[int] | None:
        """Indices of selected frames without a result; None when nobody knows them yet."""
        manifest = self.manifest
        ready = {r.index for r in self._noted() if r.complete(self.writer.out, self.kinds)}
        if manifest.products.get("end") == self._choice():  # seen to its end, shorter or not
            return {index for index in manifest.frames if self._chosen(index)} - ready
        chosen = set(filter(self._chosen, range(len(self.source))))
        return chosen - ready - manifest.bad.keys() if chosen else None

    def _needs(self, index: int) -> bool:
        if self.missing is not None:
            return index in self.missing
        record = self.manifest.frames.get(index)
        ready = record is not None and record.complete(self.writer.out, self.kinds)
        return self._chosen(index) and not ready and index not in self.manifest.bad

    def _total(self) -> int:
        """Frames this run should deliver; 0 = unknown."""
        count = len(self.source)
        total = -(-count // self.options.every)
        return min(total, self.options.limit) if self.options.limit and total else total

    def _kinds_beyond_products(self) -> frozenset[str]:
        kinds = set(self.writer.kinds)
        if self._made("video"):
            kinds.discard("overlay_part")
        if self._made("bag"):
            kinds.discard("bag")
        return frozenset(kinds)

    def _video_kind(self) -> str:
        return "overlay" if "overlay" in self.options.save else "overlay_part"

    def _made(self, product: str) -> bool:
        path = self.writer.out / ("overlay.mp4" if product == "video" else "result_bag")
        return self.manifest.products.get(product) == self._key(product) and path.exists()

    def _key(self, product: str) -> str:
        """Changes with the frames a product is made of and how."""
        how = self.options.fps if product == "video" else self.options.storage
        kind = self._video_kind() if product == "video" else "bag"
        parts = [[r.index, r.name, r.files.get(kind, ("", 0))[1]] for r in self._noted()]
        return hashlib.sha256(json.dumps([how, parts]).encode()).hexdigest()[:16]

    def _fps(self, records: list[FrameRecord]) -> float:
        """The rate of the selected frames: by their stamps, else the recording's, else 10."""
        stamps = [record.stamp_ns for record in records if record.stamp_ns is not None]
        steps = [b - a for a, b in itertools.pairwise(stamps) if b > a]
        if steps:
            return min(240.0, max(0.5, 1e9 / statistics.median(steps)))
        fps = self.source.describe().fps
        return fps / self.options.every if fps else STILL_FPS


def _wanted_outputs(kinds: frozenset[str], bundle: Bundle) -> tuple[str, ...]:
    needed = {name for kind in kinds for name in NEEDED[kind]}
    needed.add("mask")  # always: the report counts the frames that hold an anomaly
    made = (*MAPS, *bundle.outputs())
    return tuple(name for name in dict.fromkeys(made) if name in needed)


def _record(
    frame: Frame, found: Detection, files: dict[str, tuple[str, int]], clipped: int
) -> FrameRecord:
    height, width = frame.image.shape[:2]
    return FrameRecord(
        frame.index,
        frame.name,
        (height, width),
        frame.stamp_ns,
        frame.log_ns,
        frame.frame_id,
        frame.topic,
        files,
        {step: round(seconds, 6) for step, seconds in found.seconds.items()},
        int(np.count_nonzero(found.mask)) if found.mask is not None else 0,
        clipped,
    )


def percentiles(values: list[float]) -> dict[str, float]:
    """Median and 95th percentile in seconds, as a report states them."""
    return {
        "p50": round(float(np.percentile(values, 50)), 6),
        "p95": round(float(np.percentile(values, 95)), 6),
    }
