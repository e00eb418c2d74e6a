"""TensorRT 10.3 to 11.x: engines built on this machine from a bundle's graphs, and kept.

Building takes minutes, so only `prepare` does it (`anomaly-seg engine build`, the node's configure
step); `load` takes what was built.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from anomaly_seg_ros.backends.base import Backend, Runner, choose_file, thread_count
from anomaly_seg_ros.backends.build_watch import BuildWatch
from anomaly_seg_ros.backends.engine_cache import CachedEngine, EngineCache, default_cache
from anomaly_seg_ros.backends.tensorrt_api import load_tensorrt
from anomaly_seg_ros.backends.tensorrt_build import (
    EngineOptions,
    StageSource,
    build_engine,
    engine_key,
    graph_precision,
    read_source,
)
from anomaly_seg_ros.backends.tensorrt_engine import EngineRejected, StageEngine
from anomaly_seg_ros.backends.tensorrt_memory import Gpu, GpuStream, find_gpu
from anomaly_seg_ros.backends.tensorrt_runner import TensorRTRunner
from anomaly_seg_ros.bundle import Bundle, StageSpec
from anomaly_seg_ros.bundle_parts import IMAGE
from anomaly_seg_ros.errors import BackendError

DEVICE = re.compile(r"cuda(?::(\d+))?")


@dataclass(frozen=True)
class StageKey:
    """A stage, the graph that it is built from, and the key of its engine."""

    stage: StageSpec
    source: StageSource
    key: dict[str, Any]


class TensorRTBackend(Backend):
    """Runs each stage as one TensorRT engine.

    precision: fp32 (convolutions may use TF32, the default of TensorRT), fp32_strict (they may
    not), fp16 or int8 where the bundle has such graphs: precision is in the graphs (strong typing).
    """

    name: ClassVar[str] = "tensorrt"

    def __init__(
        self, options: EngineOptions | None = None, cache: Callable[[], EngineCache] = default_cache
    ) -> None:
        """cache: called at each use, so that the environment may change."""
        self.options = options or EngineOptions()
        self._cache = cache

    def unavailable_reason(self) -> str | None:
        try:
            load_tensorrt()
            find_gpu(0)
        except BackendError as error:
            return str(error)
        return None

    def load(
        self,
        bundle: Bundle,
        device: str | None = None,
        precision: str = "fp32",
        threads: int | None = None,
    ) -> Runner:
        """Load every stage's engine on `device`: cuda (default) or cuda:N. Never builds.

        `threads` is checked and of no meaning here. Raises BackendError when an engine is not
        there, when TensorRT rejects one (it is moved aside), or when memory is short.
        """
        thread_count(threads)
        trt, gpu = self._here(device)
        cache = self._cache()
        kept = self._kept(bundle, trt, gpu, precision, cache)
        engines: dict[str, StageEngine] = {}
        stream = GpuStream(gpu.index)
        try:
            for item, engine in kept:
                try:
                    engines[item.stage.name] = self._engine(trt, bundle, item, engine)
                except EngineRejected as error:
                    cache.reject(engine, str(error))
                    mend = _build_command(bundle, gpu, precision)
                    raise BackendError(f"{error}\nBuild it anew: {mend}") from error
            return TensorRTRunner(
                bundle,
                engines,
                stream,
                device=f"cuda:{gpu.index}",
                precision=precision,
                version=str(trt.__version__),
            )
        except BaseException:
            for loaded in engines.values():
                loaded.close()
            stream.close()
            raise

    def prepare(
        self,
        bundle: Bundle,
        device: str | None = None,
        precision: str = "fp32",
        watch: BuildWatch | None = None,
    ) -> None:
        """Build the engines that are not in the cache, and try each one there."""
        self.build(bundle, device, precision, watch)

    def build(
        self,
        bundle: Bundle,
        device: str | None = None,
        precision: str = "fp32",
        watch: BuildWatch | None = None,
    ) -> dict[str, CachedEngine]:
        """The engine of each stage, built where it is not there or TensorRT rejects it.

        An engine that is rejected is moved aside and built anew once. Raises BackendError and
        BuildCancelled.
        """
        trt, gpu = self._here(device)
        cache, watch = self._cache(), watch or BuildWatch()
        stream = GpuStream(gpu.index)  # makes the GPU this thread's, and proves that it works
        try:
            return {
                item.stage.name: self._built(trt, bundle, item, gpu, cache, watch)
                for item in self._keys(bundle, trt, gpu, precision)
            }
        finally:
            stream.close()

    def missing(
        self, bundle: Bundle, device: str | None = None, precision: str = "fp32"
    ) -> list[str]:
        """The stages whose engine is not in the cache. Raises BackendError."""
        trt, gpu = self._here(device)
        cache = self._cache()
        keys = self._keys(bundle, trt, gpu, precision)
        return [item.stage.name for item in keys if cache.find(item.key) is None]

    def _here(self, device: str | None) -> tuple[Any, Gpu]:
        """TensorRT and the GPU, or BackendError with the reason and the mend."""
        match = DEVICE.fullmatch(device or "cuda")
        if match is None:
            raise BackendError(
                f"device {device!r} is unknown to backend {self.name}, which needs an NVIDIA GPU; "
                "expected cuda or cuda:N"
            )
        try:
            return load_tensorrt(), find_gpu(int(match[1] or 0))
        except BackendError as error:
            raise BackendError(f"backend {self.name} cannot run: {error}") from error

    def _keys(self, bundle: Bundle, trt: Any, gpu: Gpu, precision: str) -> list[StageKey]:
        keys = []
        for stage in bundle.stages:
            file = choose_file(stage, graph_precision(precision), self.name)
            source = read_source(bundle.name, stage, file, precision)
            key = engine_key(source, str(trt.__version__), gpu, self.options)
            keys.append(StageKey(stage, source, key))
        return keys

    def _kept(
        self, bundle: Bundle, trt: Any, gpu: Gpu, precision: str, cache: EngineCache
    ) -> list[tuple[StageKey, CachedEngine]]:
        """Every stage with its engine out of the cache. Raises BackendError naming all missing."""
        found = [(key, cache.find(key.key)) for key in self._keys(bundle, trt, gpu, precision)]
        missing = [key.stage.name for key, engine in found if engine is None]
        if missing:
            raise BackendError(
                f"no {precision} engine for {gpu.name} and TensorRT {trt.__version__} of stage "
                f"{', '.join(missing)} in {cache.folder}; build it once: "
                f"{_build_command(bundle, gpu, precision)}"
            )
        return [(key, engine) for key, engine in found if engine is not None]

    def _built(
        self,
        trt: Any,
        bundle: Bundle,
        item: StageKey,
        gpu: Gpu,
        cache: EngineCache,
        watch: BuildWatch,
    ) -> CachedEngine:
        def build() -> Any:
            return build_engine(trt, item.source, gpu, self.options, cache, watch)

        waiting = replace(watch, told=lambda step: watch.told(replace(step, what=item.source.what)))
        engine = cache.plan(item.key, build, watch=waiting)
        try:
            self._engine(trt, bundle, item, engine).close()
        except EngineRejected as error:
            cache.reject(engine, str(error))
            if engine.built:
                raise
            engine = cache.plan(item.key, build, watch=waiting)
            self._engine(trt, bundle, item, engine).close()
        return engine

    def _engine(
        self, trt: Any, bundle: Bundle, item: StageKey, engine: CachedEngine
    ) -> StageEngine:
        specs = {IMAGE: bundle.input.image, **bundle.outputs()}
        inputs = [specs[name] for name in item.stage.inputs]
        loaded = StageEngine(trt, item.stage, inputs, engine.read())
        try:
            loaded.check_precision(trt, item.source.precision)
        except BackendError:
            loaded.close()
            raise
        return loaded


def _build_command(bundle: Bundle, gpu: Gpu, precision: str) -> str:
    return (
        f"anomaly-seg engine build {bundle.folder} --precision {precision} "
        f"--device cuda:{gpu.index}"
    )
