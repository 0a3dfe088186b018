"""Learnt tables of rows; the formulas are in `functional`."""

from __future__ import annotations

from typing import Any

from unspool import _core
from unspool.nn import functional, init
from unspool.nn.modules.module import Module
from unspool.nn.parameter import Parameter

__all__ = ["Embedding", "EmbeddingBag"]


class _Table(Module):
    """A matrix `weight` of rows from N(0, 1), and how its rows are looked up."""

    weight: Any

    def _make(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None,
        max_norm: float | None,
        norm_type: float,
        scale_grad_by_freq: bool,
        sparse: bool,
        weight: Any,
        freeze: bool,
        made: dict[str, Any],
    ) -> None:
        name = type(self).__name__
        if sparse:
            raise NotImplementedError(f"{name}: there are no sparse gradients; leave sparse=False")
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise AssertionError(
                    f"{name}: padding_idx must be within num_embeddings {num_embeddings}, got {padding_idx}"
                )
            padding_idx %= num_embeddings
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        if weight is None:
            self.weight = Parameter(_core.empty((num_embeddings, embedding_dim), **made), not freeze)
            self.reset_parameters()
        elif tuple(weight.shape) != (num_embeddings, embedding_dim):
            raise AssertionError(f"{name}: Shape of weight does not match num_embeddings and embedding_dim")
        else:
            self.weight = Parameter(weight, not freeze)

    def reset_parameters(self) -> None:
        """Draw the table from N(0, 1); the row padding_idx is zero."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            init.zeros_(self.weight.data[self.padding_idx])

    def _settings(self) -> list[str]:
        shown = [f"{self.num_embeddings}, {self.embedding_dim}"]
        if self.max_norm is not None:
            shown.append(f"max_norm={self.max_norm}")
        if self.norm_type != 2:
            shown.append(f"norm_type={self.norm_type}")
        if self.scale_grad_by_freq:
            shown.append(f"scale_grad_by_freq={self.scale_grad_by_freq}")
        return shown


def _check_matrix(name: str, embeddings: Any) -> tuple[int, int]:
    if embeddings.dim() != 2:
        raise AssertionError(f"{name}: Embeddings parameter is expected to be 2-dimensional")
    rows, columns = embeddings.shape
    return rows, columns


class Embedding(_Table):
    """Rows of a learnt table: integers (…) in [0, num_embeddings) give (…, embedding_dim).

    The row padding_idx is zero at first and gets no gradient. Rows longer than `max_norm` are scaled to it when they
    are used; `scale_grad_by_freq` divides a row's gradient by how often the input names it.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Any = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        made = {"device": device, "dtype": dtype}
        lookup = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
        self._make(num_embeddings, embedding_dim, *lookup, _weight, _freeze, made)

    def forward(self, input: Any) -> Any:
        return functional.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq
        )

    def extra_repr(self) -> str:
        shown = self._settings()
        if self.padding_idx is not None:
            shown.insert(1, f"padding_idx={self.padding_idx}")
        return ", ".join(shown)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """An embedding of the rows of a matrix, which learns only where `freeze` is false."""
        rows, columns = _check_matrix("Embedding", embeddings)
        lookup = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
        return cls(rows, columns, *lookup, _weight=embeddings, _freeze=freeze)


class EmbeddingBag(_Table):
    """The sum, mean or largest ('max') of rows of a learnt table, for each bag of integers.

    The input is (B, n), each row a bag, or (n) with the `offsets` at which bags start; the result (B, embedding_dim).
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Any = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        made = {"device": device, "dtype": dtype}
        lookup = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
        self._make(num_embeddings, embedding_dim, *lookup, _weight, False, made)
        self.mode = mode
        self.include_last_offset = include_last_offset

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Any:
        return functional.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self) -> str:
        shown = [*self._settings(), f"mode={self.mode!r}"]
        if self.padding_idx is not None:
            shown.append(f"padding_idx={self.padding_idx}")
        return ", ".join(shown)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> EmbeddingBag:
        """A bag of the rows of a matrix, which learns only where `freeze` is false."""
        rows, columns = _check_matrix("EmbeddingBag", embeddings)
        lookup = (max_norm, norm_type, scale_grad_by_freq, mode, sparse)
        bag = cls(rows, columns, *lookup, embeddings, include_last_offset, padding_idx)
        bag.weight.requires_grad = not freeze
        return bag
