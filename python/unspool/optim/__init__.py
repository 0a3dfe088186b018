"""Optimizers and learning-rate schedules. The arithmetic of a step is one native call a parameter group."""

from __future__ import annotations

from unspool.optim import lr_scheduler, optimizer
from unspool.optim.adam import Adam
from unspool.optim.optimizer import Optimizer
from unspool.optim.sgd import SGD

__all__ = ["SGD", "Adam", "Optimizer", "lr_scheduler", "optimizer"]
