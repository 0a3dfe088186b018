"""`biject_to` and `transform_to`: from a constraint to a transform from unconstrained numbers to what satisfies it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unspool.distributions import transforms
from unspool.distributions.constraints import Constraint

__all__ = ["ConstraintRegistry", "biject_to", "transform_to"]


class ConstraintRegistry:
    """Makers of transforms by the kind of a constraint; a call with a constraint makes its transform.

    Raises (when called):
        NotImplementedError: nothing is registered for the kind.
    """

    def __init__(self) -> None:
        self._makers: dict[str, Callable[[Any], Any]] = {}

    def register(self, constraint: Any, factory: Callable[[Any], Any] | None = None) -> Any:
        """Use `factory` for constraints of this one's kind; without it, a decorator of one."""
        if factory is None:
            return lambda made: self.register(constraint, made)
        self._makers[constraint.kind if isinstance(constraint, Constraint) else constraint] = factory
        return factory

    def __call__(self, constraint: Any) -> Any:
        maker = self._makers.get(getattr(constraint, "kind", ""))
        if maker is None:
            raise NotImplementedError(f"Cannot transform {constraint!r} constraints")
        return maker(constraint)


biject_to = ConstraintRegistry()
transform_to = ConstraintRegistry()


def _above(c: Any) -> Any:
    return transforms.ComposeTransform([transforms.ExpTransform(), transforms.AffineTransform(c.lower_bound, 1)])


def _under(c: Any) -> Any:
    return transforms.ComposeTransform([transforms.ExpTransform(), transforms.AffineTransform(c.upper_bound, -1)])


def _between(c: Any) -> Any:
    low, high = c.lower_bound, c.upper_bound
    if isinstance(low, (int, float)) and isinstance(high, (int, float)) and (low, high) == (0, 1):
        return transforms.SigmoidTransform()
    return transforms.ComposeTransform([transforms.SigmoidTransform(), transforms.AffineTransform(low, high - low)])


def _common(registry: ConstraintRegistry) -> None:
    def each(c: Any) -> list[Any]:
        return [registry(part) for part in c.cseq]

    def independent(c: Any) -> Any:
        return transforms.IndependentTransform(registry(c.base_constraint), c.reinterpreted_batch_ndims)

    registry.register("Real", lambda c: transforms.identity_transform)
    for kind in ("GreaterThan", "GreaterThanEq"):
        registry.register(kind, _above)
    registry.register("LessThan", _under)
    for kind in ("Interval", "HalfOpenInterval"):
        registry.register(kind, _between)
    registry.register("IndependentConstraint", independent)
    registry.register("CorrCholesky", lambda c: transforms.CorrCholeskyTransform())
    registry.register("Cat", lambda c: transforms.CatTransform(each(c), c.dim, c.lengths))
    registry.register("Stack", lambda c: transforms.StackTransform(each(c), c.dim))


_common(biject_to)
_common(transform_to)
biject_to.register("Simplex", lambda c: transforms.StickBreakingTransform())
transform_to.register("Simplex", lambda c: transforms.SoftmaxTransform())
transform_to.register("LowerCholesky", lambda c: transforms.LowerCholeskyTransform())
transform_to.register("PositiveDefinite", lambda c: transforms.PositiveDefiniteTransform())
transform_to.register("PositiveSemidefinite", lambda c: transforms.PositiveDefiniteTransform())
