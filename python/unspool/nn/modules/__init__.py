"""The layers, one file a subject; `module.py` holds the base class."""

from __future__ import annotations

from unspool.nn.modules.activation import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from unspool.nn.modules.container import ModuleDict, ModuleList, Sequential
from unspool.nn.modules.linear import Flatten, Identity, Linear
from unspool.nn.modules.loss import CrossEntropyLoss, MSELoss
from unspool.nn.modules.module import Module

__all__ = [
    "CrossEntropyLoss",
    "Flatten",
    "Identity",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "Module",
    "ModuleDict",
    "ModuleList",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
]
