"""`Report`: what a diagnosis found, as an object, as text, as HTML, as a picture and as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unspool.diagnose.findings import SEVERITIES, Facts, Finding
from unspool.diagnose.measure import Layer
from unspool.diagnose.verdict import Verdict

__all__ = ["Report"]

_MATRIX = 4096  # numbers of a collapsed matrix that go into a dict


def _plain(value: Any) -> Any:
    """For JSON: floats that it has no word for become text, arrays lists (large ones their shape)."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist()) if value.size <= _MATRIX else {"shape": list(value.shape)}
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else str(float(value))
    return int(value) if isinstance(value, np.integer) else value


def _verdict(v: Verdict) -> dict[str, Any]:
    return {"label": v.label, "slope": v.slope, "total": v.total, "layers": v.layers}


def _layer(layer: Layer) -> dict[str, Any]:
    def moments(s: Any) -> dict[str, Any] | None:
        return None if s is None else {"mean": s.mean, "variance": s.variance, "ln_variance": s.ln_var}

    return {
        "path": layer.path,
        "kind": layer.kind,
        "fan_in": layer.fan_in,
        "fan_out": layer.fan_out,
        "activation": layer.activation.name,
        "weight_variance": layer.weight_var,
        "weight_target": layer.weight_target,
        "pre_activation": moments(layer.z),
        "activations": moments(layer.h),
        "gradient": moments(layer.gradient),
        "dead": layer.dead,
        "always_on": layer.always_on,
        "saturated": layer.saturated,
        "gradient_to_weight": layer.gradient_ratio,
        "bias_rms": layer.bias_rms,
        "effective_rank": None if layer.h is None else layer.h.rank,
    }


@dataclass
class Report:
    """What `unspool.diagnose` returns.

    `layers` are the linear layers in the order of their calls, `findings` what is to be said, errors first, `forward`
    and `backward` the verdicts on the two chains, `loss` the loss of the batch (None without one).
    """

    model: str
    parameters: int
    facts: Facts = field(repr=False)
    findings: list[Finding]
    seconds: float
    batch: tuple[Any, ...] = field(repr=False)

    @property
    def layers(self) -> list[Layer]:
        """The measures of each linear layer."""
        return self.facts.measures.layers

    @property
    def forward(self) -> Verdict:
        """The verdict on the variances of the pre-activations."""
        return self.facts.forward

    @property
    def backward(self) -> Verdict:
        """The verdict on the variances of their gradients."""
        return self.facts.backward

    @property
    def loss(self) -> float | None:
        """The loss of the batch; None where there were neither loss nor labels."""
        return self.facts.measures.loss

    @property
    def healthy(self) -> bool:
        """Whether no finding is above 'info'."""
        return self.severity in ("", "info")

    @property
    def severity(self) -> str:
        """The worst of the findings' severities, '' where there are none."""
        return max((f.severity for f in self.findings), key=SEVERITIES.index, default="")

    def repair(self, model: Any) -> list[str]:
        """Repair `model`, the one diagnosed or its like, in place; returns a line for each thing that was done.

        Weights of mean 0 are scaled to the variance gain / fan_in, others drawn anew (from the default generator),
        biases set to 0 where they do harm; where that isn't enough, each layer is scaled so that its pre-activations on
        the report's batch have variance 1. At last the outputs are made small beside the targets. Where nothing above
        'info' was found, or nothing gets better, not a bit changes; what is left (inputs, missing nonlinearities,
        learning rates) is said. An exception leaves the model as it was.

        Raises:
            ValueError: the model has not the layers of the report.
        """
        from unspool.diagnose.repair import repair

        return repair(self, model)

    def to_dict(self) -> dict[str, Any]:
        """All of it in dicts, lists, text and finite numbers; 'inf' and 'nan' are text."""
        out: dict[str, Any] = _plain(
            {
                "model": self.model,
                "parameters": self.parameters,
                "dtype": self.facts.measures.dtype,
                "healthy": self.healthy,
                "severity": self.severity,
                "loss": self.loss,
                "uninformed_loss": self.facts.measures.uninformed,
                "curvature": self.facts.curvature,
                "float64": self.facts.shadow is not None,
                "forward": _verdict(self.forward),
                "backward": _verdict(self.backward),
                "findings": [vars(f) for f in self.findings],
                "layers": [_layer(x) for x in self.layers],
            }
        )
        return out

    def to_json(self, indent: int | None = None) -> str:
        """`to_dict()` as JSON, in ASCII."""
        return json.dumps(self.to_dict(), indent=indent)

    def plot(self) -> Any:
        """A matplotlib Figure: variances per layer forward and backward on a log axis with the healthy band, histograms
        of pre-activations and gradients, dead and saturated units.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from unspool.diagnose.plot import plot

        return plot(self)

    def save(self, path: Any) -> None:
        """Write one HTML page that needs nothing else: findings, layers and the pictures of `plot()`, as SVG.

        Raises:
            ValueError: the path does not end in .html.
            ImportError: matplotlib is not installed.
        """
        from unspool.diagnose.render import page

        if not str(path).endswith((".html", ".htm")):
            raise ValueError(f"save: path must end in .html, got {str(path)!r}")
        text = page(self)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def __str__(self) -> str:
        from unspool.diagnose.render import printed

        return printed(self)

    def _repr_html_(self) -> str:
        from unspool.diagnose.render import fragment

        return fragment(self)
