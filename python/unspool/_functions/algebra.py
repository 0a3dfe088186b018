"""Sums of products: einsum, tensordot, the addmm family, Kronecker and cross products, distances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from unspool import _core
from unspool._core import DTypeError, ShapeError, Tensor
from unspool._functions._methods import method, need_tensor, tensor_arguments, with_inplace, with_out, wrap_dim
from unspool._naming import shown_as
from unspool._precision import in_float32, in_lower_precision, without_autocast

__all__ = [
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "cdist",
    "chain_matmul",
    "cross",
    "dist",
    "einsum",
    "inner",
    "kron",
    "matrix_power",
    "tensordot",
    "trace",
    "vdot",
]


def _combined(op: str, input: Tensor, f: Any, a: Tensor, b: Tensor, beta: Any, alpha: Any) -> Tensor:
    """beta · input + alpha · f(a, b); with beta 0 what input holds is ignored, NaN included."""
    if a.dtype.itemsize == 2 and input.dtype == a.dtype == b.dtype:  # the product alone may overflow
        return _combined(op, input.float(), f, a.float(), b.float(), beta, alpha).to(a.dtype)
    try:
        product = f(a, b)
    except ShapeError as error:
        raise ShapeError(f"{op}: {error}") from None
    if not product.dtype.is_floating_point:
        if op == "addmm" and (isinstance(beta, float) or isinstance(alpha, float)):
            raise RuntimeError(f"{op}: for integral tensors beta and alpha must be whole, got {beta} and {alpha}")
        beta, alpha = int(beta), int(alpha)
    try:
        whole = input.expand(product.shape)
    except RuntimeError:
        raise ShapeError(
            f"{op}: input of shape {tuple(input.shape)} must broadcast to the product's shape {tuple(product.shape)}"
        ) from None
    if input.dtype != product.dtype:
        raise DTypeError(f"{op}: expected input to have dtype {product.dtype}, got {input.dtype}")
    scaled = product if alpha == 1 else product * alpha
    if beta == 0:
        return scaled
    y = (whole if beta == 1 else whole * beta) + scaled
    return y if op == "addr" else y.contiguous()  # addr alone is elementwise, to PyTorch


def _shaped(op: str, name: str, x: Any, ndim: int) -> None:
    need_tensor(op, name, x)
    if x.dim() != ndim:
        raise ShapeError(f"{op}: {name} must be a {ndim}-D tensor, got shape {tuple(x.shape)}")


@with_out
@with_inplace
@shown_as("AddmmBackward0")
@in_lower_precision
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta · input + alpha · mat1 mat2, of (n, m) and (m, p); the input broadcasts."""
    _shaped("addmm", "mat1", mat1, 2)
    _shaped("addmm", "mat2", mat2, 2)
    return _combined("addmm", input, _core.matmul, mat1, mat2, beta, alpha)


@with_out
@with_inplace
@shown_as("AddmvBackward0")
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta · input + alpha · mat vec, of (n, m) and (m,)."""
    _shaped("addmv", "mat", mat, 2)
    _shaped("addmv", "vec", vec, 1)
    return without_autocast(_combined, "addmv", input, _core.matmul, mat, vec, beta, alpha)


@with_out
@with_inplace
@shown_as("AddrBackward0")
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta · input + alpha · vec1 ⊗ vec2, of (n,) and (m,)."""
    _shaped("addr", "vec1", vec1, 1)
    _shaped("addr", "vec2", vec2, 1)
    if vec1.dtype == vec2.dtype == _core.bool:
        product = _core.outer(vec1, vec2)
        return product if not beta else input | product
    both = _core.result_type(input, vec1.to(_core.promote_types(vec1.dtype, vec2.dtype)))
    return without_autocast(_combined, "addr", input.to(both), _core.outer, vec1.to(both), vec2.to(both), beta, alpha)


@with_out
@with_inplace
@shown_as("BaddbmmBackward0")
@in_lower_precision
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta · input + alpha · batch1 batch2, of (b, n, m) and (b, m, p)."""
    return _combined("baddbmm", input, _core.bmm, batch1, batch2, beta, alpha)


@with_out
@with_inplace
@shown_as("AddbmmBackward0")
@in_lower_precision
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta · input + alpha · the sum over the batch of batch1 batch2."""
    return _combined("addbmm", input, lambda a, b: _core.bmm(a, b).sum(0).to(a.dtype), batch1, batch2, beta, alpha)


@with_out
@method
def inner(input: Tensor, other: Tensor) -> Tensor:
    """The sums of products over the last dim of both; with a 0-d tensor, the product."""
    need_tensor("inner", "other", other)
    if input.dtype != other.dtype:
        raise DTypeError(f"inner: expected both tensors to have the same dtype, got {input.dtype} and {other.dtype}")
    if input.dim() == 0 or other.dim() == 0:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise ShapeError(
            f"inner: the last dimension must match on both input tensors but got shapes {tuple(input.shape)} and "
            f"{tuple(other.shape)}"
        )
    return tensordot(input, other, ([-1], [-1]))


@with_out
@method
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """The sum of products of two 1-d tensors."""
    return _core.dot(input, other)


@method
@in_float32
@shown_as("TraceBackward0")
def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix."""
    if input.dim() != 2:
        raise ShapeError(f"trace: expected a matrix, but got shape {tuple(input.shape)}")
    return input.diagonal().sum()


@with_out
@method
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: every element of the input times the whole other tensor."""
    need_tensor("kron", "other", other)
    n = max(input.dim(), other.dim())
    a = [1] * (n - input.dim()) + list(input.shape)
    b = [1] * (n - other.dim()) + list(other.shape)
    left = input.reshape([s for size in a for s in (size, 1)])
    right = other.reshape([s for size in b for s in (1, size)])
    return (left * right).reshape([x * y for x, y in zip(a, b, strict=True)])


@with_out
@method
@shown_as("LinalgCrossBackward0")
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The vector product along a dim of size 3, the first of that size where none is given."""
    need_tensor("cross", "other", other)
    if dim is None:
        if input.dim() != other.dim():
            raise ShapeError(f"cross: inconsistent shapes {tuple(input.shape)} and {tuple(other.shape)}")
        dim = next((d for d, n in enumerate(input.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError(f"cross: no dimension of size 3 in input of shape {tuple(input.shape)}")
    if input.dim() != other.dim():
        raise ShapeError(f"cross: inputs must have the same number of dimensions, got {input.dim()} and {other.dim()}")
    a, b = _core.broadcast_to(input, _joint(input, other)), _core.broadcast_to(other, _joint(input, other))
    d = wrap_dim("cross", dim, a.dim())
    if input.shape[d] != 3 or other.shape[d] != 3:
        raise RuntimeError(f"cross: inputs dimension {d} must have length 3, got {input.shape[d]} and {other.shape[d]}")
    return a.roll(-1, d) * b.roll(-2, d) - a.roll(-2, d) * b.roll(-1, d)


def _joint(a: Tensor, b: Tensor) -> Any:
    from unspool._functions.grids import broadcast_shapes

    return broadcast_shapes(a.shape, b.shape)


@with_out
@method
def matrix_power(input: Tensor, n: int) -> Tensor:
    """The n-th power of square matrices, n from 0, by repeated squaring."""
    if input.dim() < 2 or input.shape[-1] != input.shape[-2]:
        raise RuntimeError(f"matrix_power: needs square matrices, got shape {tuple(input.shape)}")
    if n < 0:
        from unspool.linalg import inv

        return matrix_power(inv(input), -n)
    result = None
    square = input
    while n:
        if n & 1:
            result = square if result is None else result @ square
        n >>= 1
        if n:
            square = square @ square
    if result is None:
        return _core.eye(input.shape[-1], dtype=input.dtype).expand(input.shape).clone()
    return result.clone() if result is input else result


@with_out
def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of the matrices, in the order that costs least."""
    from unspool.linalg import multi_dot

    given = tensor_arguments("chain_matmul", matrices)
    return given[0] if len(given) == 1 else multi_dot(given)


@method
@shown_as("DistBackward0")
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of input - other, broadcast."""
    return _core.norm(input - other, p)


@in_float32
@shown_as("CdistBackward0")
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: Any = None) -> Tensor:
    """The p-norm distances (…, P, R) between the rows of (…, P, M) and of (…, R, M)."""
    for name, x in (("x1", x1), ("x2", x2)):
        need_tensor("cdist", name, x)
        if x.dim() < 2:
            raise RuntimeError(f"cdist: only supports at least 2D tensors, {name} got: {x.dim()}D")
        if not x.dtype.is_floating_point:
            raise RuntimeError(f"cdist: only supports floating-point dtypes, {name} got: {x.dtype}")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            f"cdist: X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}"
        )
    if not p >= 0:
        raise RuntimeError(f"cdist: only supports non-negative p values, got {p}")
    return _core.norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """The sum over pairs of dims: the last `dims` of a with the first `dims` of b, or dims[0][i] of a with
    dims[1][i] of b. A dim of size 1 on one side sums the other side's."""
    need_tensor("tensordot", "a", a)
    need_tensor("tensordot", "b", b)
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot: expects dims >= 0, but got dims={dims}")
        if dims > min(a.dim(), b.dim()):
            raise RuntimeError(f"tensordot: expects dims < ndim_a or ndim_b, but got dims={dims}")
        left, right = list(range(a.dim() - dims, a.dim())), list(range(dims))
    else:
        left, right = ([int(d) for d in side] for side in dims)
    if len(left) != len(right):
        raise RuntimeError(f"tensordot: both dimension lists should have same length, got {left} and {right}")
    for dim, x in ((left, a), (right, b)):
        for i, d in enumerate(dim):
            dim[i] = wrap_dim("tensordot", d, x.dim())
        if len(set(dim)) != len(dim):
            raise RuntimeError(f"tensordot: a dim appears multiple times in the list of dims {dim}")
    for i, j in zip(left, right, strict=True):
        if a.shape[i] == 1:
            b = b.sum(j, keepdim=True)
        elif b.shape[j] == 1:
            a = a.sum(i, keepdim=True)
        if a.shape[i] != b.shape[j]:
            raise RuntimeError(
                f"tensordot: contracted dimensions need to match, but first has size {a.shape[i]} in dim {i} and "
                f"second has size {b.shape[j]} in dim {j}"
            )
    rows = [d for d in range(a.dim()) if d not in left]
    columns = [d for d in range(b.dim()) if d not in right]
    m = math.prod(a.shape[d] for d in rows)
    n = math.prod(b.shape[d] for d in columns)
    k = math.prod(a.shape[d] for d in left)
    shape = [a.shape[d] for d in rows] + [b.shape[d] for d in columns]
    product = a.permute(rows + left).reshape([m, k]) @ b.permute(right + columns).reshape([k, n])
    return product.reshape(shape)


def _terms(equation: str, count: int) -> tuple[list[list[str]], list[str] | None]:
    """The letters of each operand and of the result (None where it is left to us); '...' is one letter."""
    text = equation.replace(" ", "").replace("...", ".")
    left, arrow, right = text.partition("->")
    terms = [list(t) for t in left.split(",")]
    for t in (*terms, list(right)):
        if any(not (ch == "." or (ch.isascii() and ch.isalpha())) for ch in t) or t.count(".") > 1:
            raise RuntimeError(f"einsum: expected letters of the alphabet, '...' and ',', got equation {equation!r}")
    if len(terms) != count:
        raise RuntimeError(
            f"einsum: the equation {equation!r} has {len(terms)} operands, but {count} tensors were given"
        )
    return terms, list(right) if arrow else None


def einsum(equation: Any, *operands: Any) -> Tensor:
    """Sums of products by Einstein's convention: `einsum("bij,bjk->bik", a, b)`, or with lists of numbers for the
    letters, `einsum(a, [0, 1], b, [1, 2], [0, 2])`. Contracts from left to right.

    Raises:
        RuntimeError: the equation is malformed, or does not fit the number, the dims or the sizes of the operands.
    """
    if isinstance(equation, Tensor):
        equation, given = _from_sublists((equation, *operands))
        operands = tuple(given)
    if not isinstance(equation, str):
        raise TypeError(f"einsum: equation must be a str, got {type(equation).__name__}")
    given = tensor_arguments("einsum", operands)
    if not given:
        raise RuntimeError("einsum: at least one operand must be provided")
    terms, result = _terms(equation, len(given))
    covered = 0  # dims under the ellipsis
    for i, (t, x) in enumerate(zip(terms, given, strict=True)):
        named = len(t) - ("." in t)
        if named > x.dim() or ("." not in t and named != x.dim()):
            raise RuntimeError(
                f"einsum: the number of subscripts in the equation ({named}) does not match the number of dimensions "
                f"({x.dim()}) for operand {i}"
            )
        covered = max(covered, x.dim() - named)
    if result is None:
        letters = [ch for t in terms for ch in t]
        result = (["."] if "." in letters else []) + sorted({ch for ch in letters if letters.count(ch) == 1} - {"."})
    elif len(set(result)) != len(result):
        raise RuntimeError(f"einsum: an output subscript appears more than once in {equation!r}")
    dots = [f".{k}" for k in range(covered)]
    sizes: dict[str, int] = {}
    parts = []
    for i, (t, x) in enumerate(zip(terms, given, strict=True)):
        own = dots[covered - (x.dim() - len(t) + 1) :] if "." in t else []
        names = [n for ch in t for n in (own if ch == "." else [ch])]
        while len(set(names)) < len(names):  # a repeated letter is a diagonal
            name = next(n for n in names if names.count(n) > 1)
            a, b = [k for k, n in enumerate(names) if n == name][:2]
            if x.shape[a] != x.shape[b]:
                raise RuntimeError(
                    f"einsum: subscript {name} is repeated for operand {i} but the sizes don't match, {x.shape[b]} != "
                    f"{x.shape[a]}"
                )
            x = x.diagonal(0, a, b)
            names = [n for k, n in enumerate(names) if k not in (a, b)] + [name]
        for name, n in zip(names, x.shape, strict=True):
            if n != 1 and sizes.get(name, 1) not in (1, n):
                raise RuntimeError(
                    f"einsum: operands do not broadcast: subscript {name} has size {n} for operand {i} which does not "
                    f"broadcast with previously seen size {sizes[name]}"
                )
            sizes[name] = n if n != 1 else sizes.get(name, 1)
        parts.append((names, x))
    wanted = [n for ch in result for n in (dots if ch == "." else [ch])]
    for name in wanted:
        if name not in sizes:
            raise RuntimeError(f"einsum: output subscript {name} does not appear in the equation for any input operand")
    names, x = parts[0]
    for k, (others, y) in enumerate(parts[1:], 2):
        later = {n for part, _ in parts[k:] for n in part} | set(wanted)
        names, x = _contracted(names, x, others, y, later)
    x = _without(names, x, set(wanted))
    names = [n for n in names if n in wanted]
    for name in wanted:  # a covered dim that no operand has is of size 1
        if name not in names:
            names, x = [name, *names], x.unsqueeze(0)
    y = x.permute([names.index(n) for n in wanted]) if names else x
    if len(given) > 1:
        outer = set(wanted) == {n for part, _ in parts for n in part}
        _core._show_as(y, _PRODUCT if outer and len(given) == 2 and not _shared(parts) else _BATCHED)
    return y


_PRODUCT, _BATCHED = _core._number_of_name("MulBackward0"), _core._number_of_name("ViewBackward0")


def _shared(parts: Any) -> bool:
    return bool(set(parts[0][0]) & set(parts[1][0]))


def _without(names: list[str], x: Tensor, keep: set[str]) -> Tensor:
    gone = [d for d, n in enumerate(names) if n not in keep]
    return x.sum(gone).to(x.dtype) if gone else x


def _contracted(names: list[str], x: Tensor, others: list[str], y: Tensor, later: set[str]) -> tuple[list[str], Tensor]:
    """The sum of products of two operands over the letters that nothing later needs, as one batched product."""
    x, y = _without(names, x, later | set(others)), _without(others, y, later | set(names))
    names, others = [n for n in names if n in later or n in others], [n for n in others if n in later or n in names]
    both = [n for n in names if n in others]
    size = {n: max(x.shape[names.index(n)], y.shape[others.index(n)]) for n in both}
    if any(x.shape[names.index(n)] == 0 or y.shape[others.index(n)] == 0 for n in both):
        size.update({n: 0 for n in both if 0 in (x.shape[names.index(n)], y.shape[others.index(n)])})
    batch, gone = [n for n in both if n in later], [n for n in both if n not in later]
    # a summed letter of size 1 on one side: the other side is summed first, by the expansion
    mine, theirs = [n for n in names if n not in both], [n for n in others if n not in both]
    a = x.permute([names.index(n) for n in batch + mine + gone])
    b = y.permute([others.index(n) for n in batch + gone + theirs])
    a = a.expand(
        [size[n] for n in batch] + list(a.shape[len(batch) : len(batch) + len(mine)]) + [size[n] for n in gone]
    )
    b = b.expand([size[n] for n in batch + gone] + list(b.shape[len(both) :]))
    rows, columns = a.shape[len(batch) : len(batch) + len(mine)], b.shape[len(both) :]
    m, n, k = math.prod(rows), math.prod(columns), math.prod(size[g] for g in gone)
    count = math.prod(size[g] for g in batch)
    if gone:
        product = a.reshape([count, m, k]) @ b.reshape([count, k, n])
    else:
        product = a.reshape([count, m, 1]) * b.reshape([count, 1, n])
    return batch + mine + theirs, product.reshape([size[g] for g in batch] + list(rows) + list(columns))


def _from_sublists(values: tuple[Any, ...]) -> tuple[str, list[Tensor]]:
    def text(numbers: Sequence[Any]) -> str:
        chars = []
        for n in numbers:
            if n is not Ellipsis and not (isinstance(n, int) and 0 <= n < 52):
                raise RuntimeError(
                    f"einsum: expected subscripts in sublist to be integers in [0, 52) or ..., got {n!r}"
                )
            chars.append("..." if n is Ellipsis else chr(ord("A") + n) if n < 26 else chr(ord("a") + n - 26))
        return "".join(chars)

    operands = list(values[0 : len(values) - len(values) % 2 : 2])
    lists = values[1 : len(values) - len(values) % 2 : 2]
    equation = ",".join(text(s) for s in lists)
    if len(values) % 2:
        equation += "->" + text(values[-1])
    return equation, operands
