"""What `unspool.diagnose` costs, and whether networks learn after `report.repair`.

    python benchmarks/diagnose.py cost
    python benchmarks/diagnose.py repair --networks 60

The verdicts' campaign is a test: `UNSPOOL_NETWORKS=400 UNSPOOL_DRAWS=10000 pytest -s tests/test_diagnose.py`.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import geometric_mean, median
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


def _trained(model: Any, x: Any, y: Any) -> float:
    """The lowest loss after 200 Adam steps, over the learning rates; inf where none is finite."""
    start = {name: t.clone() for name, t in model.state_dict().items()}
    best = math.inf
    for lr in RATES:
        model.load_state_dict(start)
        optimizer = unspool.optim.Adam(model.parameters(), lr=lr)

        @unspool.compile
        def step() -> Any:
            optimizer.zero_grad()  # noqa: B023 - the step is done with before the next rate
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()  # noqa: B023
            return loss

        for _ in range(STEPS):
            step()
        with unspool.no_grad():
            loss = float(F.mse_loss(model(x), y))
        best = min(best, loss if math.isfinite(loss) else math.inf)
    model.load_state_dict(start)
    return best


def _task(spec: networks.Spec) -> tuple[Any, Any]:
    """128 examples and a teacher's targets for them, each of mean 0 and variance 1."""
    unspool.manual_seed(spec.seed)
    x = unspool.randn(128, spec.width)
    teacher = nn.Sequential(nn.Linear(spec.width, 64), nn.Tanh(), nn.Linear(64, spec.width))
    with unspool.no_grad():
        y = teacher(x)
        return x, (y - y.mean(0)) / y.std(0)


def repair(args: argparse.Namespace) -> None:
    """Losses on a teacher's targets of sick, repaired and fresh networks of the grid.

    Between two seeds the loss of a fresh network differs by up to a factor of two, so geometric means over seeds are
    compared: these are ratios, and an arithmetic mean would be that of the worst seed.
    """
    ratios, spreads, missed_sick, unclean = [], [], 0, 0
    for spec in networks.grid(40 * args.networks, args.work):
        eased = spec.residual or spec.norm
        if len(ratios) == args.networks:
            break
        if spec.width < 32 or spec.depth > (100 if eased else 30) or spec.scale == 1.0:
            continue
        if spec.depth * spec.width**2 < args.least:
            continue
        x, y = _task(spec)
        found = {f.kind for f in unspool.diagnose(networks.build(spec), x, y).findings if f.severity != "info"}
        if found <= {"collapsed_linear"}:  # no matter of weights
            continue
        fresh = [_trained(networks.build(replace(spec, scale=1.0, seed=1000 + k)), x, y) for k in range(args.fresh)]
        sick, repaired = [], []
        for k in range(args.sick):
            model = networks.build(replace(spec, seed=spec.seed + 10000 * k))
            sick.append(_trained(model, x, y))
            unspool.diagnose(model, x, y).repair(model)
            unclean += not unspool.diagnose(model, x, y).healthy
            repaired.append(_trained(model, x, y))
        aim = geometric_mean(fresh)
        ratios.append(geometric_mean(repaired) / aim)
        spreads.append(max(fresh) / min(fresh))
        missed_sick += not geometric_mean(sick) <= SLACK * aim
        if not ratios[-1] <= SLACK or args.verbose:
            print(
                f"{spec}: fresh {aim:.4g} (× {spreads[-1]:.3g} between seeds), repaired × {ratios[-1]:.3g}, "
                f"sick × {geometric_mean(sick) / aim:.3g}",
                flush=True,
            )
    count, good = len(ratios), sum(ratio <= SLACK for ratio in ratios)
    print(
        f"{count} sick networks, {STEPS} Adam steps, geometric means over {args.sick} of each and {args.fresh} fresh "
        f"ones: within {SLACK} times the fresh ones' loss are {good} after repair (at worst × {max(ratios):.3g}, in "
        f"the middle × {median(ratios):.3g}) and {count - missed_sick} without; fresh ones differ by a factor of "
        f"{median(spreads):.3g} between seeds in the middle, {max(spreads):.3g} at most; to a second diagnosis "
        f"{unclean} of {count * args.sick} are not healthy"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    commands.add_parser("cost").set_defaults(run=cost)
    campaign = commands.add_parser("repair")
    campaign.add_argument("--networks", type=int, default=40, help="how many sick ones (40)")
    campaign.add_argument("--fresh", type=int, default=5, help="seeds of the fresh network (5)")
    campaign.add_argument("--sick", type=int, default=3, help="seeds of each sick network (3)")
    campaign.add_argument("--work", type=float, default=3e5, help="depth·width² at most (3e5)")
    campaign.add_argument("--least", type=float, default=0.0, help="depth·width² at least (0)")
    campaign.add_argument("--verbose", action="store_true", help="a line for each")
    campaign.set_defaults(run=repair)
    args = parser.parse_args()
    unspool.manual_seed(0)
    args.run(args)


if __name__ == "__main__":
    main()
