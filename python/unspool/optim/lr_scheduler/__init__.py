"""Learning-rate schedules. Each step computes the new rate from the present one, which gives PyTorch's digits."""

from unspool.optim.lr_scheduler._base import LRScheduler, _LRScheduler  # noqa: F401
from unspool.optim.lr_scheduler.composed import ChainedScheduler, ReduceLROnPlateau, SequentialLR
from unspool.optim.lr_scheduler.curves import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LinearLR,
    PolynomialLR,
)
from unspool.optim.lr_scheduler.cycles import CyclicLR, OneCycleLR
from unspool.optim.lr_scheduler.steps import ExponentialLR, LambdaLR, MultiplicativeLR, MultiStepLR, StepLR

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
