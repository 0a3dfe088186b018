"""Pruning: a parameter becomes `name_orig` times the buffer `name_mask`, whose zeros are the entries cut off.

A method computes the mask; `PruningContainer` joins several that were applied to one parameter. `remove` makes the
pruned values the parameter again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from unspool import _core

__all__ = [
    "BasePruningMethod", "CustomFromMask", "Identity", "L1Unstructured", "LnStructured", "PruningContainer",
    "RandomStructured", "RandomUnstructured", "custom_from_mask", "global_unstructured", "identity", "is_pruned",
    "l1_unstructured", "ln_structured", "random_structured", "random_unstructured", "remove",
]  # fmt: skip


def _check_amount(op: str, amount: Any) -> None:
    if isinstance(amount, bool) or not isinstance(amount, (Integral, Real)):
        raise TypeError(f"{op}: Invalid type of amount={amount!r}; it must be a number")
    if (amount < 0) if isinstance(amount, Integral) else not 0.0 <= float(amount) <= 1.0:
        raise ValueError(f"{op}: amount={amount!r} should be a float in [0, 1] or a non-negative integer")


def _count(op: str, amount: Any, size: int) -> int:
    """How many of `size` units are cut off."""
    if isinstance(amount, Integral):
        if int(amount) > size:
            raise ValueError(f"{op}: amount={amount} should be smaller than the number of parameters to prune={size}")
        return int(amount)
    share: float = amount
    return round(share * size)


class BasePruningMethod(ABC):
    """A pruning method: `compute_mask(t, default_mask)` gives the new mask. It is a forward pre-hook of the module."""

    PRUNING_TYPE = "unstructured"
    _tensor_name: str

    def __call__(self, module: Any, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask for importances `t`, given the mask so far."""

    def apply_mask(self, module: Any) -> Any:
        """The parameter's original values times its mask."""
        mask = getattr(module, self._tensor_name + "_mask")
        original = getattr(module, self._tensor_name + "_orig")
        return mask.to(dtype=original.dtype) * original

    @classmethod
    def apply(cls, module: Any, name: str, *args: Any, importance_scores: Any = None, **kwargs: Any) -> Any:
        """Prune parameter `name` of the module, further where it is pruned; returns the method that acts from now."""
        hooks = module._forward_pre_hooks
        old = _methods_of(module, name)
        original = getattr(module, name)
        method: Any = cls(*args, **kwargs)
        method._tensor_name = name
        if importance_scores is not None and importance_scores.shape != original.shape:
            raise AssertionError(
                f"{cls.__name__}: importance_scores should have the shape of {name}, {tuple(original.shape)}, got "
                f"{tuple(importance_scores.shape)}"
            )
        scores = original if importance_scores is None else importance_scores
        if old:
            container = PruningContainer(old[0][1])
            container.add_pruning_method(method)
            default = getattr(module, name + "_mask").detach().clone()
            mask = container.compute_mask(scores, default)
            del hooks[old[0][0]]
            method = container
        else:
            mask = method.compute_mask(scores, _core.ones_like(scores))
            module.register_parameter(name + "_orig", original)
            del module._parameters[name]
        module.register_buffer(name + "_mask", mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Any, default_mask: Any = None, importance_scores: Any = None) -> Any:
        """`t` with the entries cut off that the method chooses."""
        scores = t if importance_scores is None else importance_scores
        default = _core.ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(scores, default_mask=default)

    def remove(self, module: Any) -> None:
        """Make the pruned values the parameter; its original and its mask go."""
        name = self._tensor_name
        pruned = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original = module._parameters.pop(name + "_orig")
        original.data = pruned.data
        del module._buffers[name + "_mask"]
        setattr(module, name, original)


class PruningContainer(BasePruningMethod):
    """Several methods, applied one after the other: each sees what the ones before it left."""

    def __init__(self, *args: Any) -> None:
        self._pruning_methods: tuple[Any, ...] = ()
        methods = args[0] if len(args) == 1 and isinstance(args[0], Iterable) else args
        for method in methods:
            self._tensor_name = method._tensor_name
            self.add_pruning_method(method)

    def add_pruning_method(self, method: Any) -> None:
        """Append a method, which must prune the same parameter."""
        if not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method._tensor_name != self._tensor_name:
            raise ValueError(
                f"PruningContainer: can only add methods that act on {self._tensor_name!r}, got {method._tensor_name!r}"
            )
        inner = method._pruning_methods if isinstance(method, PruningContainer) else (method,)
        self._pruning_methods += inner

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Any:
        return iter(self._pruning_methods)

    def __getitem__(self, index: Any) -> Any:
        return self._pruning_methods[index]

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask of the last method, on the part that is left."""
        method, mask = self._pruning_methods[-1], default_mask
        mask = mask.to(dtype=t.dtype)
        if method.PRUNING_TYPE == "unstructured":
            left: Any = mask == 1
        elif method.PRUNING_TYPE == "structured":
            dim = method.dim % t.dim()
            kept = mask.sum([d for d in range(t.dim()) if d != dim]) != 0
            left = (slice(None),) * dim + (kept,)
        else:
            left = slice(None)
        new = mask.clone()
        new[left] = method.compute_mask(t[left], default_mask=mask[left]).to(dtype=mask.dtype)
        return new


class Identity(BasePruningMethod):
    """Cuts off nothing."""

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        return default_mask

    @classmethod
    def apply(cls, module: Any, name: str) -> Any:  # type: ignore[override]
        return super().apply(module, name)


class RandomUnstructured(BasePruningMethod):
    """Cuts off entries at random: a number of them, or a share."""

    def __init__(self, amount: Any) -> None:
        _check_amount(type(self).__name__, amount)
        self.amount = amount

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        n = _count(type(self).__name__, self.amount, t.nelement())
        mask = default_mask.clone()
        if n:
            mask.view(-1)[_core.topk(_core.rand_like(t).view(-1), k=n).indices] = 0
        return mask

    @classmethod
    def apply(cls, module: Any, name: str, amount: Any) -> Any:  # type: ignore[override]
        return super().apply(module, name, amount=amount)


class L1Unstructured(BasePruningMethod):
    """Cuts off the smallest entries, by absolute value: a number of them, or a share."""

    def __init__(self, amount: Any) -> None:
        _check_amount(type(self).__name__, amount)
        self.amount = amount

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        n = _count(type(self).__name__, self.amount, t.nelement())
        mask = default_mask.clone()
        if n:
            mask.view(-1)[_core.topk(t.detach().abs().reshape(-1), k=n, largest=False).indices] = 0
        return mask

    @classmethod
    def apply(cls, module: Any, name: str, amount: Any, importance_scores: Any = None) -> Any:  # type: ignore[override]
        return super().apply(module, name, amount=amount, importance_scores=importance_scores)


class _Structured(BasePruningMethod):
    """Cuts off whole slices along `dim`."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: Any, dim: int = -1) -> None:
        _check_amount(type(self).__name__, amount)
        self.amount, self.dim = amount, dim

    def _sizes(self, t: Any, others: list[int]) -> Any:
        raise NotImplementedError

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        op = type(self).__name__
        if t.dim() <= 1:
            raise ValueError(f"{op}: structured pruning needs a tensor of at least 2 dims, got {tuple(t.shape)}")
        if not -t.dim() <= self.dim < t.dim():
            raise IndexError(f"{op}: dim {self.dim} is out of range for a tensor of {t.dim()} dims")
        dim, units = self.dim % t.dim(), t.shape[self.dim]
        n = _count(op, self.amount, units)
        if not n:
            return default_mask
        kept = self._sizes(t.detach(), [d for d in range(t.dim()) if d != dim])
        mask = _core.zeros_like(t)
        mask[(slice(None),) * dim + (_core.topk(kept, k=units - n).indices,)] = 1
        return mask * default_mask.to(dtype=mask.dtype)


class RandomStructured(_Structured):
    """Cuts off slices along `dim` at random."""

    def _sizes(self, t: Any, others: list[int]) -> Any:
        return _core.rand(t.shape[self.dim])

    @classmethod
    def apply(cls, module: Any, name: str, amount: Any, dim: int = -1) -> Any:  # type: ignore[override]
        return super().apply(module, name, amount=amount, dim=dim)


class LnStructured(_Structured):
    """Cuts off the slices along `dim` of the smallest n-norms."""

    def __init__(self, amount: Any, n: Any, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def _sizes(self, t: Any, others: list[int]) -> Any:
        return t.norm(p=self.n, dim=others)

    @classmethod
    def apply(  # type: ignore[override]
        cls, module: Any, name: str, amount: Any, n: Any, dim: int, importance_scores: Any = None
    ) -> Any:
        return super().apply(module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores)


class CustomFromMask(BasePruningMethod):
    """Cuts off what a given mask says."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Any) -> None:
        self.mask = mask

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        if default_mask.shape != self.mask.shape:
            raise AssertionError(
                f"CustomFromMask: the mask must have shape {tuple(default_mask.shape)}, got {tuple(self.mask.shape)}"
            )
        return default_mask * self.mask.to(dtype=default_mask.dtype)

    @classmethod
    def apply(cls, module: Any, name: str, mask: Any) -> Any:  # type: ignore[override]
        return super().apply(module, name, mask=mask)


def identity(module: Any, name: str) -> Any:
    """Give a parameter a mask of ones. Returns the module, as all of these functions do."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Any, name: str, amount: Any) -> Any:
    """Cut off `amount` entries, a number or a share, at random."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Any, name: str, amount: Any, importance_scores: Any = None) -> Any:
    """Cut off the `amount` smallest entries."""
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: Any, name: str, amount: Any, dim: int) -> Any:
    """Cut off `amount` slices along `dim` at random."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(module: Any, name: str, amount: Any, n: Any, dim: int, importance_scores: Any = None) -> Any:
    """Cut off the `amount` slices along `dim` of the smallest n-norms."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Any, name: str, mask: Any) -> Any:
    """Cut off what the mask says."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(parameters: Any, pruning_method: Any, importance_scores: Any = None, **kwargs: Any) -> None:
    """Prune several parameters, pairs (module, name), as if they were one vector."""
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    pairs, given = list(parameters), importance_scores or {}
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE is supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    scores = [given.get(pair, getattr(*pair)).detach().reshape(-1) for pair in pairs]
    masks = [getattr(m, name + "_mask", _core.ones_like(getattr(m, name))).reshape(-1) for m, name in pairs]
    container = PruningContainer()
    container._tensor_name = method._tensor_name = "temp"
    container.add_pruning_method(method)
    final = container.compute_mask(_core.cat(scores), _core.cat(masks))
    at = 0
    for module, name in pairs:
        p = getattr(module, name)
        custom_from_mask(module, name, final[at : at + p.numel()].view_as(p))
        at += p.numel()


def remove(module: Any, name: str) -> Any:
    """Make the pruned values of a parameter the parameter itself; what was cut off stays 0."""
    for k, method in _methods_of(module, name):
        method.remove(module)
        del module._forward_pre_hooks[k]
        return module
    raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")


def is_pruned(module: Any) -> bool:
    """Whether a parameter of the module, or of one below, is pruned."""
    return any(_methods_of(m, None) for m in module.modules())


def _methods_of(module: Any, name: str | None) -> list[tuple[Any, Any]]:
    """The pruning methods among a module's hooks, with their keys; of one parameter, or (None) of all."""
    found = [(k, getattr(hook, "fn", hook)) for k, hook in module._forward_pre_hooks.items()]
    return [(k, f) for k, f in found if isinstance(f, BasePruningMethod) and (name is None or f._tensor_name == name)]
