"""A softmax over many classes, of which rare ones are looked for in clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from unspool import _core
from unspool.errors import ShapeError
from unspool.nn import functional
from unspool.nn.modules.container import ModuleList, Sequential
from unspool.nn.modules.linear import Linear
from unspool.nn.modules.module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class _ASMoutput(NamedTuple):
    output: Any
    loss: Any


class AdaptiveLogSoftmaxWithLoss(Module):
    """The log-likelihood of classes sorted by frequency, the rare ones in clusters of their own. (Grave et al., 2017)

    Args:
        in_features, n_classes: sizes of the input (N, in_features) and of the set of classes.
        cutoffs: the first classes of the clusters, increasing, from 1 to n_classes - 1.
        div_value: cluster i sees the input through in_features / div_value^(i + 1) numbers.
        head_bias: whether the head has a bias.

    A call with targets (N) returns their log-likelihoods as `output` and minus their mean as `loss`.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        cuts = list(cutoffs)
        fits = all(isinstance(c, int) for c in cuts) and cuts == sorted(set(cuts))
        if not cuts or not fits or cuts[0] <= 0 or cuts[-1] > n_classes - 1:
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each "
                f"value is between 1 and n_classes-1; got {cuts} for {n_classes} classes"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cuts, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = cuts[0]
        self.n_clusters = len(cuts)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, head_bias, device, dtype)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(zip(self.cutoffs, self.cutoffs[1:], strict=False)):
            hidden = int(in_features // div_value ** (i + 1))
            first = Linear(in_features, hidden, False, device, dtype)
            self.tail.append(Sequential(first, Linear(hidden, high - low, False, device, dtype)))

    def reset_parameters(self) -> None:
        """Draw the head, then both layers of each cluster."""
        self.head.reset_parameters()
        for first, second in self.tail:
            first.reset_parameters()
            second.reset_parameters()

    def forward(self, input: Any, target: Any) -> _ASMoutput:
        x, y = (input, target) if target.dim() else (input.unsqueeze(0), target.unsqueeze(0))
        if target.dim() > 1 or x.dim() != 2 or x.shape[0] != y.shape[0]:
            raise ShapeError(
                f"AdaptiveLogSoftmaxWithLoss: input (N, in_features) and target (N), or one of each, are needed; got "
                f"{tuple(input.shape)} and {tuple(target.shape)}"
            )
        if y.numel() and not 0 <= int(y.min()) <= int(y.max()) < self.n_classes:
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range [{int(y.min())}, "
                f"{int(y.max())}] were found."
            )
        entries = y.clone()  # of the head: a frequent class, or the cluster
        within = _core.zeros(y.shape, dtype=input.dtype)
        for i, (low, high) in enumerate(zip(self.cutoffs, self.cutoffs[1:], strict=False)):
            rows = ((y >= low) & (y < high)).nonzero().squeeze(1)
            if rows.numel():
                entries[rows] = self.shortlist_size + i
                scores = functional.log_softmax(self.tail[i](x.index_select(0, rows)), dim=1)
                found = scores.gather(1, (y[rows] - low).unsqueeze(1)).squeeze(1)
                within = within.index_copy(0, rows, found)
        head = functional.log_softmax(self.head(x), dim=1)
        output = within + head.gather(1, entries.unsqueeze(1)).squeeze(1)
        loss = (-output).mean()
        return _ASMoutput(output if target.dim() else output.squeeze(0), loss)

    def log_prob(self, input: Any) -> Any:
        """The log-probabilities of all classes, (N, n_classes)."""
        head = functional.log_softmax(self.head(input), dim=1)
        parts = [head[:, : self.shortlist_size]]
        for i, tail in enumerate(self.tail):
            cluster = head[:, self.shortlist_size + i].unsqueeze(1)
            parts.append(functional.log_softmax(tail(input), dim=1) + cluster)
        return _core.cat(parts, 1)

    def predict(self, input: Any) -> Any:
        """The likeliest class of each row, (N)."""
        return self.log_prob(input).argmax(dim=1)
