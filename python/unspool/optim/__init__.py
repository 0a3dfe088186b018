"""Optimizers and learning-rate schedules. A step of SGD, Adam and AdamW is one native call a parameter group."""

from __future__ import annotations

from typing import Any

from unspool.optim import lr_scheduler, optimizer
from unspool.optim.adafactor import Adafactor
from unspool.optim.adagrad import Adadelta, Adagrad
from unspool.optim.adam import Adam
from unspool.optim.adam_variants import Adamax, NAdam, RAdam
from unspool.optim.adamw import AdamW
from unspool.optim.asgd import ASGD
from unspool.optim.lbfgs import LBFGS
from unspool.optim.optimizer import Optimizer
from unspool.optim.rmsprop import RMSprop
from unspool.optim.rprop import Rprop
from unspool.optim.sgd import SGD

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
    "optimizer",
    "swa_utils",
]


def __getattr__(name: str) -> Any:
    if name == "swa_utils":  # on first use: it needs nn
        from importlib import import_module

        return import_module("unspool.optim.swa_utils")
    raise AttributeError(f"module 'unspool.optim' has no attribute {name!r}")
