"""The progress bar: tqdm's, in terminals and notebooks."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["Bar"]

# tqdm's own has the rate of steps before the numbers, which then have no room in 60 columns.
_FORMAT = "{desc}|{bar}| {n_fmt}/{total_fmt} {elapsed}<{remaining}{postfix}"


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


class Bar:
    """Steps done of all steps, with the latest epoch's numbers; nothing where it is off.

    Args:
        progress: True, False, or None: on in a terminal and in a notebook, where tqdm is installed.

    Raises:
        ImportError: progress is True and tqdm is not installed.
    """

    def __init__(self, progress: bool | None, total: int | None, done: int) -> None:
        self._bar: Any = None
        if progress is False or (progress is None and not sys.stderr.isatty() and not _in_notebook()):
            return
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            if progress is None:
                return
            raise ImportError("fit: progress=True needs tqdm: pip install 'unspool[train]'") from error
        self._bar = tqdm(
            total=total, initial=done, unit="step", dynamic_ncols=True, bar_format=_FORMAT if total else None
        )

    def step(self, steps: int) -> None:
        """So many more are done."""
        if self._bar is not None:
            self._bar.update(steps)

    def epoch(self, epoch: int, epochs: int, numbers: dict[str, float]) -> None:
        """An epoch has ended with these numbers."""
        if self._bar is not None:
            self._bar.set_description(f"epoch {epoch + 1}/{epochs}", refresh=False)
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in numbers.items()}, refresh=False)

    def close(self) -> None:
        """The line stays as it is."""
        if self._bar is not None:
            self._bar.close()
