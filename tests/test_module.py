"""`nn.Module` beside PyTorch's: hooks of calls, of states and of registration, versions, overriding, conversion."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unspool
import unspool.nn


def same(torch: Any, call: Callable[[Any], Any]) -> Any:
    """What `call` returns, lists of plain values, must be equal with both packages."""
    mine, theirs = call(unspool), call(torch)
    assert mine == theirs
    return mine


def doubled(module: Any, args: Any) -> Any:
    """A hook that can be pickled."""
    return (args[0] * 2,)


def started(module: Any, state_dict: Any, *rest: Any) -> None:
    """A hook that can be pickled."""
    module.started = True


def test_hooks_of_calls_in_their_order(torch: Any) -> None:
    def call(m: Any) -> Any:
        seen: list[Any] = []

        class Scaled(m.nn.Module):  # type: ignore[misc,name-defined]
            def forward(self, x: Any, by: float = 1.0) -> Any:
                seen.append(("forward", x.tolist(), by))
                return x * by

        net = Scaled()
        net.register_forward_pre_hook(lambda mod, args: seen.append("pre 1"))
        net.register_forward_pre_hook(lambda mod, args: seen.append("pre 2"), prepend=True)
        net.register_forward_pre_hook(lambda mod, args, kw: ((args[0] + 1,), {"by": 3.0}), with_kwargs=True)
        net.register_forward_hook(lambda mod, args, out: seen.append(("post 1", args[0].tolist(), out.tolist())))
        net.register_forward_hook(lambda mod, args, kw, out: out + kw["by"], with_kwargs=True, prepend=True)
        twice = net.register_forward_hook(lambda mod, args, out: -out)
        with net.register_forward_pre_hook(doubled), net.register_forward_pre_hook(doubled) as second:
            seen.append(net(m.ones(2), by=2.0).tolist())
            second.remove()
            seen.append(net(m.ones(2), by=2.0).tolist())
        twice.remove()
        twice.remove()
        seen.append(net(m.ones(2)).tolist())
        seen.append((len(net._forward_hooks), len(net._forward_pre_hooks), len(m.nn.Linear(1, 1)._forward_hooks)))
        return seen

    same(torch, call)


def test_hooks_that_are_always_called(torch: Any) -> None:
    def call(m: Any) -> Any:
        seen: list[Any] = []

        class Broken(m.nn.Module):  # type: ignore[misc,name-defined]
            def forward(self, x: Any) -> Any:
                raise ValueError("broken")

        def fails(mod: Any, args: Any, out: Any) -> None:
            raise KeyError("hook")

        net = Broken()
        net.register_forward_hook(lambda mod, args, out: seen.append(("always", out)), always_call=True)
        net.register_forward_hook(lambda mod, args, out: seen.append("never"))
        net.register_forward_hook(fails, always_call=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                net(m.ones(1))
            except ValueError as error:
                seen.append(str(error))
        working = m.nn.Identity()
        working.register_forward_hook(lambda mod, args, out: seen.append("first"), always_call=True)
        working.register_forward_hook(fails)
        try:
            working(m.ones(1))
        except KeyError as error:
            seen.append(str(error))
        return [seen, len(caught)]

    same(torch, call)


def test_hooks_of_all_modules(torch: Any) -> None:
    def call(m: Any) -> Any:
        module, seen = m.nn.modules.module, []
        net = m.nn.Sequential(m.nn.ReLU(), m.nn.Flatten())
        net[0].register_forward_pre_hook(lambda mod, args: seen.append("own"))
        handles = [
            module.register_module_forward_pre_hook(lambda mod, args: seen.append(("pre", type(mod).__name__))),
            module.register_module_forward_hook(lambda mod, args, out: seen.append(("post", type(mod).__name__))),
        ]
        net(m.ones(2, 2))
        for handle in handles:
            handle.remove()
        net(m.ones(2, 2))
        return seen

    same(torch, call)


def test_hooks_of_registration(torch: Any) -> None:
    def call(m: Any) -> Any:
        module, seen = m.nn.modules.module, []
        handles = [
            getattr(module, f"register_module_{kind}_registration_hook")(
                lambda mod, name, value, kind=kind: seen.append((kind, type(mod).__name__, name, value is None))
            )
            for kind in ("parameter", "buffer", "module")
        ]
        net = m.nn.Sequential(m.nn.Linear(1, 2, bias=False), m.nn.BatchNorm1d(2))
        for handle in handles:
            handle.remove()
        m.nn.Linear(1, 1)
        with module.register_module_module_registration_hook(lambda mod, name, value: m.nn.Tanh()):
            net.add_module("2", m.nn.ReLU())
        return [seen, repr(net)]

    same(torch, call)


def test_hooks_of_states(torch: Any) -> None:
    def call(m: Any) -> Any:
        seen: list[Any] = []
        net = m.nn.Sequential(OrderedDict(a=m.nn.Linear(2, 1), b=m.nn.BatchNorm1d(1)))

        def renamed(mod: Any, state: Any, prefix: str, meta: Any, *rest: Any) -> None:
            seen.append((type(mod).__name__, prefix, meta["version"], "assign_to_params_buffers" in meta, rest[0]))
            if prefix + "kernel" in state:
                state[prefix + "weight"] = state.pop(prefix + "kernel")

        net.a.register_state_dict_pre_hook(lambda mod, prefix, keep: seen.append((prefix, keep)))
        net.a.register_state_dict_post_hook(
            lambda mod, state, prefix, meta: state.__setitem__(prefix + "kernel", state.pop(prefix + "weight"))
        )
        net._register_state_dict_hook(lambda mod, state, prefix, meta: OrderedDict(sorted(state.items())))
        net.a.register_load_state_dict_pre_hook(renamed)
        net._register_load_state_dict_pre_hook(
            lambda state, prefix, *rest: seen.append((prefix, len(state), len(rest)))
        )
        net.register_load_state_dict_post_hook(lambda mod, keys: seen.append([list(k) for k in keys]))
        net.b.register_load_state_dict_post_hook(lambda mod, keys: keys.missing_keys.clear())
        state = net.state_dict()
        seen.append(list(state))
        state = m.nn.Sequential(OrderedDict(a=m.nn.Linear(2, 1), b=m.nn.BatchNorm1d(1))).state_dict()
        seen.append({key: dict(value) for key, value in state._metadata.items()})
        del state["b.bias"]
        state["a.kernel"] = state.pop("a.weight")
        seen.append([list(k) for k in net.load_state_dict(state)])
        net.a.register_state_dict_post_hook(lambda mod, state, prefix, meta: state)
        try:
            net.state_dict()
        except RuntimeError:
            seen.append("refused")
        return seen

    same(torch, call)


def test_saving_and_loading_can_be_overridden(torch: Any) -> None:
    def call(m: Any) -> Any:
        seen: list[Any] = []

        class Renaming(m.nn.Linear):  # type: ignore[misc,name-defined]
            _version = 7

            def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
                super()._save_to_state_dict(destination, prefix, keep_vars)
                destination[prefix + "size"] = m.tensor(self.in_features)

            def _load_from_state_dict(self, state_dict: Any, prefix: str, meta: Any, *rest: Any) -> None:
                seen.append((meta.get("version"), int(state_dict.pop(prefix + "size", m.tensor(0)))))
                super()._load_from_state_dict(state_dict, prefix, meta, *rest)
                seen.append(self.weight.tolist())

        net = m.nn.Sequential(Renaming(2, 1, bias=False))
        with m.no_grad():
            net[0].weight.fill_(3.0)
        state = net.state_dict()
        other = m.nn.Sequential(Renaming(2, 1, bias=False))
        seen.append(repr(other.load_state_dict(state)))
        other.load_state_dict(dict(state))
        return [seen, list(state), sorted(state._metadata)]

    same(torch, call)


def test_a_refused_load_is_taken_back_also_where_loading_is_overridden() -> None:
    class Late(unspool.nn.Linear):
        def _load_from_state_dict(self, *args: Any) -> None:
            super()._load_from_state_dict(*args)
            args[-1].append("too late")

    for assign in (False, True):
        net = unspool.nn.Sequential(unspool.nn.Linear(2, 2), unspool.nn.BatchNorm1d(2), Late(2, 2))
        before, held = {k: t.tolist() for k, t in net.state_dict().items()}, list(net.parameters())
        state = {k: t + 1 for k, t in net.state_dict().items()}
        with pytest.raises(RuntimeError, match="too late"):
            net.load_state_dict(state, assign=assign)
        assert {k: t.tolist() for k, t in net.state_dict().items()} == before
        assert all(a is b for a, b in zip(net.parameters(), held, strict=True))


def test_old_states_of_batch_norm_lack_a_count(torch: Any) -> None:
    def call(m: Any) -> Any:
        net = m.nn.Sequential(m.nn.BatchNorm1d(2))
        net(m.ones(3, 2))
        state = {k: v for k, v in net.state_dict().items() if "num_batches" not in k}
        return [repr(net.load_state_dict(state)), int(net[0].num_batches_tracked)]

    same(torch, call)


def test_copies_and_pickles_keep_their_hooks() -> None:
    net = unspool.nn.Sequential(unspool.nn.Linear(2, 2))
    net.register_forward_pre_hook(doubled)
    net.register_load_state_dict_pre_hook(started)
    x = unspool.ones(1, 2)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other(x).tolist() == net(x).tolist() == net[0](x * 2).tolist()
        other.load_state_dict(net.state_dict())
        assert other.started
        assert not hasattr(net, "started")
        with other.register_forward_hook(lambda mod, args, out: out * 0):
            assert not other(x).any()
        assert net(x).any()


def test_a_state_of_a_pickle_may_lack_tables() -> None:
    net = unspool.nn.Module.__new__(unspool.nn.Module)
    net.__setstate__({"training": False, "_parameters": {}})
    assert not net.training
    assert list(net.state_dict()) == list(net.children()) == []


def test_submodules_are_replaced_by_name(torch: Any) -> None:
    def call(m: Any) -> Any:
        seen: list[Any] = []
        net = m.nn.Sequential(OrderedDict(a=m.nn.Sequential(m.nn.Linear(1, 1))))
        net.set_submodule("a.0", m.nn.Tanh())
        net.set_submodule("b", m.nn.ReLU())
        net.set_submodule("a.0", m.nn.Sigmoid(), strict=True)
        for target, module, strict in (
            ("", m.nn.ReLU(), False),
            ("a.1", m.nn.ReLU(), True),
            ("x.y", m.nn.ReLU(), False),
            ("a.training", m.nn.ReLU(), False),
            ("a", 3, False),
        ):
            try:
                net.set_submodule(target, module, strict)
            except (ValueError, AttributeError) as error:
                seen.append((target, type(error).__name__))
        return [seen, repr(net)]

    assert len(same(torch, call)[0]) == 5


def test_types_and_empty_copies(torch: Any) -> None:
    def call(m: Any) -> Any:
        net = m.nn.Sequential(m.nn.Linear(2, 1), m.nn.BatchNorm1d(1))
        weight = net[0].weight
        seen = [str(t.dtype) for t in net.type(m.float64).state_dict().values()]
        seen += [str(t.dtype) for t in net.float().state_dict().values()]
        same_one = net.to_empty(device="cpu") is net
        seen += [str((t.dtype, tuple(t.shape), t.requires_grad)) for t in net.state_dict(keep_vars=True).values()]
        net[0].weight.data.fill_(1.0)
        return [seen, same_one, net[0].weight is weight]

    seen = same(torch, lambda m: call(m)[:2])
    assert "torch.float64" in seen[0]
    assert call(unspool)[2]


def test_what_one_process_and_one_device_lack_is_refused() -> None:
    net = unspool.nn.Linear(1, 1)
    for call, kind, text in (
        (net.share_memory, NotImplementedError, "share_memory"),
        (net.cuda, RuntimeError, "cuda"),
        (lambda: net.to_empty(device="cuda"), RuntimeError, "to_empty"),
    ):
        with pytest.raises(kind, match=text):
            call()
    for name in ("half", "bfloat16"):
        if not hasattr(unspool, {"half": "float16"}.get(name, name)):
            with pytest.raises(TypeError, match=f"Module.{name}"):
                getattr(net, name)()


def test_arguments_of_the_base_class(torch: Any) -> None:
    class Tail:
        def __init__(self, size: int) -> None:
            self.size = size

    def call(m: Any) -> Any:
        class Both(m.nn.Module, Tail):  # type: ignore[misc,name-defined]
            call_super_init = True

        seen = [Both(3).size]
        for args, kwargs in (((1,), {}), ((), {"size": 1})):
            try:
                m.nn.Module(*args, **kwargs)
            except TypeError:
                seen.append("refused")
        return seen

    same(torch, call)


def test_every_public_name_of_the_reference_is_there_or_named_here(torch: Any) -> None:
    absent = {
        "T_destination",  # a type variable
        "compile",
        "ipu",
        "mtia",
        "xpu",
        # of backward
        "register_backward_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
    }
    names = {name for name in dir(torch.nn.Module) if not name.startswith("_")}
    assert {name for name in names if not hasattr(unspool.nn.Module, name)} <= absent


def test_a_hook_costs_nothing_once_removed() -> None:
    net = unspool.nn.Linear(1, 1)
    net.register_forward_hook(lambda *_: None).remove()
    unspool.nn.modules.module.register_module_forward_pre_hook(lambda *_: None).remove()
    assert not net._hooked
    np.testing.assert_array_equal(net(unspool.zeros(1, 1)).detach().numpy(), net.bias.detach().numpy()[None])
