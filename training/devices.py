"""What a training shares among devices and loader workers: draws, counts, threads."""

from __future__ import annotations

import cv2
import lightning
import numpy as np
import torch


def seed_step(module: lightning.LightningModule, seed: int, index: int) -> None:
    """Noise and dropout of a step depend on (seed, epoch, step, device) alone: a run that goes on
    draws what it would have drawn."""
    entropy = (seed, module.current_epoch, index, module.global_rank)
    torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))


def sum_of_devices(module: lightning.LightningModule, counts: np.ndarray) -> np.ndarray:
    """The sum of every device's int64 counts."""
    total = torch.from_numpy(counts).to(module.device)
    return module.trainer.strategy.reduce(total, reduce_op="sum").cpu().numpy()


def one_thread(worker: int) -> None:
    """For a loader's `worker_init_fn`: its workers share the cores with the training."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
