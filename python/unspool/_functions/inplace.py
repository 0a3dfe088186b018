"""Methods that write into the tensor or change its view of the memory, second names, and marks of PyTorch's that are
the same for every tensor here."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from unspool import _core
from unspool._core import Tensor
from unspool._functions._methods import method, need_tensor

__all__ = ["detach", "fill", "index_put", "index_put_", "put"]


def detach(input: Tensor) -> Tensor:
    """The same memory without history."""
    need_tensor("detach", "input", input)
    return input.detach()


@method
def fill(input: Tensor, value: Any) -> Tensor:
    """A copy of the tensor's shape and dtype that holds `value` everywhere."""
    return input.clone().fill_(value)


def _position(op: str, indices: Any) -> tuple[Any, ...]:
    if not isinstance(indices, (tuple, list)):
        raise TypeError(f"{op}: indices must be a tuple of tensors, got {type(indices).__name__}")
    for i, index in enumerate(indices):
        if index is not None:
            need_tensor(op, f"indices[{i}]", index)
    return tuple(slice(None) if index is None else index for index in indices)


@method
def index_put_(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """input[indices] = values, or += with `accumulate`, where equal indices add up."""
    need_tensor("index_put_", "values", values)
    where = _position("index_put_", indices)
    if values.dtype != input.dtype:
        raise RuntimeError(
            f"index_put_: requires the source and destination dtypes match, got {input.dtype} for the destination and "
            f"{values.dtype} for the source"
        )
    if not accumulate:
        input[where] = values
        return input
    places = _core.arange(input.numel()).reshape(input.shape)[where]
    flat = input.reshape([-1]).index_add(0, places.reshape([-1]), values.expand(places.shape).reshape([-1]))
    return input.copy_(flat.reshape(input.shape))


@method
def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with index_put_ done to it."""
    return index_put_(input.clone(), indices, values, accumulate)


@method
def put_(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Write (or add) the source's elements at flat positions."""
    need_tensor("put_", "index", index)
    need_tensor("put_", "source", source)
    if index.dtype != _core.int64:
        raise IndexError(f"put_: Expected a long tensor for index, but got {index.dtype}")
    if source.dtype != input.dtype:
        raise RuntimeError(
            f"put_: input and source expected to have the same dtype, got {input.dtype} and {source.dtype}"
        )
    n = input.numel()
    if source.numel() != index.numel():
        raise RuntimeError(
            f"put_: Expected source and index to have the same number of elements, got "
            f"{source.numel()} and {index.numel()}"
        )
    if index.numel() and (n == 0 or not bool(((index >= -n) & (index < n)).all())):
        raise IndexError(f"put_: index out of range: the tensor has {n} elements, got {index.tolist()}")
    flat = index.reshape([-1]) % max(n, 1)
    values = source.reshape([-1])
    whole = input.reshape([-1])
    whole = whole.index_add(0, flat, values) if accumulate else whole.index_put((flat,), values)
    return input.copy_(whole.reshape(input.shape))


@method
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with put_ done to it."""
    return put_(input.clone(), index, source, accumulate)


@method
def fill_diagonal_(input: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Write a number on the main diagonal; with `wrap`, on and on down a tall matrix."""
    if input.dim() < 2:
        raise RuntimeError(f"fill_diagonal_: dimensions must larger than 1, got shape {tuple(input.shape)}")
    n = min(input.shape)
    if input.dim() > 2 and len(set(input.shape)) > 1:
        raise RuntimeError(f"fill_diagonal_: all dimensions of input must be of equal length, got {tuple(input.shape)}")
    rows = _core.arange(n)
    input[(rows,) * input.dim()] = fill_value
    if wrap and input.dim() == 2 and input.shape[0] > input.shape[1] + 1:
        height, width = input.shape
        places = _core.arange(0, height * width, width + 1)
        input[places.div(width, rounding_mode="floor"), places % width] = fill_value
    return input


def _whole_numbers(name: str, f: Callable[[Any, Any], Any]) -> None:
    """`x << k` and `x >> k` on integers, as products and floored quotients of powers of 2."""

    def shift(input: Tensor, other: Any) -> Any:
        need_tensor(name, "input", input)
        for x in (input, other):
            if isinstance(x, float) or (isinstance(x, Tensor) and (x.dtype.is_floating_point or x.dtype == _core.bool)):
                raise NotImplementedError(
                    f"{name}: not implemented for {x.dtype if isinstance(x, Tensor) else 'float'}"
                )
        return f(input, _core.pow(2, other) if isinstance(other, Tensor) else 2 ** operator.index(other))

    shift.__name__ = shift.__qualname__ = name
    shift.__doc__ = "Shift each integer's bits."
    setattr(Tensor, name, shift)


_whole_numbers("__lshift__", lambda x, p: x * p)
_whole_numbers("__rshift__", lambda x, p: x.div(p, rounding_mode="floor"))
for _name, _op in (("bitwise_left_shift", "__lshift__"), ("bitwise_right_shift", "__rshift__")):
    setattr(Tensor, _name, getattr(Tensor, _op))


def __reversed__(self: Tensor) -> Tensor:
    """The tensor with all dims in reverse order."""
    return self.flip(list(range(self.dim()))) if self.dim() else self


setattr(Tensor, "__reversed__", __reversed__)  # noqa: B010


def _writing(name: str) -> None:
    """`x op= y`, in place: augmented assignments of the bit operations."""
    plain = getattr(Tensor, f"__{name}__", None)
    if plain is None:
        return

    def write(self: Tensor, other: Any) -> Tensor:
        result = plain(self, other)
        return result if result is NotImplemented else self.copy_(result)

    write.__name__ = write.__qualname__ = f"__i{name}__"
    setattr(Tensor, f"__i{name}__", write)


for _name in ("and", "or", "xor", "lshift", "rshift"):
    _writing(_name)

# PyTorch's second names of in-place methods
for _name, _same in (
    ("absolute_", "abs_"),
    ("arccos_", "acos_"),
    ("arccosh_", "acosh_"),
    ("arcsin_", "asin_"),
    ("arcsinh_", "asinh_"),
    ("arctan_", "atan_"),
    ("arctan2_", "atan2_"),
    ("arctanh_", "atanh_"),
    ("clip_", "clamp_"),
    ("divide_", "div_"),
    ("fix_", "trunc_"),
    ("multiply_", "mul_"),
    ("negative_", "neg_"),
    ("subtract_", "sub_"),
    ("true_divide_", "div_"),
    ("ger", "outer"),
):
    setattr(Tensor, _name, getattr(Tensor, _same))
del _name, _same, _op


@method
def logical_not_(input: Tensor) -> Tensor:
    """`logical_not`, written into the tensor."""
    return input.copy_(_core.logical_not(input).to(input.dtype))


def _where(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """The tensor where condition holds, else other."""
    return _core.where(condition, self, other)


setattr(Tensor, "where", _where)  # noqa: B010


def _mark(name: str, value: Any, doc: str) -> None:
    setattr(Tensor, name, property(lambda self: value, doc=doc))


for _name in ("is_meta", "is_quantized", "is_mps", "is_xpu", "is_xla", "is_mkldnn", "is_sparse_csr", "is_nested"):
    _mark(_name, False, f"{_name}: bool\n\nFalse.")
_mark("is_cpu", True, "is_cpu: bool\n\nTrue: everything is on the CPU.")


class _Strided:
    def __repr__(self) -> str:
        return "torch.strided"


strided = _Strided()
_mark("layout", strided, "layout: object\n\nAlways strided.")
__all__ += ["strided"]


@method
def get_device(input: Tensor) -> int:
    """-1: the CPU has no number."""
    return -1


@method
def is_conj(input: Tensor) -> bool:
    """False."""
    return False


@method
def is_inference(input: Tensor) -> bool:
    """False."""
    return False


@method
def is_pinned(input: Tensor, device: Any = None) -> bool:
    """False."""
    return False


@method
def is_shared(input: Tensor) -> bool:
    """False: memory is this process's own."""
    return False


@method
def is_set_to(input: Tensor, tensor: Tensor) -> bool:
    """Whether both show the same memory with the same shape and strides."""
    need_tensor("is_set_to", "tensor", tensor)
    same = input.data_ptr() == tensor.data_ptr() and input.shape == tensor.shape
    return same and input.stride() == tensor.stride()


@method
def narrow_copy(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """narrow, as a copy."""
    return input.narrow(dim, start, length).clone()


@method
def as_subclass(input: Tensor, cls: type) -> Any:
    """The same memory as a tensor of a subclass, without history."""
    return Tensor._make_subclass(cls, input, input.requires_grad)


def _functions_of_methods() -> dict[str, Any]:
    """`unspool.abs_(x)` for `x.abs_()`, as PyTorch has them."""
    names = (
        "abs acos acosh asin asinh atan atanh ceil clamp clamp_max clamp_min clip cos cosh deg2rad erf erfc exp exp2 "
        "expm1 fill floor frac log log10 log1p log2 logit neg negative nan_to_num rad2deg reciprocal relu round rsqrt "
        "sigmoid sin sinc sinh sqrt square tan tanh trunc xlogy zero arccos arcsin arctan arccosh arcsinh arctanh fix"
    )
    made = {}
    for name in names.split():
        f = getattr(Tensor, f"{name}_", None)
        if f is not None and f"{name}_" not in dir(_core):
            made[f"{name}_"] = f
    return made


globals().update(_functions_of_methods())
__all__ += list(_functions_of_methods())
