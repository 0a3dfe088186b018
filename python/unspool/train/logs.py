"""Logs of a training, an epoch a line: CSV, TensorBoard."""

from __future__ import annotations

import csv
from typing import Any, TextIO

from unspool.train.callbacks import Callback

__all__ = ["CSVLog", "TensorBoardLog"]


class CSVLog(Callback):
    """Writes a row of numbers an epoch, and a first row of their names; floats exactly.

    Args:
        path: of the file. A training that is resumed goes on below its rows; any other starts anew.
    """

    def __init__(self, path: Any) -> None:
        self.path = path
        self._file: TextIO | None = None
        self._names: list[str] = []

    def fit_begin(self, trainer: Any) -> None:
        self._names = []
        if trainer.epoch == 0:
            self._file = open(self.path, "w", newline="", encoding="utf-8")  # noqa: SIM115 (open until fit_end)
            return
        self._file = open(self.path, "r+", newline="", encoding="utf-8")  # noqa: SIM115
        for _ in range(trainer.epoch + 1):  # the names, and a row for each epoch that is done
            line = self._file.readline()
            self._names = self._names or next(csv.reader([line]), [])
        self._file.seek(self._file.tell())  # what was read ahead is dropped, so that writing begins here
        self._file.truncate()

    def epoch_end(self, trainer: Any) -> None:
        assert self._file is not None
        row = {"epoch": trainer.epoch, **trainer.history.last()}
        writer = csv.writer(self._file, lineterminator="\n")
        if not self._names:
            self._names = list(row)
            writer.writerow(self._names)
        writer.writerow([repr(row[name]) if name in row else "" for name in self._names])
        self._file.flush()

    def fit_end(self, trainer: Any) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class TensorBoardLog(Callback):
    """Writes each epoch's numbers as TensorBoard scalars.

    Args:
        folder: of the event files.

    Raises:
        ImportError: tensorboardX is not installed.
    """

    def __init__(self, folder: Any) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError("TensorBoardLog needs tensorboardX: pip install 'unspool[log]'") from error
        self.folder = str(folder)
        self._make = SummaryWriter
        self._writer: Any = None

    def fit_begin(self, trainer: Any) -> None:
        self._writer = self._make(self.folder)

    def epoch_end(self, trainer: Any) -> None:
        for name, value in trainer.history.last().items():
            self._writer.add_scalar(name, value, trainer.epoch)

    def fit_end(self, trainer: Any) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
