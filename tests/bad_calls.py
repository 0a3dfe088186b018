"""Malformed calls: what each must raise, and which words its message must contain. `test_bad_input.py` runs them.

A case is code that must fail. It sees the fresh objects of `world()`; `setup` runs first and may succeed. Run as a
program (`python bad_calls.py FIRST LAST`) this file is the child process: it prints one JSON line before and one
after each case, so that the parent knows which case took the interpreter down. After each case everything in the
world must be as it was, to the bit, and one training step on it must give the bits of an untouched world.
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import bad_families

VALUE, TYPE, RUNTIME, INDEX, KEY, ATTRIBUTE = ValueError, TypeError, RuntimeError, IndexError, KeyError, AttributeError


class Case(NamedTuple):
    name: str
    code: str
    errors: tuple[type[BaseException], ...]
    words: tuple[str, ...]
    setup: str = ""


CASES: list[Case] = []


def bad(name: str, code: str, errors: Any, *words: str, setup: str = "") -> None:
    errors = errors if isinstance(errors, tuple) else (errors,)
    CASES.append(Case(name, code, errors, words, setup))


# ---- Shapes that don't fit --------------------------------------------------------------------------------------

bad("matmul inner sizes", "a @ a", (VALUE, RUNTIME), "matmul", "(2, 3)")
bad("matmul of 2-D and 1-D", "a @ v4", (VALUE, RUNTIME), "matmul", "(2, 3)", "(4,)")
bad("matmul of vectors", "v3 @ v4", (VALUE, RUNTIME), "matmul", "(3,)", "(4,)")
bad("matmul of a scalar", "a @ s", (VALUE, RUNTIME), "matmul", "()")
bad("matmul batches", "torch.ones(2, 3, 4) @ torch.ones(3, 4, 2)", (VALUE, RUNTIME), "(2, 3, 4)", "(3, 4, 2)")
bad("mm of vectors", "torch.mm(v3, v3)", (VALUE, RUNTIME), "mm", "(3,)")
bad("linear width", "F.linear(b, p)", (VALUE, RUNTIME), "linear", "(4, 5)", "(4, 3)")
bad("linear bias", "F.linear(a, p, v3)", (VALUE, RUNTIME), "linear", "bias", "(3,)")
bad("linear weight of 3 dims", "F.linear(a, torch.ones(2, 2, 3))", (VALUE, RUNTIME), "linear", "(2, 2, 3)")
bad("model width", "model(b)", (VALUE, RUNTIME), "linear", "(4, 5)")
bad("add", "a + b", (VALUE, RUNTIME), "add", "(2, 3)", "(4, 5)")
bad("sub with alpha", "torch.sub(a, b, alpha=2)", (VALUE, RUNTIME), "sub", "(2, 3)", "(4, 5)")
bad("compare", "a < b", (VALUE, RUNTIME), "lt", "(2, 3)", "(4, 5)")
bad("maximum", "torch.maximum(a, v4)", (VALUE, RUNTIME), "maximum", "(4,)")
bad("where", "torch.where(m, a, b)", (VALUE, RUNTIME), "where", "(4, 5)")
bad("in-place add that grows", "v3.add_(a)", (VALUE, RUNTIME), "add_", "(3,)", "(2, 3)")
bad("in-place mul", "a.mul_(b)", (VALUE, RUNTIME), "mul", "(2, 3)", "(4, 5)")
bad("copy_", "a.copy_(b)", (VALUE, RUNTIME), "copy_", "(2, 3)", "(4, 5)")
bad("cat", "torch.cat([a, b])", (VALUE, RUNTIME), "cat", "(2, 3)", "(4, 5)")
bad("cat ndim", "torch.cat([a, v3])", (VALUE, RUNTIME), "cat", "(3,)")
bad("cat of 0-d", "torch.cat([s, s])", (VALUE, RUNTIME), "cat", "position 0")
bad("cat of nothing", "torch.cat([])", (VALUE, RUNTIME), "cat")
bad("stack", "torch.stack([a, b])", (VALUE, RUNTIME), "stack", "(2, 3)", "(4, 5)")
bad("stack of nothing", "torch.stack([])", (VALUE, RUNTIME), "stack")
bad("view", "a.view(4, 2)", (VALUE, RUNTIME), "view", "(4, 2)", "(2, 3)")
bad("view of a transpose", "a.t().view(6)", (VALUE, RUNTIME), "view", "(3, 2)", "reshape")
bad("view with two unknowns", "a.view(-1, -1)", (VALUE, RUNTIME), "view", "-1")
bad("view with -2", "a.view(-2, 3)", (VALUE, RUNTIME), "view", "-2")
bad("view of an empty with -1", "e.view(0, -1)", (VALUE, RUNTIME), "view", "-1")
bad("reshape", "a.reshape(7)", (VALUE, RUNTIME), "reshape", "(7,)", "(2, 3)")
bad("reshape remainder", "a.reshape(4, -1)", (VALUE, RUNTIME), "reshape", "4")
bad("expand", "a.expand(5, 3)", (VALUE, RUNTIME), "expand", "(5, 3)", "(2, 3)")
bad("expand to fewer dims", "a.expand(3)", (VALUE, RUNTIME), "expand", "(1)", "(2)")
bad("expand a new dim by -1", "v3.expand(-1, 3)", (VALUE, RUNTIME), "expand", "-1")
bad("permute count", "a.permute(0)", (VALUE, RUNTIME), "permute", "(0,)")
bad("t of 3 dims", "torch.ones(2, 2, 2).t()", (VALUE, RUNTIME), "t", "(2, 2, 2)")
bad("mse_loss", "F.mse_loss(a, b)", (VALUE, RUNTIME), "mse_loss", "(2, 3)", "(4, 5)")
bad("MSELoss", "nn.MSELoss()(a, b)", (VALUE, RUNTIME), "mse_loss", "(2, 3)", "(4, 5)")
bad("cross_entropy batch", "F.cross_entropy(logits, labels[:3])", (VALUE, RUNTIME), "cross_entropy", "(5, 2)", "(3,)")
bad("cross_entropy distribution", "F.cross_entropy(logits, a)", (VALUE, RUNTIME), "cross_entropy", "(5, 2)", "(2, 3)")
bad("cross_entropy weight", "F.cross_entropy(logits, labels, weight=v3)", (VALUE, RUNTIME), "weight", "(3,)")
bad("cross_entropy of a number", "F.cross_entropy(s, i0)", (VALUE, RUNTIME), "cross_entropy", "()")
bad("index too many", "a[0, 0, 0]", INDEX, "too many indices", "2", "3")
bad("assignment", "a[0] = v4", (VALUE, RUNTIME), "(3,)", "(4,)")

# ---- Sizes ------------------------------------------------------------------------------------------------------

bad("zeros -1", "torch.zeros(-1)", (VALUE, RUNTIME), "zeros", "-1")
bad("empty (2, -3)", "torch.empty(2, -3)", (VALUE, RUNTIME), "empty", "-3")
bad("rand -1", "torch.rand(-1)", (VALUE, RUNTIME), "rand", "-1")
bad("full -1", "torch.full((-1,), 2.0)", (VALUE, RUNTIME), "full", "-1")
bad("eye -1", "torch.eye(-1)", (VALUE, RUNTIME), "eye", "-1")
bad("linspace -1", "torch.linspace(0, 1, -1)", (VALUE, RUNTIME), "linspace", "-1")
bad("randperm -1", "torch.randperm(-1)", (VALUE, RUNTIME), "randperm", "-1")
bad("Linear -1", "nn.Linear(-1, 2)", (VALUE, RUNTIME), "Linear", "in_features", "-1")
bad("Linear of -2 outputs", "nn.Linear(1, -2)", (VALUE, RUNTIME), "Linear", "out_features", "-2")
bad("overflow", "torch.zeros(2**62, 2**62)", (MemoryError, RUNTIME), "zeros", "4611686018427387904")
bad("bytes overflow", "torch.empty(2**61)", (MemoryError, RUNTIME), "empty", "2305843009213693952")
bad("4 TiB", "torch.zeros(2**40)", (MemoryError, RUNTIME), "zeros", "1099511627776")
bad("4 TiB of rows", "torch.rand(2**20, 2**20)", (MemoryError, RUNTIME), "rand", "1048576")
bad("arange of 8 TiB", "torch.arange(2**40)", (MemoryError, RUNTIME), "arange", "1099511627776")
bad("arange of 1e15", "torch.arange(1e15)", (MemoryError, RUNTIME), "arange")
bad("sum of a huge view", "(s.expand(2**31, 2**31) + 1)", (MemoryError, RUNTIME), "add", "2147483648")
bad("expand beyond 2^63", "s.expand(2**62, 2**62)", (MemoryError, VALUE, RUNTIME), "expand", "4611686018427387904")
bad("reshape beyond 2^63", "a.reshape(2**62, 2**62, 2**62)", (MemoryError, VALUE, RUNTIME), "4611686018427387904")
bad("size beyond int64", "torch.zeros(2**64)", (OverflowError, TYPE, VALUE, RUNTIME), "zeros", "18446744073709551616")
bad("zeros 2.5", "torch.zeros(2.5)", TYPE, "zeros", "size", "2.5")
bad("zeros of text", "torch.zeros('3')", TYPE, "zeros", "size", "'3'")
bad("zeros None", "torch.zeros(None)", TYPE, "zeros", "size", "None")
bad("zeros (2, 1.5)", "torch.zeros((2, 1.5))", TYPE, "zeros", "size", "1.5")
bad("view 1.5", "a.view(1.5, 4)", TYPE, "view", "1.5")
bad("Linear 2.5", "nn.Linear(2.5, 2)", TYPE, "2.5")
bad("nine dims", "torch.zeros(1, 1, 1, 1, 1, 1, 1, 1, 1)", (VALUE, RUNTIME), "8 dimensions", "9")
bad("arange step 0", "torch.arange(0, 3, 0)", (VALUE, RUNTIME), "arange", "step", "0")
bad("arange against its step", "torch.arange(0, 3, -1)", (VALUE, RUNTIME), "arange", "-1")
bad("arange to nan", "torch.arange(float('nan'))", (VALUE, RUNTIME), "arange", "nan")
bad("Size of text", "torch.Size([2, 'a'])", TYPE, "Size", "item 1", "'a'")
bad("Size of a float", "torch.Size((2.5,))", TYPE, "Size", "item 0", "2.5")

# ---- Data -------------------------------------------------------------------------------------------------------

bad("ragged", "torch.tensor([[1, 2], [3]])", VALUE, "tensor", "length 2", "dim 1", "got 1")
bad("ragged, number after list", "torch.tensor([[1], 2])", VALUE, "tensor", "dim 1", "2")
bad("ragged, list after number", "torch.tensor([1, [2]])", VALUE, "tensor", "dim 1", "[2]")
bad("ragged, deep", "torch.tensor([[[1, 2]], [[1, 2, 3]]])", VALUE, "tensor", "dim 2", "got 3")
bad("ragged arrays", "torch.tensor([np.ones(2), np.ones(3)])", VALUE, "tensor", "length 2", "got 3")
bad("a list that holds itself", "torch.tensor(loop)", VALUE, "8 dimensions", setup="loop = []; loop.append(loop)")
bad("a sequence that shrinks", "torch.tensor(Shrinking())", VALUE, "tensor", "length")
bad("a sequence that raises", "torch.tensor(Raising())", ZeroDivisionError, "division")
bad("object", "torch.tensor(object())", TYPE, "tensor", "object")
bad("None", "torch.tensor(None)", TYPE, "tensor", "None")
bad("list of None", "torch.tensor([1.0, None])", TYPE, "tensor", "None")
bad("text", "torch.tensor('abc')", TYPE, "tensor", "'abc'")
bad("list of text", "torch.tensor(['a'])", TYPE, "tensor", "'a'")
bad("bytes", "torch.tensor(b'abc')", TYPE, "tensor", "b'abc'")
bad("dict", "torch.tensor({1: 2})", TYPE, "tensor", "{1: 2}")
bad("set", "torch.tensor({1})", TYPE, "tensor", "{1}")
bad("generator expression", "torch.tensor(i for i in range(3))", TYPE, "tensor", "generator")
bad("complex number", "torch.tensor(1j)", TYPE, "tensor", "1j")
bad("list of complex", "torch.tensor([1.0, 2j])", TYPE, "tensor", "2j")
bad("list of tensors", "torch.tensor([v3, v3])", VALUE, "tensor", "(3,)", "stack")
bad("2**63", "torch.tensor(2**63)", (VALUE, RUNTIME), "tensor", "9223372036854775808", "int64")
bad("10**400 as float", "torch.tensor(10**400, dtype=torch.float64)", (VALUE, RUNTIME), "tensor", "float64")
bad("300 as uint8", "torch.tensor(300, dtype=torch.uint8)", RUNTIME, "tensor", "300", "uint8")
bad("3e9 as int32", "torch.tensor(3e9, dtype=torch.int32)", RUNTIME, "tensor", "3000000000.0", "int32")
bad("nan as int64", "torch.tensor([float('nan')], dtype=torch.int64)", RUNTIME, "tensor", "nan", "int64")
bad("inf as int64", "torch.tensor(float('inf'), dtype=torch.int64)", RUNTIME, "tensor", "inf", "int64")
bad("dtype of text", "torch.tensor([1], dtype='float32')", TYPE, "tensor", "dtype", "'float32'")
bad("dtype of NumPy", "torch.tensor([1], dtype=np.float32)", TYPE, "tensor", "dtype", "float32")
bad("requires_grad of ints", "torch.tensor([1, 2], requires_grad=True)", RUNTIME, "tensor", "floating", "int64")
bad("requires_grad of zeros", "torch.zeros(2, dtype=torch.int64, requires_grad=True)", RUNTIME, "zeros", "int64")
bad("no data", "torch.tensor()", TYPE, "tensor", "data")
bad("device cuda", "torch.tensor(1.0, device='cuda')", RUNTIME, "device", "CPU", "'cuda'")
bad("zeros on cuda", "torch.zeros(2, device='cuda:1')", RUNTIME, "device", "'cuda:1'")
bad("device 3", "torch.ones(2, device=3)", (RUNTIME, TYPE), "device", "3")
bad("to cuda", "a.to('cuda')", RUNTIME, "device", "'cuda'")
bad("to text", "a.to('float32')", RUNTIME, "device", "'float32'")
bad("to a keyword", "a.to(dtyp=torch.float64)", TYPE, "to", "dtyp")
bad("type of text", "a.type('torch.Half')", (TYPE, VALUE), "type", "torch.Half")
bad("resize to tensors", "a.resize_(torch.ones(1, 2), torch.ones(2))", TYPE, "resize_", "size", "tensor")
bad("resize to too much", "a.resize_(2**70)", TYPE, "resize_", "size")
bad("torch.device", "torch.device('tpu')", RUNTIME, "device", "'tpu'")
for _kind, _make in {
    "complex64": "np.ones(2, np.complex64)",
    "complex128": "np.ones(2, complex)",
    "object": "np.array([1, 'a'], dtype=object)",
    "<U1": "np.array(['a'])",
    "|S1": "np.array([b'a'])",
    "float128": "np.ones(2, np.longdouble)",
    "uint16": "np.ones(2, np.uint16)",
    "int8": "np.ones(2, np.int8)",
    "datetime64": "np.array(['2020-01-01'], dtype='M8[s]')",
    "timedelta64": "np.ones(2, 'm8[s]')",
    "f4": "np.zeros(2, [('x', 'f4')])",
}.items():
    bad(f"tensor of {_kind}", f"torch.tensor({_make})", TYPE, "tensor", _kind, "supported dtypes")
    bad(f"from_numpy of {_kind}", f"torch.from_numpy({_make})", TYPE, "from_numpy", _kind, "supported dtypes")
bad("longdouble scalars", "torch.tensor([np.longdouble(1)])", TYPE, "tensor", "float128")
bad("big-endian tensor", "torch.tensor(np.ones(2, '>f4'))", (TYPE, VALUE), "tensor", "big-endian", ">f4")
bad("big-endian from_numpy", "torch.from_numpy(np.ones(2, '>i8'))", (TYPE, VALUE), "from_numpy", "big-endian", ">i8")
bad("big-endian as_tensor", "torch.as_tensor(np.ones(2, '>f8'))", (TYPE, VALUE), "as_tensor", "big-endian")
bad("from_numpy of a list", "torch.from_numpy([1, 2])", TYPE, "from_numpy", "[1, 2]")
bad("from_numpy of a tensor", "torch.from_numpy(a)", TYPE, "from_numpy", "ndarray")
bad("from_numpy backwards", "torch.from_numpy(np.arange(4.0)[::-1])", VALUE, "from_numpy", "negative", "copy")
bad("from_numpy misaligned", "torch.from_numpy(np.zeros(9, 'u1')[1:].view('f4'))", VALUE, "from_numpy", "aligned")
bad("from_numpy odd stride", "torch.from_numpy(odd['x'])", VALUE, "from_numpy", "stride", "9",
    setup="odd = np.zeros(2, np.dtype([('x', 'i4'), ('y', 'i1', 5)]))")  # fmt: skip
bad("from_numpy of 9 dims", "torch.from_numpy(np.ones((1,) * 9))", (VALUE, RUNTIME), "8 dimensions", "9")
bad("write to a read-only array", "frozen.add_(1)", RUNTIME, "add", "read-only",
    setup="frozen = torch.from_numpy(readonly)")  # fmt: skip
bad("assign to a read-only array", "frozen[0] = 1.0", RUNTIME, "read-only",
    setup="frozen = torch.from_numpy(readonly)")  # fmt: skip
bad("numpy() of a parameter", "p.numpy()", RUNTIME, "numpy", "detach")
bad("asarray of a parameter", "np.asarray(p)", RUNTIME, "detach")
bad("asarray of a result", "np.asarray(w * 2)", RUNTIME, "detach")
bad("__array__ without a copy", "np.array(a, dtype=np.int32, copy=False)", VALUE, "copy")
bad("array of text times tensor", "a * np.array('x')", TYPE, "<U1")

# ---- Dims, indices, labels --------------------------------------------------------------------------------------

bad("sum dim", "a.sum(2)", INDEX, "sum", "2", "[-2, 1]")
bad("sum dims twice", "a.sum((0, 0))", RUNTIME, "sum", "dim 0")
bad("sum dims twice, negative", "a.sum((1, -1))", RUNTIME, "sum", "(1, -1)")
bad("mean dim", "a.mean(-3)", INDEX, "mean", "-3")
bad("mean of ints", "i.mean()", (TYPE, RUNTIME), "mean", "int64")
bad("max dim", "a.max(5)", INDEX, "max", "5")
bad("max of nothing", "e.max()", (VALUE, RUNTIME, INDEX), "max", "(0, 3)")
bad("max along an empty dim", "e.max(0)", (VALUE, RUNTIME, INDEX), "max", "0")
bad("argmax of nothing", "e.argmax()", (VALUE, RUNTIME, INDEX), "argmax")
bad("argmax dim", "a.argmax(9)", INDEX, "argmax", "9")
bad("softmax dim", "torch.softmax(a, 2)", INDEX, "softmax", "2")
bad("softmax of ints", "torch.softmax(i, 0)", (TYPE, RUNTIME), "softmax", "int64")
bad("log_softmax dim", "torch.log_softmax(a, -3)", INDEX, "log_softmax", "-3")
bad("cat dim", "torch.cat([a, a], 2)", INDEX, "cat", "2")
bad("stack dim", "torch.stack([a, a], 4)", INDEX, "stack", "4")
bad("transpose dims", "a.transpose(0, 2)", INDEX, "transpose", "2")
bad("permute twice", "a.permute(0, 0)", RUNTIME, "permute", "(0, 0)")
bad("permute dim", "a.permute(0, 5)", INDEX, "permute", "5")
bad("unsqueeze dim", "a.unsqueeze(4)", INDEX, "unsqueeze", "4")
bad("squeeze dim", "a.squeeze(3)", INDEX, "squeeze", "3")
bad("flatten dims", "a.flatten(1, 0)", (RUNTIME, VALUE), "flatten", "1", "0")
bad("flatten dim", "a.flatten(0, 7)", INDEX, "flatten", "7")
bad("unbind dim", "a.unbind(3)", INDEX, "unbind", "3")
bad("size dim", "a.size(2)", INDEX, "size", "2")
bad("size of text", "a.size('x')", TYPE, "size", "'x'")
bad("stride dim", "a.stride(-3)", INDEX, "stride", "-3")
bad("select", "torch.select(a, 0, 2)", INDEX, "select", "2")
bad("narrow", "a.narrow(1, 2, 2)", (RUNTIME, INDEX), "narrow", "2")
bad("narrow length", "a.narrow(0, 0, -1)", (RUNTIME, VALUE), "narrow", "-1")
bad("index", "a[2]", INDEX, "index 2", "dimension 0", "size 2")
bad("negative index", "a[0, -4]", INDEX, "index -4", "dimension 1", "size 3")
bad("huge index", "a[2**70]", INDEX, "index 1180591620717411303424", "size 2")
bad("index of a 0-d", "s[0]", INDEX, "dimension 0")
bad("index 1.5", "a[1.5]", (INDEX, TYPE), "index", "1.5")
bad("index of text", "a['x']", (INDEX, TYPE), "index", "'x'")
bad("index by a float tensor", "a[s]", (INDEX, TYPE), "index", "tensor(1.5")
bad("step -1", "a[::-1]", VALUE, "index", "step", "-1")
bad("step 0", "a[::0]", VALUE, "step", "zero")
bad("slice of text", "a['a':]", TYPE, "slice")
bad("assign text", "a[0, 0] = 'x'", (TYPE, VALUE), "'x'")
bad("assign None", "a[0] = None", (TYPE, VALUE, RUNTIME), "None")
bad("assign out of range", "a[7] = 0.0", INDEX, "index 7", "size 2")
bad("assign a ragged list", "a[:] = [[1.0], [2.0, 3.0]]", VALUE, "tensor", "got 2")
bad("delete an element", "del a[0]", TYPE, "deleted")
bad("iterate a 0-d", "list(s)", TYPE, "iter", "0-d")
bad("len of a 0-d", "len(s)", TYPE, "len", "0-d")
bad("label too high", "F.cross_entropy(logits, torch.tensor([0, 1, 2, 0, 1]))", INDEX, "cross_entropy", "2")
bad("label negative", "F.cross_entropy(logits, torch.tensor([0, 1, -1, 0, 1]))", INDEX, "cross_entropy", "-1")
bad("label huge", "F.cross_entropy(logits, labels + 2**40)", INDEX, "cross_entropy", "1099511627776")
bad("labels of int32", "F.cross_entropy(logits, labels.int())", (TYPE, RUNTIME), "cross_entropy", "int32")
bad("labels of bool", "F.cross_entropy(logits, labels > 0)", (TYPE, RUNTIME), "cross_entropy", "bool")
bad("logits of ints", "F.cross_entropy(i, i[0, :2])", (TYPE, RUNTIME), "cross_entropy", "int64")
bad("unknown reduction", "F.cross_entropy(logits, labels, reduction='avg')", VALUE, "reduction", "'avg'")
bad("mse reduction", "F.mse_loss(a, a, reduction='max')", VALUE, "reduction", "'max'")
bad("loss module reduction", "nn.CrossEntropyLoss(reduction='x')(logits, labels)", VALUE, "reduction", "'x'")
bad("label_smoothing 1.5", "F.cross_entropy(logits, labels, label_smoothing=1.5)", (VALUE, RUNTIME), "label_smoothing",
    "1.5")  # fmt: skip
bad("label_smoothing nan", "F.cross_entropy(logits, labels, label_smoothing=float('nan'))", (VALUE, RUNTIME),
    "label_smoothing", "nan")  # fmt: skip
bad("mse of ints", "F.mse_loss(i, i)", (TYPE, RUNTIME), "mse_loss", "int64")

# ---- Types of arguments -----------------------------------------------------------------------------------------

bad("add None", "a + None", TYPE, "+", "NoneType")
bad("add text", "torch.add(a, 'x')", TYPE, "add", "other", "'x'")
bad("add a list", "a + [1.0]", TYPE, "+", "list")
bad("list plus tensor", "[1.0] + a", TYPE, "list")
bad("complex", "a * 1j", TYPE, "*", "complex")
bad("pow of text", "a ** '2'", TYPE, "**", "str")
bad("matmul with a number", "a @ 2.0", TYPE, "@", "float")
bad("relu of a float", "torch.relu(1.0)", TYPE, "relu", "input", "1.0")
bad("F.relu of an array", "F.relu(np.ones(2))", TYPE, "relu", "input")
bad("exp of None", "torch.exp(None)", TYPE, "exp", "input", "None")
bad("exp without arguments", "torch.exp()", TYPE, "exp", "input")
bad("exp with two", "torch.exp(a, a)", TYPE, "exp", "2")
bad("method with one too many", "a.exp(2)", TYPE, "exp", "2")
bad("sum dim of text", "a.sum('0')", TYPE, "sum", "dim", "'0'")
bad("sum dim 0.5", "a.sum(0.5)", TYPE, "sum", "dim", "0.5")
bad("keepdim of text", "a.sum(0, keepdim='yes')", TYPE, "sum", "keepdim", "'yes'")
bad("sum dtype", "a.sum(dtype='f4')", TYPE, "sum", "dtype", "'f4'")
bad("mean to int", "a.mean(dtype=torch.int64)", (TYPE, RUNTIME), "mean", "int64")
bad("unexpected keyword", "torch.zeros(2, shape=3)", TYPE, "zeros", "shape")
bad("unexpected method keyword", "a.sum(foo=1)", TYPE, "sum", "foo", "1")
bad("argument twice", "a.sum(0, dim=1)", TYPE, "sum", "dim")
bad("unexpected keyword of tensor", "torch.tensor([1.0], kind='x')", TYPE, "tensor", "kind")
bad("unexpected keyword of Tensor", "torch.Tensor([1.0], dtype=torch.float32)", TYPE, "Tensor", "dtype")
bad("cat of a tensor", "torch.cat(a)", TYPE, "cat", "tensors")
bad("cat of a number", "torch.cat([a, 1.0])", TYPE, "cat", "tensors", "element 1", "1.0")
bad("stack of None", "torch.stack([a, None])", TYPE, "stack", "element 1", "None")
bad("where with text", "torch.where(m, a, 'x')", TYPE, "where", "'x'")
bad("where on floats", "torch.where(a, a, a)", (TYPE, RUNTIME), "where", "condition", "float32")
bad("clamp without bounds", "a.clamp()", (VALUE, RUNTIME), "clamp", "min", "max")
bad("clamp with text", "a.clamp('x')", TYPE, "clamp", "min", "'x'")
bad("view of text", "a.view('x')", TYPE, "view", "'x'")
bad("fill_ with a tensor of two", "a.fill_(v3)", (VALUE, RUNTIME), "fill_", "(3,)")
bad("fill_ with text", "a.fill_('x')", TYPE, "fill_", "value", "'x'")
bad("fill_ without a value", "a.fill_()", TYPE, "fill_", "value")
bad("copy_ of a list", "a.copy_([1.0])", TYPE, "copy_", "src")
bad("linear with None", "F.linear(a, None)", TYPE, "linear", "weight", "None")
bad("linear dtypes", "F.linear(a, p.double())", (TYPE, RUNTIME), "linear", "float32", "float64")
bad("matmul dtypes", "a @ a.t().double()", (TYPE, RUNTIME), "matmul", "float32", "float64")
bad("invert floats", "~a", (TYPE, RUNTIME), "bitwise_not", "float32")
bad("and of floats", "a & a", (TYPE, RUNTIME), "bitwise_and", "float32")
bad("neg of bool", "-m", (TYPE, RUNTIME), "neg", "bool")
bad("sub of bools", "m - m", (TYPE, RUNTIME), "sub", "bool")
bad("in-place float into int", "i.add_(1.5)", (TYPE, RUNTIME), "add_", "float32", "int64")
bad("in-place true division of ints", "i.div_(2)", (TYPE, RUNTIME), "div_", "float32", "int64")
bad("int floor division by 0", "i // 0", (RUNTIME, ZeroDivisionError), "floor_divide", "ZeroDivisionError")
bad("int remainder by 0", "i % 0", (RUNTIME, ZeroDivisionError), "remainder", "ZeroDivisionError")
bad("int division by a 0 tensor", "i // torch.zeros_like(i)", (RUNTIME, ZeroDivisionError), "floor_divide")
bad("int to a negative power", "i ** -1", (VALUE, RUNTIME), "pow", "negative")
bad("item of many", "a.item()", (VALUE, RUNTIME), "item", "6", "(2, 3)")
bad("item of none", "e.item()", (VALUE, RUNTIME), "item", "(0, 3)")
bad("float of many", "float(a)", (TYPE, VALUE, RUNTIME), "float", "6")
bad("int of many", "int(a)", (TYPE, VALUE, RUNTIME), "int", "6")
bad("bool of many", "bool(a)", (VALUE, RUNTIME), "bool", "(2, 3)", "ambiguous")
bad("bool of none", "bool(e)", (VALUE, RUNTIME), "bool", "(0, 3)")
bad("if on many", "1 if a > 0 else 2", (VALUE, RUNTIME), "bool", "ambiguous")
bad("range of a float", "range(s)", TYPE, "index", "float32")
bad("list index by many", "[1, 2][i]", TYPE, "index", "(2, 3)")
bad("format of many", "f'{a:.3f}'", TYPE, "format", "'.3f'", "(2, 3)")
bad("bad format of one", "f'{s:.3q}'", VALUE, "q")
bad("contains text", "'x' in a", (TYPE, RUNTIME), "in", "'x'")
bad("missing attribute of a tensor", "a.does_not_exist", ATTRIBUTE, "does_not_exist")
bad("missing attribute of torch", "torch.conv2d", ATTRIBUTE, "conv2d")
bad("set shape", "a.shape = (6,)", ATTRIBUTE, "shape")
bad("requires_grad of an int", "i.requires_grad = True", RUNTIME, "requires_grad", "int64")
bad("requires_grad_ of a bool", "m.requires_grad_()", RUNTIME, "requires_grad", "bool")
bad("requires_grad 1", "a.requires_grad = 1", (TYPE, RUNTIME), "requires_grad", "1")
bad("requires_grad of a result", "y.requires_grad_(False)", RUNTIME, "requires_grad", "leaf")
bad("default dtype", "torch.set_default_dtype(torch.int64)", TYPE, "set_default_dtype", "int64")
bad("default dtype of text", "torch.set_default_dtype('f4')", TYPE, "set_default_dtype", "f4")
bad("deepcopy of a result", "__import__('copy').deepcopy(y)", RUNTIME, "deepcopy", "Mul")
bad("data of a list", "p.data = [1.0]", TYPE, "data", "[1.0]")
bad("data of ints", "p.data = i", (TYPE, RUNTIME), "data", "int64")

# ---- Differentiation --------------------------------------------------------------------------------------------

bad("backward of a plain tensor", "a.sum().backward()", RUNTIME, "backward", "grad")
bad("backward of many", "y.backward()", RUNTIME, "backward", "scalar", "(3, 2)")
bad("backward twice", "loss.backward()", RUNTIME, "backward", "second time",
    setup="loss = (w * w).sum(); loss.backward()")  # fmt: skip
bad("backward through a shared part twice", "two.backward()", RUNTIME, "second time",
    setup="part = w.exp(); one, two = part.sum(), part.mean(); one.backward()")  # fmt: skip
bad("gradient shape", "y.backward(torch.ones(2, 3))", (VALUE, RUNTIME), "backward", "(2, 3)", "(3, 2)")
bad("gradient dtype", "y.backward(torch.ones(3, 2, dtype=torch.int64))", (TYPE, RUNTIME), "backward", "int64")
bad("gradient of a list", "y.backward([1.0])", TYPE, "backward", "gradient", "[1.0]")
bad("backward to no inputs", "y.sum().backward(inputs=[])", (VALUE, RUNTIME), "backward", "inputs")
bad("backward to a number", "y.sum().backward(inputs=[2.0])", TYPE, "backward", "inputs", "2.0")
bad("changed in place", "z.sum().backward()", RUNTIME, "inplace", "version", setup="h = w.exp(); z = h * h; h.add_(1)")
bad("in-place on a leaf", "w.add_(1)", RUNTIME, "add", "leaf")
bad("augmented assignment on a leaf", "w += 1", RUNTIME, "leaf")
bad("zero_ on a leaf", "w.zero_()", RUNTIME, "zero_", "leaf")
bad("relu_ on a leaf", "w.relu_()", RUNTIME, "relu", "leaf")
bad("copy_ into a leaf", "w.copy_(a.t())", RUNTIME, "copy_", "leaf")
bad("assignment to a leaf", "w[0] = 0.0", RUNTIME, "leaf")
bad("assignment to a view of a leaf", "row.mul_(2)", RUNTIME, "mul", "leaf", setup="row = w[0]")
bad("in-place on an expanded tensor", "wide.add_(1)", RUNTIME, "add", "expand", setup="wide = v3.expand(4, 3)")
bad("assignment to an expanded tensor", "wide[:] = 1.0", RUNTIME, "expand", setup="wide = v3.expand(4, 3)")
bad("grad of a plain tensor", "torch.autograd.grad(y.sum(), a)", RUNTIME, "grad", "input 0", "(2, 3)")
bad("grad of an unused tensor", "torch.autograd.grad(y.sum(), p)", RUNTIME, "grad", "(4, 3)", "allow_unused")
bad("grad without inputs", "torch.autograd.grad(y.sum(), [])", (VALUE, RUNTIME), "grad", "inputs")
bad("grad of many", "torch.autograd.grad(y, w)", RUNTIME, "grad", "scalar", "(3, 2)")
bad("grad with too many seeds", "torch.autograd.grad(y, w, [y, y])", RUNTIME, "grad", "1", "2")
bad("grad of a number", "torch.autograd.grad(1.0, w)", TYPE, "grad", "outputs")
bad("grad by a number", "torch.autograd.grad(y.sum(), [w, 1])", TYPE, "grad", "inputs[1]", "int")
bad("autograd.backward of text", "torch.autograd.backward('x')", TYPE, "backward", "tensors[0]", "str")
bad("grad of a wrong shape", "w.grad = v3", (VALUE, RUNTIME), "grad", "(3,)", "(3, 2)")
bad("grad of a wrong dtype", "w.grad = torch.zeros(3, 2, dtype=torch.float64)", (TYPE, RUNTIME), "grad", "float64")
bad("grad of a list", "w.grad = [1.0]", TYPE, "grad", "[1.0]")
bad("its own grad", "w.grad = w", RUNTIME, "grad")
bad("detach_ of a view", "w[0].detach_()", RUNTIME, "detach_", "view")
bad("no_grad of text", "torch.set_grad_enabled('x')", TYPE, "set_grad_enabled", "x")
bad("clip to text", "nn.utils.clip_grad_norm_(model.parameters(), 'x')", (TYPE, VALUE), "x")
bad("clip by a norm below 0", "nn.utils.clip_grad_norm_(model.parameters(), 1.0, norm_type=-2)", VALUE, "norm_type",
    "-2")  # fmt: skip
bad("vector of a wrong length", "nn.utils.vector_to_parameters(v3, model.parameters())", (VALUE, RUNTIME), "3", "26")

# ---- Random numbers ---------------------------------------------------------------------------------------------

bad("manual_seed of text", "torch.manual_seed('x')", TYPE, "manual_seed", "'x'")
bad("manual_seed 1.5", "torch.manual_seed(1.5)", TYPE, "manual_seed", "1.5")
bad("manual_seed 2**65", "torch.manual_seed(2**65)", (RUNTIME, OverflowError), "manual_seed", "36893488147419103232")
bad("generator seed", "gen.manual_seed(None)", TYPE, "manual_seed", "None")
bad("generator of ints", "torch.rand(2, generator=1)", TYPE, "rand", "generator", "1")
bad("generator on cuda", "torch.Generator('cuda')", RUNTIME, "device", "'cuda'")
bad("state of floats", "gen.set_state(a)", TYPE, "set_state", "float32", "(2, 3)")
bad("state too short", "gen.set_state(torch.zeros(3, dtype=torch.uint8))", (VALUE, RUNTIME), "set_state", "3")
bad("state of zeros", "gen.set_state(torch.zeros(5056, dtype=torch.uint8))", (VALUE, RUNTIME), "set_state")
bad("state of a list", "gen.set_state([1, 2])", TYPE, "set_state")
bad("rng state", "torch.set_rng_state(None)", TYPE, "set_state")
bad("randint empty", "torch.randint(3, 3, (2,))", (VALUE, RUNTIME), "from=3", "to=3")
bad("randint reversed", "torch.randint(5, 2, (2,))", (VALUE, RUNTIME), "from=5", "to=2")
bad("randint without size", "torch.randint(3)", TYPE, "randint", "size")
bad("randint of floats", "torch.randint(0.5, 2, (2,))", TYPE, "randint", "0.5")
bad("randn of ints", "torch.randn(2, dtype=torch.int64)", (TYPE, RUNTIME), "randn", "int64")
bad("rand of bool", "torch.rand(2, dtype=torch.bool)", (TYPE, RUNTIME), "rand", "bool")
bad("normal std", "torch.normal(0.0, -1.0, (2,))", (VALUE, RUNTIME), "normal", "std", "-1")
bad("normal_ std", "a.normal_(0.0, -2.0)", (VALUE, RUNTIME), "normal_", "std", "-2")
bad("normal_ of ints", "i.normal_()", (TYPE, RUNTIME), "normal_", "int64")
bad("uniform_ reversed", "a.uniform_(2.0, 1.0)", (VALUE, RUNTIME), "uniform_", "2", "1")
bad("uniform_ to inf", "a.uniform_(0.0, float('inf'))", (VALUE, RUNTIME), "uniform_", "inf")
bad("uniform_ of ints", "i.uniform_()", (TYPE, RUNTIME), "uniform_", "int64")
bad("uniform_ on a leaf", "w.uniform_()", RUNTIME, "uniform_", "leaf")
bad("bernoulli_ p", "a.bernoulli_(1.5)", (VALUE, RUNTIME), "bernoulli_", "p", "1.5")
bad("random_ reversed", "a.random_(5, 3)", (VALUE, RUNTIME), "random_", "5", "3")
bad("randperm too large", "torch.randperm(300, dtype=torch.uint8)", (VALUE, RUNTIME), "randperm", "300", "uint8")
bad("fan of 1-D", "nn.init.kaiming_uniform_(v3)", VALUE, "kaiming_uniform_", "(3,)")
bad("fan of 0-D", "nn.init.xavier_normal_(s)", VALUE, "xavier_normal_", "()")
bad("unknown mode", "nn.init.kaiming_normal_(a, mode='fan_up')", VALUE, "kaiming_normal_", "fan_up")
bad("unknown nonlinearity", "nn.init.kaiming_normal_(a, nonlinearity='x')", VALUE, "kaiming_normal_", "nonlinearity x")
bad("slope of text", "nn.init.kaiming_uniform_(a, a='steep')", VALUE, "kaiming_uniform_", "a", "'steep'")
bad("gain of text", "nn.init.calculate_gain('leaky_relu', 'steep')", VALUE, "calculate_gain", "param", "'steep'")
bad("gain of a bool", "nn.init.calculate_gain('leaky_relu', True)", VALUE, "calculate_gain", "param", "True")
bad("unknown gain", "nn.init.calculate_gain('swish')", VALUE, "calculate_gain", "swish")
bad("init of a list", "nn.init.kaiming_uniform_([1.0])", TYPE, "kaiming_uniform_", "[1.0]")
bad("init generator", "nn.init.xavier_uniform_(a, generator=3)", TYPE, "xavier_uniform_", "generator", "3")
bad("init of ints", "nn.init.kaiming_uniform_(i)", (TYPE, RUNTIME), "int64")
bad("trunc_normal_ std", "nn.init.trunc_normal_(a, std=-1.0)", (VALUE, RUNTIME), "trunc_normal_", "-1")
bad("eye_ of a vector", "nn.init.eye_(v3)", VALUE, "eye_", "(3,)")

# ---- Modules ----------------------------------------------------------------------------------------------------

bad("Sequential of a number", "nn.Sequential(nn.ReLU(), 3)", TYPE, "'1'", "Module", "int")
bad("Sequential of a class", "nn.Sequential(nn.ReLU)", TYPE, "'0'", "Module", "type")
bad("Sequential index", "model[3]", INDEX, "Sequential", "3")
bad("Sequential by name", "model['0']", TYPE, "str")
bad("append a function", "model.append(torch.relu)", TYPE, "Module")
bad("insert out of range", "model.insert(9, nn.ReLU())", INDEX, "insert", "9")
bad("delete out of range", "del model[5]", INDEX, "5")
bad("ModuleList of numbers", "nn.ModuleList([nn.ReLU(), 3])", TYPE, "Module", "int")
bad("ModuleDict of numbers", "nn.ModuleDict({'x': 3})", TYPE, "Module", "int")
bad("missing attribute", "model.weight", ATTRIBUTE, "Sequential", "weight")
bad("delete a missing attribute", "del model.weight", ATTRIBUTE, "weight")
bad("parameter before init", "Early()", ATTRIBUTE, "__init__")
bad("register a tensor", "model.register_parameter('extra', a)", TYPE, "'extra'", "Parameter", "Tensor")
bad("register with a dot", "model.register_parameter('a.b', p)", KEY, "a.b")
bad("register without a name", "model.register_parameter('', p)", KEY, "empty")
bad("register a number as name", "model.register_parameter(3, p)", TYPE, "string", "int")
bad("register over a method", "model.register_parameter('forward', p)", KEY, "forward")
bad("register a buffer of floats", "model.register_buffer('extra', 1.0)", TYPE, "'extra'", "Tensor", "float")
bad("replace a parameter", "model[0].weight = a", TYPE, "weight", "Parameter", "Tensor")
bad("replace a module", "model.layer = 3", TYPE, "layer", "Module", "int", setup="model.layer = nn.ReLU()")
bad("Parameter of a list", "nn.Parameter([1.0])", TYPE, "Parameter", "list")
bad("Parameter of ints", "nn.Parameter(i)", RUNTIME, "floating", "int64")
bad("no forward", "nn.Module()(a)", NotImplementedError, "forward")
bad("call without input", "model()", TYPE, "input")
bad("call with two inputs", "model(x, x)", TYPE, "2")
bad("call on a list", "model([1.0, 2.0, 3.0])", TYPE, "linear", "input")
bad("train of text", "model.train('yes')", VALUE, "train", "'yes'")
bad("to int64", "model.to(torch.int64)", TYPE, "to", "int64")
bad("to nothing known", "model.to(3.5)", TYPE, "to", "float")
bad("module to cuda", "model.to('cuda')", RUNTIME, "cuda")
bad("get_submodule", "model.get_submodule('0.x')", ATTRIBUTE, "get_submodule", "0.x")
bad("get_parameter", "model.get_parameter('0.x')", ATTRIBUTE, "get_parameter", "0.x")
bad("load nothing", "model.load_state_dict({})", RUNTIME, "Missing", "0.weight", "2.bias")
bad("load a list", "model.load_state_dict([1])", TYPE, "load_state_dict", "list")
bad("load None", "model.load_state_dict(None)", TYPE, "load_state_dict", "None")
bad("load with a key missing", "model.load_state_dict(saved)", RUNTIME, "loading state_dict", "Missing", '"0.bias"',
    setup="saved = model.state_dict(); del saved['0.bias']")  # fmt: skip
bad("load with a key too many", "model.load_state_dict({**model.state_dict(), '9.bias': a})", RUNTIME,
    "loading state_dict", "Unexpected", '"9.bias"')  # fmt: skip
bad("load a misshapen tensor last", "model.load_state_dict(saved)", RUNTIME, "size mismatch", "2.bias", "[3]", "[2]",
    setup="saved = {k: v + 1 for k, v in model.state_dict().items()}; saved['2.bias'] = v3")  # fmt: skip
bad("load a misshapen tensor, not strictly", "model.load_state_dict({'0.weight': a}, strict=False)", RUNTIME,
    "size mismatch", "0.weight")  # fmt: skip
bad("load numbers", "model.load_state_dict({**model.state_dict(), '0.weight': 3})", RUNTIME, "0.weight", "int")
bad("load arrays", "model.load_state_dict({k: v.numpy() for k, v in model.state_dict().items()})", RUNTIME, "ndarray")

# ---- Optimizers and schedules -----------------------------------------------------------------------------------

for _class in ("SGD", "Adam"):
    _make = f"optim.{_class}(model.parameters(), "
    bad(f"{_class} lr negative", _make + "lr=-0.1)", VALUE, _class, "lr", "-0.1")
    bad(f"{_class} lr nan", _make + "lr=float('nan'))", VALUE, _class, "lr", "nan")
    bad(f"{_class} lr of text", _make + "lr='x')", (TYPE, VALUE), _class, "lr", "str")
    bad(f"{_class} lr None", _make + "lr=None)", (TYPE, VALUE), _class, "lr", "None")
    bad(f"{_class} weight_decay", _make + "lr=0.1, weight_decay=-1)", VALUE, _class, "weight_decay", "-1")
    bad(f"{_class} unknown option", _make + "lr=0.1, speed=3)", TYPE, "speed")
    bad(f"{_class} of nothing", f"optim.{_class}([], lr=0.1)", VALUE, _class, "empty")
    bad(f"{_class} of one tensor", f"optim.{_class}(w, lr=0.1)", TYPE, _class, "iterable")
    bad(f"{_class} of numbers", f"optim.{_class}([1.0], lr=0.1)", TYPE, _class, "params[0]", "float")
    bad(f"{_class} of a result", f"optim.{_class}([y], lr=0.1)", VALUE, _class, "leaf", "params[0]")
    bad(f"{_class} of a model", f"optim.{_class}(model, lr=0.1)", TYPE, "params[0]", "Linear")
    bad(f"{_class} foreach", _make + "lr=0.1, foreach=True)", NotImplementedError, _class, "foreach", "True")
bad("SGD momentum", "optim.SGD([w], lr=0.1, momentum=-0.9)", VALUE, "SGD", "momentum", "-0.9")
bad("SGD momentum nan", "optim.SGD([w], lr=0.1, momentum=float('nan'))", VALUE, "SGD", "momentum", "nan")
bad("SGD dampening nan", "optim.SGD([w], lr=0.1, dampening=float('nan'))", VALUE, "SGD", "dampening", "nan")
bad("SGD dampening of text", "optim.SGD([w], lr=0.1, dampening='x')", (TYPE, VALUE), "SGD", "dampening", "str")
bad("SGD nesterov", "optim.SGD([w], lr=0.1, nesterov=True)", VALUE, "SGD", "nesterov", "momentum=0")
bad("Adam beta 1", "optim.Adam([w], betas=(1.0, 0.9))", VALUE, "Adam", "beta", "index 0", "1.0")
bad("Adam beta 2", "optim.Adam([w], betas=(0.9, -0.1))", VALUE, "Adam", "beta", "index 1", "-0.1")
bad("Adam beta nan", "optim.Adam([w], betas=(0.9, float('nan')))", VALUE, "Adam", "index 1", "nan")
bad("Adam beta of text", "optim.Adam([w], betas=('a', 0.9))", (TYPE, VALUE), "Adam", "index 0", "'a'")
bad("Adam three betas", "optim.Adam([w], betas=(0.9, 0.9, 0.9))", (TYPE, VALUE), "Adam", "betas", "(0.9, 0.9, 0.9)")
bad("Adam one beta", "optim.Adam([w], betas=0.9)", (TYPE, VALUE), "Adam", "betas", "0.9")
bad("Adam eps", "optim.Adam([w], eps=-1e-8)", VALUE, "Adam", "eps", "-1e-08")
bad("Adam eps nan", "optim.Adam([w], eps=float('nan'))", VALUE, "Adam", "eps", "nan")
bad("parameter in two groups", "optim.SGD([{'params': [w]}, {'params': [w]}], lr=0.1)", VALUE, "SGD", "more than one")
bad("group without params", "optim.SGD([{'lr': 0.1}])", KEY, "params")
bad("group of a set", "optim.SGD([{'params': {w}}], lr=0.1)", TYPE, "SGD", "set")
bad("group with a bad lr", "sgd.add_param_group({'params': [w], 'lr': -1.0})", VALUE, "SGD", "lr", "-1.0")
bad("group of numbers", "sgd.add_param_group([1])", TYPE, "SGD", "list")
bad("group known already", "sgd.add_param_group({'params': list(model.parameters())})", VALUE, "SGD", "more than one")
bad("load an optimizer from nothing", "sgd.load_state_dict({})", KEY, "param_groups")
bad("load an optimizer from a list", "sgd.load_state_dict([1])", (TYPE, KEY), "SGD.load_state_dict", "list")
bad("load an optimizer without state", "adam.load_state_dict({'param_groups': adam.state_dict()['param_groups']})",
    KEY, "state")  # fmt: skip
bad("load other groups", "adam.load_state_dict({'state': {}, 'param_groups': []})", VALUE, "Adam", "0", "1")
bad("load other parameters", "sgd.load_state_dict(saved)", VALUE, "SGD", "group 0", "3", "4",
    setup="saved = sgd.state_dict(); saved['param_groups'][0]['params'].pop()")  # fmt: skip
bad("load a bad lr", "sgd.load_state_dict(saved)", VALUE, "SGD", "lr", "-1",
    setup="saved = sgd.state_dict(); saved['param_groups'][0]['lr'] = -1")  # fmt: skip
bad("load a group without lr", "sgd.load_state_dict(saved)", (KEY, VALUE), "lr",
    setup="saved = sgd.state_dict(); del saved['param_groups'][0]['lr']")  # fmt: skip
bad("load misshapen state", "adam.load_state_dict(saved)", (VALUE, RUNTIME), "Adam", "exp_avg", "(7,)",
    setup="saved = __import__('copy').deepcopy(adam.state_dict());"
    " saved['state'][3]['exp_avg'] = torch.ones(7)")  # fmt: skip
bad("load a misshapen buffer", "sgd.load_state_dict(saved)", (VALUE, RUNTIME), "SGD", "momentum_buffer", "(7,)",
    setup="saved = __import__('copy').deepcopy(sgd.state_dict());"
    " saved['state'][3]['momentum_buffer'] = torch.ones(7)")  # fmt: skip
bad("load state of text", "sgd.load_state_dict({**sgd.state_dict(), 'state': 'x'})", (TYPE, VALUE), "SGD", "state")
bad("step with a bad lr", "sgd.step()", (TYPE, VALUE), "lr", "x", setup="sgd.param_groups[0]['lr'] = 'x'")
bad("closure of text", "sgd.step('x')", TYPE, "str")
bad("schedule of a model", "StepLR(model, 3)", TYPE, "StepLR", "Sequential")
bad("schedule of 0 epochs", "StepLR(sgd, 0)", (VALUE, ZeroDivisionError), "step_size", "0")
bad("schedule of text", "StepLR(sgd, 'x')", (TYPE, VALUE), "step_size", "'x'")
bad("resume without a start", "StepLR(sgd, 2, last_epoch=3)", KEY, "initial_lr")

# ---- Data sets and loaders --------------------------------------------------------------------------------------

for _size in ("0", "-2", "2.5", "'4'", "True"):
    bad(f"batch_size {_size}", f"DataLoader(data, batch_size={_size})", VALUE, "DataLoader", "batch_size", _size)
bad("shuffle and sampler", "DataLoader(data, shuffle=True, sampler=[0, 1])", VALUE, "DataLoader", "sampler", "shuffle")
bad("batch_sampler and batch_size", "DataLoader(data, batch_size=2, batch_sampler=[[0]])", VALUE, "batch_sampler")
bad("batch_sampler and drop_last", "DataLoader(data, drop_last=True, batch_sampler=[[0]])", VALUE, "drop_last")
bad("no batches and drop_last", "DataLoader(data, batch_size=None, drop_last=True)", VALUE, "drop_last")
bad("drop_last of text", "DataLoader(data, drop_last='x')", (TYPE, VALUE), "drop_last", "'x'")
bad("num_workers -1", "DataLoader(data, num_workers=-1)", VALUE, "num_workers", "-1")
bad("num_workers of text", "DataLoader(data, num_workers='2')", (TYPE, VALUE), "num_workers", "'2'")
bad("prefetch_factor", "DataLoader(data, prefetch_factor=2)", VALUE, "prefetch_factor")
bad("timeout", "DataLoader(data, timeout=-1)", VALUE, "timeout", "-1")
bad("loader generator", "DataLoader(data, shuffle=True, generator=3)", TYPE, "DataLoader", "generator", "int")
bad("shuffle nothing", "DataLoader(TensorDataset(e), shuffle=True)", VALUE, "num_samples", "0")
bad("change the batch size", "loader.batch_size = 2", VALUE, "DataLoader", "batch_size")
bad("unknown loader option", "DataLoader(data, batchsize=2)", TYPE, "batchsize")
bad("sampler out of range", "list(batches)", INDEX, "99", setup="batches = iter(DataLoader(data, sampler=[0, 99]))")
bad("batch sampler out of range", "list(batches)", INDEX, "-1", "10",
    setup="batches = iter(DataLoader(data, batch_sampler=[[0, -11]]))")  # fmt: skip
bad("unequal lengths", "TensorDataset(a, v3)", (VALUE, AssertionError), "TensorDataset", "(2, 3)", "(3,)")
bad("TensorDataset of a list", "TensorDataset([1, 2])", TYPE, "TensorDataset", "list")
bad("TensorDataset of 0-d", "TensorDataset(s)", (VALUE, AssertionError), "TensorDataset", "dimensions")
bad("TensorDataset index", "data[10]", INDEX, "10")
bad("random_split sum", "random_split(data, [3, 3])", VALUE, "random_split", "[3, 3]", "10")
bad("random_split negative", "random_split(data, [12, -2])", VALUE, "random_split", "-2")
bad("random_split floats", "random_split(data, [7.5, 2.5])", (VALUE, TYPE), "random_split", "7.5")
bad("random_split fractions", "random_split(data, [1.5, -0.5])", VALUE, "random_split", "1.5")
bad("random_split generator", "random_split(data, [5, 5], generator=7)", TYPE, "generator", "7")
bad("collate objects", "list(batches)", TYPE, "default_collate", "object",
    setup="batches = iter(DataLoader([object(), object()], batch_size=2))")  # fmt: skip
bad("collate shapes", "list(batches)", (VALUE, RUNTIME), "stack", "(2, 3)", "(4, 5)",
    setup="batches = iter(DataLoader([a, b], batch_size=2))")  # fmt: skip
bad("collate lengths", "list(batches)", RUNTIME, "default_collate", "[2, 1]",
    setup="batches = iter(DataLoader([(1, 2), (3,)], batch_size=2))")  # fmt: skip
bad("collate None", "list(batches)", TYPE, "default_collate", "NoneType",
    setup="batches = iter(DataLoader([None], batch_size=1))")  # fmt: skip
bad("loader of a number", "list(batches)", TYPE, "int", setup="batches = iter(DataLoader(3))")
bad("RandomSampler size", "torch.utils.data.RandomSampler(data, num_samples=0)", VALUE, "num_samples", "0")
bad("RandomSampler replacement", "torch.utils.data.RandomSampler(data, replacement='x')", TYPE, "replacement", "'x'")


# What a broken library would do, to test the table's runner itself; numbered after the cases.
CONTROLS = [
    Case("kills the interpreter", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", (VALUE,), ()),
    Case("changes a tensor", "a.add_(1); raise ValueError", (VALUE,), ()),
    Case("changes a setting", "sgd.param_groups[0]['lr'] = 1; 1 / 0", (ZeroDivisionError,), ()),
    Case("draws numbers", "torch.rand(1); raise ValueError", (VALUE,), ()),
    Case("raises nothing", "pass", (VALUE,), ()),
    Case("raises another type", "raise KeyError(1)", (VALUE,), ()),
    Case("says nothing", "raise ValueError('bad')", (VALUE,), ("matmul",)),
]


# ---- The world --------------------------------------------------------------------------------------------------


class Shrinking:
    """A sequence whose length is another one each time that it is asked."""

    def __init__(self) -> None:
        self.n = 40

    def __len__(self) -> int:
        self.n -= 1
        return self.n

    def __getitem__(self, i: int) -> float:
        if i >= self.n:
            raise IndexError(i)
        return 1.0


class Raising:
    def __len__(self) -> int:
        return 3

    def __getitem__(self, i: int) -> float:
        return 1 / 0


_TYPES = {
    "V": VALUE,
    "T": TYPE,
    "R": RUNTIME,
    "I": INDEX,
    "K": KEY,
    "A": ATTRIBUTE,
    "N": NotImplementedError,
    "B": BufferError,
}
for _row in bad_families.ROWS.strip().splitlines():
    _op, _code, _errors, *_words = (part.strip() for part in f"{_row} ".split(" | "))
    _found = tuple(_TYPES[letter] for letter in _errors)
    bad(f"{_op}: {_code}", _code, _found, *(word for word in (_op, *_words) if word))


def world() -> dict[str, Any]:
    """Fresh objects for one case: tensors of several kinds, a model with trained optimizers, data."""
    import unspool as torch
    from unspool import nn, optim
    from unspool.optim.lr_scheduler import StepLR
    from unspool.utils.data import DataLoader, TensorDataset, random_split

    class Early(nn.Module):
        def __init__(self) -> None:
            self.weight = nn.Parameter(torch.ones(1))

    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.manual_seed(3)
    a, b, x = torch.randn(2, 3), torch.randn(4, 5), torch.randn(5, 3)
    v3, v4, s, e = torch.randn(3), torch.randn(4), torch.tensor(1.5), torch.empty(0, 3)
    i, i0 = torch.arange(6).reshape(2, 3), torch.tensor(1)
    m = i > 2
    w = torch.randn(3, 2, requires_grad=True)
    w.grad = torch.ones(3, 2)
    p = nn.Parameter(torch.randn(4, 3))
    y = w * 2
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    labels = torch.tensor([0, 1, 1, 0, 1])
    logits = torch.randn(5, 2)
    sgd = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    adam = optim.Adam(model.parameters(), lr=0.01)
    nn.functional.cross_entropy(model(x), labels).backward()
    sgd.step()
    adam.step()
    readonly = np.arange(4.0)
    readonly.flags.writeable = False
    data = TensorDataset(torch.randn(10, 3), torch.randint(0, 2, (10,)))
    loader = DataLoader(data, batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(5))
    gen = torch.Generator().manual_seed(1)
    names = dict(locals())
    names.update(F=nn.functional, StepLR=StepLR, random_split=random_split, np=np, Shrinking=Shrinking, Raising=Raising)
    return names


def _of_tensor(t: Any) -> Any:
    values = t.detach().contiguous().numpy().tobytes()
    kind = (type(t).__name__, tuple(t.shape), t.stride(), str(t.dtype), t.requires_grad, t.is_leaf, t._version)
    return [*kind, hashlib.sha256(values).hexdigest(), None if t.grad is None else _of_tensor(t.grad)]


def _state(value: Any) -> Any:
    """All that a failed call must leave alone, as something that compares."""
    import unspool as torch

    if isinstance(value, torch.Tensor):
        return _of_tensor(value)
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, torch.nn.Module):
        tensors = {k: (_of_tensor(t), id(t)) for k, t in value.state_dict(keep_vars=True).items()}
        return repr(value), value.training, tensors, sorted(value.__dict__)
    if isinstance(value, torch.optim.Optimizer):
        return _state(value.state_dict()), repr(value), [id(q) for g in value.param_groups for q in g["params"]]
    if isinstance(value, torch.Generator):
        return value.get_state().numpy().tobytes()
    if isinstance(value, dict):
        return {k: _state(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and len(value) != 1:
        return [_state(v) for v in value]
    return repr(value)


def states(names: dict[str, Any]) -> dict[str, Any]:
    import unspool as torch

    watched = (torch.Tensor, np.ndarray, torch.nn.Module, torch.optim.Optimizer, torch.Generator, dict)
    found = {k: _state(v) for k, v in names.items() if isinstance(v, watched) and not k.startswith("__")}
    found["default generator"] = _state(torch.default_generator)
    found["loader's generator"] = _state(names["loader"].generator)
    found["modes"] = (torch.is_grad_enabled(), torch.get_default_dtype())
    return found


def train(names: dict[str, Any]) -> str:
    """What one more step of work on these objects gives, as a digest."""
    import unspool as torch

    bits = hashlib.sha256()
    model, sgd, adam = names["model"], names["sgd"], names["adam"]
    sgd.zero_grad()
    for rows, classes in names["loader"]:
        torch.nn.functional.cross_entropy(model(rows), classes).backward()
        bits.update(rows.numpy().tobytes())
    sgd.step()
    adam.step()
    names["y"].sum().backward(retain_graph=True)
    made = [*model.parameters(), names["w"].grad, names["a"] @ names["w"], torch.rand(3), names["b"].sum(1)]
    made += [torch.rand(3, generator=names["gen"]), names["i"] // 2, torch.cat([names["v3"], names["v4"]])]
    for t in made:
        bits.update(t.detach().numpy().tobytes())
    return bits.hexdigest()


def prepared(case: Case) -> str:
    """The digest where the call is left out; empty where the setup itself has made the next step impossible."""
    names = world()
    exec(compile(case.setup, case.name, "exec"), names)
    try:
        return train(names)
    except (TypeError, RuntimeError):
        return ""


def run(case: Case, expected: str) -> dict[str, Any]:
    """{'problem': …} of one case; None for the problem where all is well."""
    if case.setup:
        expected = prepared(case)
    names = world()
    exec(compile(case.setup, case.name, "exec"), names)
    before = states(names)
    kind = text = ""
    try:
        exec(compile(case.code, case.name, "exec"), names)
    except Exception as error:
        kind, text = type(error).__name__, str(error)
        if not isinstance(error, case.errors):
            wanted = " or ".join(e.__name__ for e in case.errors)
            return {"problem": f"raised {kind}, expected {wanted}: {text}"}
    else:
        return {"problem": "raised nothing"}
    lacking = [word for word in case.words if word not in text]
    if lacking:
        return {"problem": f"{kind}'s message lacks {lacking}: {text}"}
    after = states(names)
    changed = [name for name in before if before[name] != after.get(name)]
    if changed:
        return {"problem": f"{kind} left {changed} changed: {text}"}
    if expected and train(names) != expected:
        return {"problem": f"after the {kind}, a valid step gives other numbers: {text}"}
    return {"problem": None, "kind": kind, "text": text}


def limit_memory() -> None:
    """A request for terabytes fails at once, whatever the machine promises."""
    import resource

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 30),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    first, last = int(sys.argv[1]), int(sys.argv[2])
    expected = train(world())
    limit_memory()
    for number in range(first, last):
        print(json.dumps({"number": number}), flush=True)
        print(json.dumps({"number": number, **run((CASES + CONTROLS)[number], expected)}), flush=True)


if __name__ == "__main__":
    main()
