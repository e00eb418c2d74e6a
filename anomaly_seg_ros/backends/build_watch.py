"""Following a build that takes minutes: what it tells while it goes on, and how it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from anomaly_seg_ros.errors import BackendError


class BuildCancelled(BackendError):
    """A build that was stopped because somebody asked for it. Nothing half-built is left."""


@dataclass(frozen=True)
class BuildStep:
    """Where a build stands."""

    what: str  # stage segmentation
    phase: str  # in the builder's own words
    done: float  # 0..1 of this build, as far as the builder tells


@dataclass(frozen=True)
class BuildWatch:
    """Who follows a build. Both are called often, perhaps from other threads, and must be quick."""

    told: Callable[[BuildStep], None] = lambda step: None
    cancelled: Callable[[], bool] = lambda: False

    def check(self, what: str) -> None:
        """Raise BuildCancelled when the build of `what` is not wanted any more."""
        if self.cancelled():
            raise BuildCancelled(f"the build of {what} was cancelled; start it again to have it")
