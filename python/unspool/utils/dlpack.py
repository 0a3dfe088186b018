"""DLPack, the exchange of arrays between libraries without a copy: PyTorch's place for it."""

from unspool._functions.exchange import from_dlpack, to_dlpack

__all__ = ["from_dlpack", "to_dlpack"]
