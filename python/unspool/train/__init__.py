"""The training loop: `Trainer`, what it calls back, and what it writes down."""

from __future__ import annotations

from unspool.train.callbacks import Callback, Checkpoint, EarlyStopping
from unspool.train.history import History
from unspool.train.logs import CSVLog, TensorBoardLog
from unspool.train.metrics import accuracy, mae, r2
from unspool.train.rates import RateTest
from unspool.train.trainer import Trainer

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "RateTest",
    "TensorBoardLog",
    "Trainer",
    "accuracy",
    "mae",
    "r2",
]
