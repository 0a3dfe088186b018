"""`Distribution`, the base class: shapes, checks of parameters and values, the printed form, expansion.

A subclass names its parameters in `arg_constraints`; those that were given are attributes, the others properties that
follow from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from unspool import _core, _functions
from unspool.autograd.grad_mode import no_grad

__all__ = ["Distribution", "broadcast_all", "one_of", "sum_last"]


def sum_last(t: Any, n: int) -> Any:
    """The sum over the last `n` dimensions."""
    return t.reshape((*t.shape[: t.dim() - n], -1)).sum(-1) if n else t


def broadcast_all(*values: Any) -> tuple[Any, ...]:
    """Numbers and tensors as tensors of one shape; numbers get the first tensor's dtype, or the default one.

    Raises:
        ValueError: a value is neither.
    """
    for v in values:
        if not isinstance(v, (_core.Tensor, int, float)):
            raise ValueError(f"broadcast_all: values must be numbers or tensors, got {type(v).__name__}")
    tensors = [v for v in values if isinstance(v, _core.Tensor)]
    dtype = tensors[0].dtype if tensors else _core.get_default_dtype()
    made = [v if isinstance(v, _core.Tensor) else _core.tensor(v, dtype=dtype) for v in values]
    return tuple(_functions.broadcast_tensors(*made))


def one_of(probs: Any, logits: Any) -> str:
    """'probs' or 'logits', whichever was given; ValueError for both or none."""
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")
    return "probs" if logits is None else "logits"


def _refuse_unless(fits: Any, value: Any, expected: str, distribution: Any, what: str = "") -> None:
    """ValueError where something does not fit; in a plan at each replay, which has no values to show."""
    if _core._capturing():
        text = " ".join(filter(None, (expected, type(distribution).__name__, what)))
        bad = fits.logical_not()
        _core._refuse(bad, bad, lambda _: ValueError(f"{text}, but found invalid values"))
    elif not bool(fits.all()):
        text = " ".join(filter(None, (expected, repr(distribution), what)))
        raise ValueError(f"{text}, but found invalid values:\n{value}")


class Distribution:
    """A probability distribution of tensors of `event_shape`, independently for each entry of `batch_shape`.

    Args:
        validate_args: check parameters and values (True).

    Raises:
        ValueError: a parameter or value is outside of its domain; the message shows it.
    """

    has_rsample = False
    has_enumerate_support = False
    arg_constraints: ClassVar[Any] = {}  # of each parameter, by name
    support: Any = None
    _validate_args = True

    def __init__(self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None) -> None:
        self._batch_shape = _core.Size(batch_shape)
        self._event_shape = _core.Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            for name, value in self._given().items():
                constraint = self.arg_constraints[name]
                _refuse_unless(
                    constraint.check(value),
                    value,
                    f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of distribution",
                    self,
                    f"to satisfy the constraint {constraint!r}",
                )

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions check their parameters and values unless told otherwise."""
        if value not in (True, False):
            raise ValueError(f"set_default_validate_args: expected a bool, got {value!r}")
        Distribution._validate_args = value

    def _given(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in self.arg_constraints if name in self.__dict__}

    @property
    def batch_shape(self) -> Any:
        """The shape of the parameters' batch."""
        return self._batch_shape

    @property
    def event_shape(self) -> Any:
        """The shape of one draw."""
        return self._event_shape

    def expand(self, batch_shape: Sequence[int]) -> Any:
        """The same distribution with its parameters expanded to a larger batch."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        new._batch_shape = _core.Size(batch_shape)
        batch = len(self._batch_shape)
        for name, value in self._given().items():
            new.__dict__[name] = value.expand((*batch_shape, *value.shape[batch:]))
        return new

    @property
    def mean(self) -> Any:
        """Of each event, in shape batch_shape + event_shape."""
        raise NotImplementedError(f"{type(self).__name__} does not implement mean")

    @property
    def mode(self) -> Any:
        """The likeliest value."""
        raise NotImplementedError(f"{type(self).__name__} does not implement mode")

    @property
    def variance(self) -> Any:
        """Of each event, in shape batch_shape + event_shape."""
        raise NotImplementedError(f"{type(self).__name__} does not implement variance")

    @property
    def stddev(self) -> Any:
        """The root of the variance."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        """Draws of shape sample_shape + batch_shape + event_shape, without a gradient."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        """Draws as a differentiable function of the parameters."""
        raise NotImplementedError(f"{type(self).__name__} has no rsample; use sample")

    def log_prob(self, value: Any) -> Any:
        """The logarithm of density or probability at `value`, one number an event."""
        raise NotImplementedError(f"{type(self).__name__} does not implement log_prob")

    def cdf(self, value: Any) -> Any:
        """The probability of at most `value`."""
        raise NotImplementedError(f"{type(self).__name__} does not implement cdf")

    def icdf(self, value: Any) -> Any:
        """The inverse of the cdf."""
        raise NotImplementedError(f"{type(self).__name__} does not implement icdf")

    def enumerate_support(self, expand: bool = True) -> Any:
        """All values that may be drawn, along a first dimension."""
        raise NotImplementedError(f"{type(self).__name__} does not implement enumerate_support")

    def entropy(self) -> Any:
        """In nats, in batch_shape."""
        raise NotImplementedError(f"{type(self).__name__} does not implement entropy")

    def perplexity(self) -> Any:
        """exp of the entropy."""
        return self.entropy().exp()

    def _extended_shape(self, sample_shape: Sequence[int] = ()) -> Any:
        return _core.Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def _validate_sample(self, value: Any) -> None:
        """Raise a ValueError unless `value` has a fitting shape and lies in the support."""
        if not self._validate_args:
            return
        if not isinstance(value, _core.Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        events = len(self._event_shape)
        if tuple(value.shape[value.dim() - events :]) != tuple(self._event_shape):
            raise ValueError(
                f"The right-most size of value must match event_shape: {value.shape} vs {self._event_shape}."
            )
        expected = self._batch_shape + self._event_shape
        for i, j in zip(reversed(value.shape), reversed(expected), strict=False):
            if i != 1 and j != 1 and i != j:
                raise ValueError(
                    f"Value is not broadcastable with batch_shape+event_shape: {value.shape} vs {expected}."
                )
        if self.support is not None:
            _refuse_unless(
                self.support.check(value),
                value,
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the "
                f"support ({self.support!r}) of the distribution",
                self,
            )

    def __repr__(self) -> str:
        texts = (f"{k}: {v if v.numel() == 1 else v.shape}" for k, v in self._given().items())
        return f"{type(self).__name__}({', '.join(texts)})"
