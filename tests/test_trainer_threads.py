"""Trainings in several threads have the serial bits, and let others run."""

from __future__ import annotations

import os
import threading
import time

import pytest

import unspool
from trainer_runs import Run, generator, numbers
from unspool import nn
from unspool.train import Trainer


def test_fits_in_threads_give_the_serial_bits() -> None:
    """`UNSPOOL_FITS` of them (the campaign: 1000), over 8 threads, each with a generator of its own."""
    count = int(os.environ.get("UNSPOOL_FITS", "64"))
    x, y = numbers(40)
    runs = []
    for seed in range(count):
        runs.append((Run(seed), Run(seed)))

    def fit(run: Run, seed: int) -> None:
        trainer = Trainer(run.model, run.criterion, run.optimizer, run.scheduler)
        run.losses = trainer.fit(x, y, epochs=4, batch_size=8, generator=generator(seed)).batch_losses

    for seed, (serial, _) in enumerate(runs):
        fit(serial, seed)

    def work(k: int) -> None:
        for seed in range(k, count, 8):
            fit(runs[seed][1], seed)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for serial, parallel in runs:
        unspool.manual_seed(0)
        expected = serial.state()
        unspool.manual_seed(0)
        assert parallel.state() == expected


@pytest.mark.parametrize("labels", [False, True])
def test_other_threads_run_during_an_epoch(labels: bool) -> None:
    run = Run(23)
    run.x, run.y = numbers(300_000)
    if labels:
        run.y, run.criterion = unspool.randint(0, 3, (300_000,)), nn.CrossEntropyLoss()
    ticks = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    Trainer(run.model, run.criterion, run.optimizer).fit(run.x, run.y, batch_size=10)
    done.set()
    thread.join()
    assert ticks > 10
