"""Whole programs with a Trainer: the documentation's, the example, scikit-learn's classifier as the measure."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import unspool
from unspool import nn
from unspool.train import Trainer


def test_the_documentation_s_program_runs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (root / "docs" / "training.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(block, "training.md", "exec"), {})
    assert "val_r2" in capsys.readouterr().out


def test_the_example_prints_the_same_lines_twice(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(root / "examples" / "notes.py"), "--seed", "2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 101
    assert "the same 100 lines" in done.stdout


def test_accuracy_of_scikit_learn_s_classifier() -> None:
    """The same network, start, batches, epochs and solver, over five seeds, on a third that is held out."""
    from sklearn.datasets import load_digits
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    digits = load_digits()
    x, y = (digits.data / 16).astype(np.float32), digits.target
    theirs, ours = [], []
    for seed in range(5):
        x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=1 / 3, random_state=seed, stratify=y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier = MLPClassifier((100,), max_iter=100, n_iter_no_change=100, alpha=0, random_state=seed)
            theirs.append(classifier.fit(x_train, y_train).score(x_test, y_test))
        unspool.manual_seed(seed)
        model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
        for layer in (model[0], model[2]):
            bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.uniform_(layer.bias, -bound, bound)
        trainer = Trainer(model, nn.CrossEntropyLoss(), unspool.optim.Adam(model.parameters()), metrics=["accuracy"])
        trainer.fit(x_train, y_train, epochs=100, batch_size=200)
        ours.append(trainer.evaluate(x_test, y_test)["accuracy"])
    # One of 2,995 pictures is 0.0003; which are right at the end differs with the instruction set.
    assert np.mean(ours) > np.mean(theirs) - 0.002
