"""L-BFGS: quasi-Newton steps from the last gradients (Nocedal and Wright, Numerical Optimization, algorithms 7.4, 3.5
and 3.6; the line search interpolates as Schmidt's minFunc does)."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from numbers import Real
from typing import Any, NamedTuple

from unspool import _core
from unspool.autograd.grad_mode import enable_grad, no_grad
from unspool.optim.optimizer import Optimizer, check_at_least_0

__all__ = ["LBFGS"]


class _Point(NamedTuple):
    """Of a line search: how far along the direction, the loss, its gradient, and its slope along the direction."""

    t: Any
    loss: float
    gradient: Any
    slope: Any


class LBFGS(Optimizer):
    """One `step` makes up to max_iter steps along -H·g, H an estimate from the last history_size gradients.

    Args:
        params: parameters; one group only.
        lr: length of a step, or where the line search begins.
        max_iter: steps in a call of `step`.
        max_eval: evaluations of the closure in a call; 1.25 max_iter where None.
        tolerance_grad: ends where the largest element of the gradient is at most this.
        tolerance_change: ends where the loss, or every parameter, changes by less than this.
        history_size: how many pairs of steps and gradients are kept.
        line_search_fn: 'strong_wolfe', or None for steps of fixed length.

    Raises:
        ValueError: a negative or NaN lr, several groups.
        RuntimeError: another line search.
    """

    def __init__(
        self,
        params: Any,
        lr: float | _core.Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS: doesn't support per-parameter options (parameter groups)")

    def _check_group(self, group: dict[str, Any]) -> None:
        check_at_least_0("LBFGS", "lr", group["lr"], "learning rate")

    @property
    def _params(self) -> list[Any]:
        return self.param_groups[0]["params"]  # type: ignore[no-any-return]

    def _gradient(self) -> Any:
        """All gradients as one vector."""
        rows = [_core.zeros(p.numel(), dtype=p.dtype) if p.grad is None else p.grad.reshape(-1) for p in self._params]
        return _core.cat(rows, 0)

    def _move(self, length: Any, direction: Any) -> None:
        at = 0
        for p in self._params:
            p.add_(direction[at : at + p.numel()].view(p.shape), alpha=float(length))
            at += p.numel()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Minimise; `closure` clears the gradients, computes the loss, calls backward and returns the loss, each time
        that it is called. Returns the first loss.

        Where settings, state, a gradient or the loss can't be used, parameters and state are as before the call. What
        the closure itself raises leaves the parameters where they were evaluated, as in PyTorch.
        """
        if closure is None:
            raise TypeError("LBFGS: step needs a closure that returns the loss, got None")
        with no_grad():
            loss = self._minimise(enable_grad()(closure))
        self._opt_called = True
        return loss

    def _evaluator(self, closure: Callable[[], Any]) -> Callable[[], tuple[Any, float, Any]]:
        """A function that gives the closure's loss, the loss as a number and the gradient. Where they can't be used, it
        takes parameters and state back to where they are now."""
        start = [p.clone() for p in self._params]
        state = self.state.get(self._params[0])
        kept = {k: list(v) if isinstance(v, list) else v for k, v in (state or {}).items()}

        def evaluate() -> tuple[Any, float, Any]:
            loss = closure()
            try:
                _core.plan_step(self)
                return loss, _number(loss), self._gradient()
            except Exception:
                for p, before in zip(self._params, start, strict=True):
                    p.copy_(before)
                if state is None:
                    self.state.pop(self._params[0], None)
                else:
                    state.clear()
                    state.update(kept)
                raise

        return evaluate

    def _check_own_state(self) -> None:
        """Raise unless what the last step left can be gone on with."""
        state = self.state.get(self._params[0]) or {}
        n = state.get("n_iter", 0)
        if _is_number(n, 1) and n == 0:
            return
        size = sum(p.numel() for p in self._params)
        kinds = {"number": ("n_iter", "func_evals", "t", "prev_loss", "H_diag"), "vector": ("d", "prev_flat_grad")}
        kinds |= {"list of vectors": ("old_dirs", "old_stps"), "list of numbers": ("ro",)}
        for kind, names in kinds.items():
            for name in names:
                if name not in state:
                    raise KeyError(f"LBFGS.step: the state lacks {name!r}")
                values = state[name] if kind.startswith("list") else [state[name]]
                good = _is_vector if "vector" in kind else _is_number
                if not isinstance(values, list) or not all(good(v, size) for v in values):
                    raise ValueError(f"LBFGS.step: state {name!r} must be a {kind} for {size} elements: {values!r:.80}")
        if not len(state["old_dirs"]) == len(state["old_stps"]) == len(state["ro"]):
            raise ValueError("LBFGS.step: state 'old_dirs', 'old_stps' and 'ro' must be of one length")

    def _minimise(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError(f"LBFGS: only 'strong_wolfe' is supported, got {group['line_search_fn']!r}")
        turns = range(1, group["max_iter"] + 1)
        self._check_own_state()
        evaluate = self._evaluator(closure)
        first_loss, loss, g = evaluate()
        evaluations = 1
        # The state is that of all parameters; it stands with the first, so that it is saved and loaded.
        state = self.state[self._params[0]]
        state["func_evals"] = state.get("func_evals", 0) + 1
        state.setdefault("n_iter", 0)
        if g.abs().max() <= group["tolerance_grad"]:
            return first_loss

        direction, t = state.get("d"), state.get("t")
        for n in turns:
            state["n_iter"] += 1
            direction = self._direction(state, g, direction, t, group["history_size"])
            state["prev_flat_grad"], state["prev_loss"] = g.clone(), loss
            t = float(group["lr"])
            if state["n_iter"] == 1:
                t = min(1.0, 1.0 / g.abs().sum()) * t
            slope = g.dot(direction)
            if slope > -group["tolerance_change"]:
                break
            calls = 0
            if group["line_search_fn"]:
                start = _Point(0, loss, g, slope)
                found, calls = self._search(evaluate, start, t, direction, group, group["max_eval"] - evaluations)
                t, loss, g = found.t, found.loss, found.gradient
                self._move(t, direction)
            else:
                self._move(t, direction)
                if n != group["max_iter"]:  # nobody reads what would be evaluated after the last step
                    _, loss, g = evaluate()
                    calls = 1
            evaluations += calls
            state["func_evals"] += calls
            if (
                evaluations >= group["max_eval"]
                or g.abs().max() <= group["tolerance_grad"]
                or (direction * t).abs().max() <= group["tolerance_change"]
                or abs(loss - state["prev_loss"]) < group["tolerance_change"]
            ):
                break
        state["d"], state["t"] = direction, t
        return first_loss

    def _direction(self, state: dict[str, Any], g: Any, last: Any, t: Any, size: int) -> Any:
        """-H·g by the two loops over the kept pairs (Nocedal and Wright, 7.4)."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return -g
        changes, steps, ro = state["old_dirs"], state["old_stps"], state["ro"]
        y, s = g - state["prev_flat_grad"], last * t
        ys = y.dot(s)
        if ys > 1e-10:
            for kept, new in ((changes, y), (steps, s), (ro, 1.0 / ys)):
                if len(kept) == size:
                    kept.pop(0)
                kept.append(new)
            state["H_diag"] = ys / y.dot(y)
        weights: list[Any] = [None] * len(changes)
        q = -g
        for i in reversed(range(len(changes))):
            weights[i] = steps[i].dot(q) * ro[i]
            q.add_(changes[i], alpha=-weights[i].item())
        r = q * state["H_diag"]
        for i in range(len(changes)):
            beta = changes[i].dot(r) * ro[i]
            r.add_(steps[i], alpha=(weights[i] - beta).item())
        return r

    def _search(
        self,
        evaluate: Callable[[], tuple[Any, float, Any]],
        start: _Point,
        t: Any,
        direction: Any,
        group: dict[str, Any],
        most: int,
    ) -> tuple[_Point, int]:
        """A point of the strong Wolfe conditions (c1 = 1e-4, c2 = 0.9), in at most `most` turns, and how often the
        closure was called. The parameters are where they were."""
        origin = [p.clone() for p in self._params]
        calls = 0

        def at(length: Any) -> _Point:
            nonlocal calls
            calls += 1
            self._move(length, direction)
            _, loss, g = evaluate()
            for p, before in zip(self._params, origin, strict=True):
                p.copy_(before)
            return _Point(length, loss, g, g.dot(direction))

        def too_high(p: _Point) -> bool:
            return bool(p.loss > start.loss + 1e-4 * p.t * start.slope)

        def flat(p: _Point) -> bool:
            return bool(abs(p.slope) <= -0.9 * start.slope)

        # Go on until a minimum lies between two points.
        turn, before, new = 0, start, at(t)
        bracket = [start, new]
        while turn < most:
            if too_high(new) or (turn > 1 and new.loss >= before.loss):
                bracket = [before, new]
                break
            if flat(new):
                return new, calls
            if new.slope >= 0:
                bracket = [before, new]
                break
            bounds = (new.t + 0.01 * (new.t - before.t), new.t * 10)
            before, new = new, at(_cubic_minimum(before, new, bounds))
            turn += 1
        else:
            bracket = [start, new]

        # Narrow it: a new point replaces one of the two.
        low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
        widest, stalled = direction.abs().max(), False
        while turn < most:
            a, b = sorted((p.t for p in bracket), key=float)
            if abs(bracket[1].t - bracket[0].t) * widest < group["tolerance_change"]:
                break
            t = _cubic_minimum(bracket[0], bracket[1], (a, b))
            margin = 0.1 * (b - a)
            if min(b - t, t - a) < margin:
                # Twice too near to an end: a tenth of the way into the interval.
                if stalled or t >= b or t <= a:
                    t = b - margin if abs(t - b) < abs(t - a) else a + margin
                    stalled = False
                else:
                    stalled = True
            else:
                stalled = False
            new = at(t)
            turn += 1
            if too_high(new) or new.loss >= bracket[low].loss:
                bracket[high] = new
                low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
                continue
            done = flat(new)
            if not done and new.slope * (bracket[high].t - bracket[low].t) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = new
            if done:
                break
        return bracket[low], calls


def _is_number(x: Any, _size: int) -> bool:
    return isinstance(x, Real) or (isinstance(x, _core.Tensor) and x.numel() == 1)


def _is_vector(x: Any, size: int) -> bool:
    return isinstance(x, _core.Tensor) and x.is_floating_point() and tuple(x.shape) == (size,)


def _number(loss: Any) -> float:
    if not _is_number(loss, 1):
        raise TypeError(f"LBFGS.step: the closure must return the loss, one number, got {loss!r:.80}")
    return float(loss.detach() if isinstance(loss, _core.Tensor) else loss)


def _cubic_minimum(a: _Point, b: _Point, bounds: tuple[Any, Any]) -> Any:
    """Where the cubic through both losses and slopes is least, within the bounds; their middle where it has no
    minimum."""
    low, high = bounds
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1**2 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2.0
    d2 = square.sqrt() if isinstance(square, _core.Tensor) else sqrt(square)
    p, q = (a, b) if a.t <= b.t else (b, a)
    t = q.t - (q.t - p.t) * ((q.slope + d2 - d1) / (q.slope - p.slope + 2 * d2))
    return min(max(t, low), high)
