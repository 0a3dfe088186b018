"""The loss of connectionist temporal classification, as a recursion in native ops."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool._precision import in_float32
from unspool.errors import ShapeError
from unspool.nn._losses import check_reduction

__all__ = ["ctc_loss"]

_NEVER = -1e30  # the logarithm of a probability of 0; finite, so that differences of two of them are


def _lengths(name: str, given: Any, n: int, most: int) -> tuple[Any, list[int] | None]:
    """As a tensor, and as numbers where they are no tensor's, so that a frozen function may look at them."""

    def wrong(number: int) -> RuntimeError:
        return RuntimeError(f"ctc_loss: {name} must lie between 0 and {most}, got {number}")

    numbers: list[int] | None = None
    if isinstance(given, _core.Tensor):
        if given.dtype.is_floating_point:
            raise RuntimeError(f"ctc_loss: {name} must be integral, got {given.dtype}")
        lengths = given.to(_core.int64).reshape(-1)
        _core._refuse((lengths < 0) | (lengths > most), lengths, wrong)
    else:
        numbers = [int(number) for number in (given if hasattr(given, "__iter__") else [given])]
        for number in numbers:
            if not 0 <= number <= most:
                raise wrong(number)
        lengths = _core.tensor(numbers, dtype=_core.int64)
    if lengths.numel() != n:
        raise RuntimeError(f"ctc_loss: {name} must be of size batch_size {n}, got {lengths.numel()}")
    return lengths, numbers


def _padded(targets: Any, lengths: Any, numbers: list[int] | None, n: int, classes: int) -> Any:
    """Targets (N, S), or all of them one after the other, as (N, longest), with zeros after each."""
    if targets.dim() == 2:
        size = targets.shape[1]
        longest = size if numbers is None else max(numbers, default=0)
        if targets.shape[0] != n or size < longest:
            raise ShapeError(
                f"ctc_loss: targets of shape {tuple(targets.shape)} don't hold {n} sequences of up to {longest}"
            )
        if numbers is None:
            shape = tuple(targets.shape)
            _core._refuse(
                lengths > size,
                lengths,
                lambda long: ShapeError(f"ctc_loss: targets of shape {shape} don't hold a sequence of {long}"),
            )
        rows = targets[:, :longest]
    else:
        every = lengths.tolist() if numbers is None else numbers
        longest = max(every, default=0)
        if targets.dim() != 1 or targets.numel() != sum(every):
            raise ShapeError(
                f"ctc_loss: targets must be (N, S), or have as many elements as target_lengths say, {sum(every)}; "
                f"got shape {tuple(targets.shape)}"
            )
        places = (lengths.cumsum(0) - lengths).unsqueeze(1) + _core.arange(longest)
        rows = targets[places.clamp(max=max(targets.numel() - 1, 0))] if longest else targets.reshape(n, 0)
    inside = _core.arange(longest) < lengths.unsqueeze(1)
    rows = _core.where(inside, rows.to(_core.int64), 0)
    _core._refuse(
        (rows < 0) | (rows >= classes),
        rows,
        lambda label: RuntimeError(f"ctc_loss: targets must be class numbers below {classes}, got {label}"),
    )
    return rows


def _likelihood(log_probs: Any, targets: Any, times: Any, lengths: Any, blank: int) -> Any:
    """-log p(targets) for each n, by the forward variables of Graves et al. (2006), equations 6 and 8."""
    n, longest = targets.shape
    labels = _core.full((n, 2 * longest + 1), blank, dtype=_core.int64)  # a blank around each
    labels[:, 1::2] = targets
    skips = _core.zeros((n, 2 * longest + 1), dtype=_core.bool)  # a label that differs from the one before it
    skips[:, 3::2] = targets[:, 1:] != targets[:, :-1]
    scores = log_probs.clamp(min=_NEVER).gather(2, labels.expand(log_probs.shape[0], -1, -1))
    start = _core.arange(2 * longest + 1) < 1 + (lengths > 0).to(_core.int64).unsqueeze(1)
    alpha = _core.where(start, scores[0], _NEVER)
    never = _core.full((n, 2), _NEVER, dtype=log_probs.dtype)
    steps = [alpha]
    for score in scores[1:].unbind(0):
        before = _core.cat([never, alpha], 1)
        ways = [alpha, before[:, 1:-1], _core.where(skips, before[:, :-2], _NEVER)]
        alpha = _core.stack(ways).logsumexp(0) + score
        steps.append(alpha)
    last = _core.stack(steps)[(times - 1).clamp(min=0), _core.arange(n)]
    ends = last.gather(1, _core.stack([2 * lengths, (2 * lengths - 1).clamp(min=0)], 1))
    ends = _core.where(_core.stack([lengths >= 0, lengths > 0], 1), ends, _NEVER)
    loss = -ends.logsumexp(1)
    loss = _core.where(loss > -0.5 * _NEVER, float("inf"), loss)
    return _core.where(times == 0, _core.where(lengths == 0, 0.0, float("inf")), loss)


@in_float32
def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:
    """-log of the probability that a sequence of frames spells a target, blanks and repetitions left out.

    Args:
        log_probs: log_softmax over the classes, (T, N, C) or (T, C).
        targets: class numbers, (N, S), (S), or all sequences one after the other.
        input_lengths, target_lengths: (N), or tuples of ints.
        blank: the class that spells nothing.
        reduction: 'mean' divides each loss by its target's length first; 'sum' or 'none'.
        zero_infinity: whether a target that its frames can't spell counts 0 instead of infinity.

    The gradient is the one that log_softmax passes on: as in PyTorch it holds e^log_probs, which a log_softmax before
    it cancels.
    """
    check_reduction(reduction)
    if log_probs.dim() not in (2, 3):
        raise ShapeError(f"ctc_loss: log_probs must be (T, N, C) or (T, C), got shape {tuple(log_probs.shape)}")
    if not 0 <= blank < log_probs.shape[-1]:
        raise RuntimeError(f"ctc_loss: blank must be in label range 0 to {log_probs.shape[-1] - 1}, got {blank}")
    single = log_probs.dim() == 2
    scores = log_probs.unsqueeze(1) if single else log_probs
    n = scores.shape[1]
    times, _ = _lengths("input_lengths", input_lengths, n, scores.shape[0])
    lengths, numbers = _lengths("target_lengths", target_lengths, n, targets.numel())
    rows = _padded(targets, lengths, numbers, n, scores.shape[2])
    loss = _likelihood(scores, rows, times, lengths, blank)
    live = (_core.arange(scores.shape[0]).unsqueeze(1) < times).unsqueeze(2)
    total = _core.where(live, scores.exp(), 0.0).sum((0, 2))
    loss = loss + (total - total.detach())  # 0, whose gradient is e^log_probs
    if zero_infinity:
        loss = _core.where(loss == float("inf"), 0.0, loss)
    if reduction == "mean":
        return (loss / lengths.clamp(min=1).to(loss.dtype)).mean()
    if reduction == "sum":
        return loss.sum()
    return loss.squeeze(0) if single else loss
