"""What `unspool.diagnose` costs, and whether networks learn after `report.repair`.

    python benchmarks/diagnose.py cost
    python benchmarks/diagnose.py repair --networks 60

The verdicts' campaign is a test: `UNSPOOL_NETWORKS=400 UNSPOOL_DRAWS=10000 pytest -s tests/test_diagnose.py`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import diagnosed_networks as networks
import unspool
from unspool import nn
from unspool.nn import functional as F

DEPTH, WIDTH, BATCH = 50, 512, 256
STEPS, RATES, SLACK = 200, (1e-3, 1e-4), 1.2


def _median(run: Callable[[], Any], times: int) -> float:
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return median(taken)


def cost(args: argparse.Namespace) -> None:
    """Times of a diagnosis and of a monitored step, as multiples of an eager Adam step of the same network."""
    model = networks.build(networks.Spec(DEPTH, WIDTH, "relu", 1.0, False, False, "", 0))
    x, y = unspool.randn(BATCH, WIDTH), unspool.randn(BATCH, WIDTH)
    optimizer = unspool.optim.Adam(model.parameters(), lr=1e-9)

    def step() -> Any:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    step()
    one = _median(step, 11)
    print(f"{DEPTH} layers of {WIDTH}, {BATCH} examples: an Adam step takes {1e3 * one:.0f} ms; in such steps:")
    for name, options in (
        ("diagnose", {}),
        ("with the float64 shadow", {"shadow": True}),
        ("with shadow and curvature", {"shadow": True, "curvature": True}),
    ):
        print(f"  {name:<28}{_median(lambda options=options: unspool.diagnose(model, x, y, **options), 5) / one:6.1f}")
    monitor = unspool.diagnose.Monitor(model, every=100, tell=lambda line: None)
    loss = step().detach()
    begun = time.perf_counter()
    for _ in range(1000):
        monitor(loss)
    print(f"  {'a monitored step, beside it':<28}{(time.perf_counter() - begun) / 1000 / one:6.1%}")


def _trained(model: Any, state: Any, x: Any, y: Any) -> float:
    """The lowest loss after 200 Adam steps, over the learning rates."""
    best = float("inf")
    for lr in RATES:
        model.load_state_dict(state)
        optimizer = unspool.optim.Adam(model.parameters(), lr=lr)
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        best = min(best, float(F.mse_loss(model(x), y).detach()), key=lambda v: v if v == v else float("inf"))
    return best


def _state(model: Any) -> dict[str, Any]:
    return {name: t.clone() for name, t in model.state_dict().items()}


def repair(args: argparse.Namespace) -> None:
    """Losses on a teacher's targets of sick, repaired and fresh networks of the grid.

    The fresh network is drawn from the same seed: between two seeds its loss differs by up to a factor of two.
    """
    missed_sick = missed = unclean = count = 0
    for spec in networks.grid(20 * args.networks, args.work):
        eased = spec.residual or spec.norm
        if count == args.networks or spec.width < 32 or spec.depth > (100 if eased else 30):
            continue
        sick = networks.build(spec)
        x = unspool.randn(128, spec.width)
        with unspool.no_grad():
            teacher = nn.Sequential(nn.Linear(spec.width, 64), nn.Tanh(), nn.Linear(64, spec.width))
            y = teacher(x)
            y = (y - y.mean(0)) / y.std(0)
        report = unspool.diagnose(sick, x, y)
        if report.forward.label == report.backward.label == "healthy":
            continue
        count += 1
        before = _state(sick)
        report.repair(sick)
        unclean += not unspool.diagnose(sick, x, y).healthy
        repaired = _state(sick)
        fresh = networks.build(replace(spec, scale=1.0))
        aim = _trained(fresh, _state(fresh), x, y)
        after, without = _trained(sick, repaired, x, y), _trained(sick, before, x, y)
        missed += not after <= SLACK * aim
        missed_sick += not without <= SLACK * aim
        if not after <= SLACK * aim or args.verbose:
            print(f"{spec}: fresh {aim:.4g}, repaired {after:.4g}, sick {without:.4g}", flush=True)
    print(
        f"{count} sick networks, {STEPS} Adam steps: within {SLACK} times a fresh network's loss are "
        f"{count - missed} after repair, {count - missed_sick} without; to a second diagnosis {unclean} are not healthy"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    commands.add_parser("cost").set_defaults(run=cost)
    campaign = commands.add_parser("repair")
    campaign.add_argument("--networks", type=int, default=40, help="how many sick ones (40)")
    campaign.add_argument("--work", type=float, default=3e5, help="depth·width² at most (3e5)")
    campaign.add_argument("--verbose", action="store_true", help="a line for each")
    campaign.set_defaults(run=repair)
    args = parser.parse_args()
    unspool.manual_seed(0)
    args.run(args)


if __name__ == "__main__":
    main()
