"""`unspool.load` of damaged, forged and foreign files: it raises CheckpointError, or gives the right values."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import pickle
import struct
import types
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unspool
from test_serialization import same, written
from unspool import nn
from unspool.errors import CheckpointError


def small() -> dict[str, Any]:
    """A checkpoint of each kind of part."""
    return {
        "model": nn.BatchNorm1d(2).state_dict(), "half": unspool.ones(3, dtype=unspool.bfloat16), "epoch": 3,
        "z": math.nan, "lr": np.float64(0.1), "text": "café", "a": np.arange(3), "big": 1 << 70,
    }  # fmt: skip


@pytest.mark.parametrize(
    "obj", [small(), {"w": unspool.arange(3.0), "b": unspool.tensor(True)}], ids=["checkpoint", "state_dict"]
)
def test_every_flipped_bit_and_every_truncation(obj: Any) -> None:
    content = written(obj)
    assert same(unspool.load(io.BytesIO(content)), obj)
    for i in range(len(content)):
        with pytest.raises(CheckpointError, match=r"load: the content of BytesIO is damaged"):
            unspool.load(io.BytesIO(content[:i]))
        for bit in range(8):
            changed = bytearray(content)
            changed[i] ^= 1 << bit
            with pytest.raises(
                CheckpointError, match=r"load: the content of BytesIO is (damaged|a zip or pickle file)"
            ):
                unspool.load(io.BytesIO(changed))
    with pytest.raises(CheckpointError, match="damaged"):
        unspool.load(io.BytesIO(content + b"\0"))


def signed(structure: str) -> bytes:
    """A file with this structure, a float tensor f, an int tensor i and the right digest."""
    lead, digits = b'{"__metadata__":{"unspool.sha256":"', b"0" * 64
    rest = f'","unspool.structure":{json.dumps(structure)}}},"f":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}},'
    rest += '"i":{"dtype":"I64","shape":[],"data_offsets":[8,16]}}'
    rest += " " * (-len(lead + digits + rest.encode()) % 8)
    size = struct.pack("<Q", len(lead + digits + rest.encode()))
    digest = hashlib.sha256(size + lead + rest.encode() + bytes(16)).hexdigest()
    return size + lead + digest.encode() + rest.encode() + bytes(16)


@pytest.mark.parametrize(
    "structure",
    [
        "", "[", "[]", "[[]]", '["set",1]', '["dict",1]', '["dict",["list"],1]', '["int","x"]', '["float",""]',
        '["scalar","O","00"]', '["scalar","<f8",""]', '["tensor"]', '["tensor","w"]', '["array",[]]', '["array","w"]',
        '["tensor","i",true]', '["list",' * 5000 + "1" + "]" * 5000,
    ],
)  # fmt: skip
def test_a_structure_that_save_does_not_write(structure: str) -> None:
    assert same(
        unspool.load(io.BytesIO(signed('["list",1,["tensor","f",true]]'))), [1, unspool.zeros(2).requires_grad_()]
    )
    with pytest.raises(CheckpointError, match="structure that this version can't read"):
        unspool.load(io.BytesIO(signed(structure)))


TAGS = ["list", "tuple", "Size", "dict", "OrderedDict", "Counter", "state_dict", "int", "float", "scalar", "array"]
TAGS += ["tensor", "parameter"]
NODES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["f", "i", "", "0", "<f8", "00" * 8]),
    lambda inner: (
        st.tuples(st.sampled_from(TAGS), st.lists(inner, max_size=3)).map(lambda node: [node[0], *node[1]])
        | st.dictionaries(st.sampled_from(TAGS), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(NODES)
def test_arbitrary_structures(node: Any) -> None:
    with contextlib.suppress(CheckpointError):
        unspool.load(io.BytesIO(signed(json.dumps(node))))


@given(st.binary(max_size=200))
def test_arbitrary_bytes(content: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"no safetensors file|a zip or pickle file"):
        unspool.load(io.BytesIO(content))


def test_a_file_changed_by_another_program_says_so() -> None:
    from safetensors.numpy import save

    content = written({"a": unspool.ones(2)})
    size = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + size])["__metadata__"]
    for kept in (metadata, {"unspool.structure": metadata["unspool.structure"]}):
        again = save({"a": np.zeros(2, np.float32)}, metadata={"note": "", **kept})
        with pytest.raises(CheckpointError, match=r"another program changed|SHA-256"):
            unspool.load(io.BytesIO(again))


class Trap:
    """Unpickling it would run code."""

    def __reduce__(self) -> Any:
        return print, ("unpickled",)


def test_pickles_are_refused(torch: types.ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    new, old = io.BytesIO(), io.BytesIO()
    torch.save({"a": torch.ones(2)}, new)
    torch.save({"a": torch.ones(2)}, old, _use_new_zipfile_serialization=False)
    for content in (new.getvalue(), old.getvalue(), *(pickle.dumps(Trap(), protocol) for protocol in range(2, 6))):
        for weights_only in (True, False):
            with pytest.raises(CheckpointError, match=r"as torch.save writes.*safetensors.torch.save_file"):
                unspool.load(io.BytesIO(content), weights_only=weights_only)
    assert capsys.readouterr().out == ""
