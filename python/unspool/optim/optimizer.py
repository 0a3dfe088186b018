"""`Optimizer`: parameter groups, their settings, the state of each parameter, and how these are saved and shown.

A subclass passes its defaults to `__init__`, checks settings in `_check_group` and defines `step`.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from copy import deepcopy
from numbers import Real
from typing import Any

from unspool import _core
from unspool.autograd.grad_mode import no_grad
from unspool.optim._hooks import Hooked

__all__ = ["Optimizer", "required"]


class _Required:
    """Marks a setting without a default."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


def check_at_least_0(op: str, name: str, value: Any, what: str) -> None:
    """Raise unless `value` is a number, or `lr` a tensor of one, and not negative (NaN is refused too)."""
    if name == "lr" and isinstance(value, _core.Tensor):
        if value.numel() != 1:
            raise ValueError(f"{op}: Tensor lr must be 1-element, got shape {tuple(value.shape)}")
        value = value.item()
    if not isinstance(value, Real):
        raise TypeError(f"{op}: {name} must be a number, got {value!r} ({type(value).__name__})")
    if not float(value) >= 0:
        raise ValueError(f"{op}: invalid {what}: {name} is {value!r}; it must be at least 0")


def copied_lr(group: Mapping[str, Any]) -> Any:
    """A group's rate as it is now, where it is a tensor, too, which schedules write into."""
    lr = group["lr"]
    return lr.detach().clone() if isinstance(lr, _core.Tensor) else lr


def set_lr(group: dict[str, Any], lr: Any) -> None:
    """A new rate for a group; a tensor stays the one that programs hold."""
    if isinstance(group["lr"], _core.Tensor):
        with no_grad():
            group["lr"].fill_(lr)
    else:
        group["lr"] = lr


def check_number(op: str, name: str, value: Any) -> None:
    """Raise unless `value` is a number other than NaN."""
    if not isinstance(value, Real):
        raise TypeError(f"{op}: {name} must be a number, got {value!r} ({type(value).__name__})")
    if value != value:
        raise ValueError(f"{op}: {name} is nan; it must be a number")


def check_betas(op: str, betas: Any) -> None:
    """Raise unless `betas` are two numbers in [0, 1)."""
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise ValueError(f"{op}: betas must be two numbers, got {betas!r}")
    for i, beta in enumerate(betas):
        check_number(op, f"beta at index {i}", beta)
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"{op}: invalid beta parameter at index {i}: {beta!r}; it must lie in [0, 1)")


def check_ways(op: str, group: Mapping[str, Any]) -> None:
    """Raise where a group asks for a way of computing the step that is not there.

    `foreach` and `fused` name PyTorch's implementations; a step is the same numbers with any, so each is taken.
    """
    if group.get("foreach") and group.get("fused"):
        raise RuntimeError(f"{op}: `fused` and `foreach` cannot be `True` together.")
    for name in ("capturable", "differentiable"):
        if group.get(name):
            raise NotImplementedError(f"{op}: {name}={group[name]!r} is not supported; leave it out")


class Optimizer(Hooked):
    """Base class of all optimizers.

    Args:
        params: parameters, (name, parameter) pairs, or dicts that each hold a group's 'params' and settings.
        defaults: the settings of groups that don't say otherwise. `lr` may be a tensor of one number, which schedules
            write into.

    Raises:
        TypeError: `params` is a Tensor, or holds something else than Tensors.
        ValueError: no parameters, a non-leaf tensor, a parameter in two groups, or an impossible setting.
    """

    # whether step() itself notes that it ran, for the schedulers' check of the order of calls
    _notes_steps = False
    _opt_called = False
    # names of state tensors: of those that have their parameter's shape, and of single numbers
    _shaped_state: tuple[str, ...] = ()
    _counters: tuple[str, ...] = ()
    # settings, besides lr, that must be at least 0; a schedule may end a little below with lr
    _not_negative: tuple[str, ...] = ()

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        if isinstance(params, _core.Tensor):
            raise TypeError(f"{type(self).__name__}: params must be an iterable of Tensors or dicts, got one Tensor")
        self.defaults = defaults
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__}: optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _check_group(self, group: dict[str, Any]) -> None:
        """Raise where a group's settings are impossible."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Optimize more parameters: a dict of 'params' and of settings that differ from the defaults."""
        op = type(self).__name__
        if not isinstance(param_group, dict):
            raise TypeError(f"{op}: a parameter group must be a dict, got {type(param_group).__name__}")
        group = dict(param_group)
        if "params" not in group:
            raise KeyError("params")
        params = group["params"]
        if isinstance(params, _core.Tensor):
            params = [params]
        elif isinstance(params, (set, frozenset)):
            raise TypeError(f"{op}: params must be ordered, a set has no order; use a list")
        params = list(params)
        named = [isinstance(p, tuple) and len(p) == 2 for p in params]
        if any(named):
            if not all(named):
                raise ValueError(
                    f"{op}: all parameters must have names, or none; params[{named.index(False)}] has none"
                )
            group["param_names"] = [name for name, _ in params]
            params = [p for _, p in params]
        for i, p in enumerate(params):
            if not isinstance(p, _core.Tensor):
                raise TypeError(f"{op}: can only optimize Tensors, but params[{i}] is {type(p).__name__}")
            if not (p.is_leaf or self.defaults.get("differentiable")):
                made = p.grad_fn.name() if p.grad_fn else "an operation"
                raise ValueError(f"{op}: can't optimize a non-leaf Tensor; params[{i}] was computed by {made}")
        group["params"] = params
        if self.param_groups and ("param_names" in group) != ("param_names" in self.param_groups[0]):
            raise ValueError(f"{op}: all parameter groups must be named, or none")
        for name, default in self.defaults.items():
            if default is required and name not in group:
                raise ValueError(f"{op}: the parameter group lacks the required setting {name!r}")
            group.setdefault(name, default)
        self._check_group(group)
        own = {id(p) for p in params}
        if len(own) < len(params):
            warnings.warn(f"{op}: a parameter group holds the same parameter twice", stacklevel=3)
        if any(id(p) in own for other in self.param_groups for p in other["params"]):
            raise ValueError(f"{op}: some parameters appear in more than one parameter group")
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with 0."""
        _core.zero_grad(self.param_groups, set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters from their gradients; returns what `closure`, called first, returns."""
        raise NotImplementedError(f"{type(self).__name__} doesn't define step")

    # saving and loading

    def state_dict(self) -> dict[str, Any]:
        """{'state': …, 'param_groups': …} with parameters replaced by their number; tensors are not copied."""
        for hook in self._hooks_of("state_dict_pre"):
            hook(self)
        number: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                number.setdefault(id(p), len(number))
            packed = {k: v for k, v in group.items() if k != "params"}
            packed["params"] = [number[id(p)] for p in group["params"]]
            groups.append(packed)
        # an entry that is no tensor belongs to no parameter; it keeps its key
        state = {number[id(k)] if isinstance(k, _core.Tensor) else k: v for k, v in self.state.items()}
        packed_state: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in self._hooks_of("state_dict_post"):
            packed_state = hook(self, packed_state) or packed_state
        return packed_state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a copy of the settings and state in `state_dict`, parameters matched by their number.

        A setting that the state_dict lacks keeps its default where that means "off", as in older state_dicts.

        Raises:
            ValueError: the groups differ in number or in how many parameters they have, a setting is impossible,
                or state has another shape than its parameter or belongs to no parameter.
            KeyError: 'state', 'param_groups' or a setting is missing.
            TypeError: `state_dict`, its 'state' or a group is no mapping.
            After any of these nothing is changed.
        """
        op = f"{type(self).__name__}.load_state_dict"
        for hook in self._hooks_of("load_state_dict_pre"):
            state_dict = hook(self, state_dict) or state_dict
        _check_form(op, state_dict)
        saved = deepcopy(state_dict["param_groups"])
        if len(saved) != len(self.param_groups):
            counts = f"the state_dict has {len(saved)} parameter groups, the optimizer {len(self.param_groups)}"
            raise ValueError(f"{op}: {counts}")
        for i, (own, new) in enumerate(zip(self.param_groups, saved, strict=True)):
            if len(own["params"]) != len(new["params"]):
                raise ValueError(
                    f"{op}: parameter group {i} has {len(new['params'])} parameters in the state_dict, "
                    f"{len(own['params'])} in the optimizer"
                )
        owner: dict[Any, Any] = {}
        for own, new in zip(self.param_groups, saved, strict=True):
            owner.update(zip(new["params"], own["params"], strict=True))
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if isinstance(key, int) and key not in owner:
                raise ValueError(f"{op}: there is state for parameter {key}, but the groups have no such parameter")
            if key in owner:
                self._check_state(op, key, owner[key], value)
            state[owner.get(key, key)] = _fitted(value, owner.get(key))
        for i, new in enumerate(saved):
            for name, default in self.defaults.items():
                if name not in new and (default is required or default):
                    raise KeyError(f"{op}: parameter group {i} of the state_dict lacks {name!r}")
                new.setdefault(name, default)
            self._check_group(new)
        for own, new in zip(self.param_groups, saved, strict=True):
            new["params"] = own["params"]
            if "param_names" in own and "param_names" not in new:
                new["param_names"] = own["param_names"]
        self.state = state
        self.param_groups = saved
        for hook in self._hooks_of("load_state_dict_post"):
            hook(self)

    def _check_state(self, op: str, key: Any, param: Any, state: Any) -> None:
        """Raise where a parameter's saved state can't be used for it."""
        if not self._shaped_state:
            return
        if not isinstance(state, Mapping):
            raise TypeError(f"{op}: the state of parameter {key} must be a mapping, got {type(state).__name__}")
        for name in self._shaped_state:
            value = state.get(name)
            if value is None:
                continue
            if not isinstance(value, _core.Tensor):
                raise TypeError(f"{op}: {name} of parameter {key} must be a Tensor, got {type(value).__name__}")
            if value.shape != param.shape:
                raise _core.ShapeError(
                    f"{op}: {name} of parameter {key} has shape {tuple(value.shape)}, the parameter has shape "
                    f"{tuple(param.shape)}"
                )

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            text += "".join(f"    {name}: {group[name]}\n" for name in sorted(group) if name != "params")
        return text + ")"


def _check_form(op: str, state_dict: Any) -> None:
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"{op}: state_dict must be a mapping, got {type(state_dict).__name__}")
    for name in ("param_groups", "state"):
        if name not in state_dict:
            raise KeyError(f"{op}: the state_dict has no {name!r}")
    if not isinstance(state_dict["state"], Mapping):
        raise TypeError(f"{op}: 'state' must be a mapping, got {type(state_dict['state']).__name__}")
    groups = state_dict["param_groups"]
    if not isinstance(groups, (list, tuple)):
        raise TypeError(f"{op}: 'param_groups' must be a list, got {type(groups).__name__}")
    for i, group in enumerate(groups):
        if not isinstance(group, Mapping):
            raise TypeError(f"{op}: parameter group {i} must be a mapping, got {type(group).__name__}")
        if "params" not in group:
            raise KeyError(f"{op}: parameter group {i} of the state_dict lacks 'params'")


def _fitted(value: Any, param: Any, name: Any = None) -> Any:
    """A deep copy; floating-point tensors take the parameter's dtype, but a step count keeps its own."""
    if isinstance(value, _core.Tensor):
        copy = value.detach().clone()
        if param is not None and name != "step" and param.is_floating_point() and copy.dtype != param.dtype:
            copy = copy.to(param.dtype)
        return copy
    if isinstance(value, dict):
        return {k: _fitted(v, param, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_fitted(v, param, name) for v in value])
    return deepcopy(value)
