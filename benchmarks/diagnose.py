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
from statistics import geometric_mean, median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import diagnosed_networks as networks
import unspool
from unspool import nn
from unspool.nn import functional as F

DEPTH, WIDTH, BATCH = 50, 512, 256
STEPS, RATES, SLACK = 200, (1e-3, 1e-4), 1.2


def _interleaved(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each run, one after the other in each round, so that what disturbs one disturbs all."""
    for run in runs.values():
        run()
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            begun = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - begun)
    return taken


def _ratio(times: list[float], base: list[float], less: float = 0.0) -> tuple[float, float, float]:
    """Quartiles of the rounds' ratios, the median in the middle."""
    low, middle, high = quantiles([a / b - less for a, b in zip(times, base, strict=True)], n=4)
    return low, middle, high


def cost(args: argparse.Namespace) -> None:
    """Times of a diagnosis as multiples of an eager Adam step of the same network, and what a monitor adds to steps."""
    model = networks.build(networks.Spec(DEPTH, WIDTH, "relu", 1.0, False, False, "", 0))
    x, y = unspool.randn(BATCH, WIDTH), unspool.randn(BATCH, WIDTH)
    optimizer = unspool.optim.Adam(model.parameters(), lr=1e-9)

    def step() -> Any:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    runs = {
        "step": step,
        "diagnose": lambda: unspool.diagnose(model, x, y),
        "with the float64 shadow": lambda: unspool.diagnose(model, x, y, shadow=True),
        "with shadow and curvature": lambda: unspool.diagnose(model, x, y, shadow=True, curvature=True),
    }
    taken = _interleaved(runs, args.rounds)
    one = taken.pop("step")
    print(f"{DEPTH} layers of {WIDTH}, {BATCH} examples: an Adam step takes {1e3 * median(one):.0f} ms; in such steps:")
    for name, times in taken.items():
        low, middle, high = _ratio(times, one)
        print(f"  {name:<28}{middle:6.1f}  ({low:.1f} to {high:.1f})")
    _monitored(args.rounds)


def _smallest(monitored: bool) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """1,000 frozen steps of the notes' network, in a loop and in a Trainer."""
    unspool.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 5))
    x, y = unspool.randn(1000, 10), unspool.randn(1000, 5)
    optimizer = unspool.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    trainer = unspool.Trainer(model, nn.MSELoss(), optimizer)
    watching = [unspool.diagnose.Monitor(model, tell=lambda line: None) for _ in range(2)]
    few, target = x[:10].clone(), y[:10].clone()

    @unspool.compile
    def step() -> Any:
        optimizer.zero_grad()
        loss = F.mse_loss(model(few), target)
        loss.backward()
        optimizer.step()
        return loss

    def loop() -> None:
        monitor = watching[0]
        for _ in range(1000):
            loss = float(step())
            if monitored:
                monitor(loss)

    def fit() -> None:
        trainer.fit(x, y, epochs=10, batch_size=10, callbacks=watching[1:] if monitored else [], progress=False)

    return loop, fit


def _monitored(rounds: int) -> None:
    """The monitor's part of a step, where steps are shortest: 10-40-40-5, batches of 10, SGD with momentum."""
    plain, watched = _smallest(False), _smallest(True)
    for name, without, monitored in zip(("a frozen loop", "a Trainer"), plain, watched, strict=True):
        for _ in range(5):  # a look's time decides when the next one comes
            monitored()
        taken = _interleaved({"without": without, "monitored": monitored}, 20 * rounds)
        low, _, high = _ratio(taken["monitored"], taken["without"], 1.0)
        whole = _mean(taken["monitored"]) / _mean(taken["without"]) - 1.0
        print(
            f"{name} with a step of {1e3 * median(taken['without']):.2f} µs: a monitor adds {whole:.1%} "
            f"(middle half of the rounds {low:.1%} to {high:.1%})"
        )


def _mean(times: list[float]) -> float:
    """Of all but the slowest twentieth, which something else has slowed. Not the median: looks come in few rounds."""
    kept = sorted(times)[: math.ceil(0.95 * len(times))]
    return math.fsum(kept) / len(kept)


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


_OF_ARCHITECTURE = {"collapsed_linear"}  # no weights mend it


def _ailments(model: Any, x: Any, y: Any) -> set[str]:
    return {f.kind for f in unspool.diagnose(model, x, y).findings if f.severity != "info"}


def repair(args: argparse.Namespace) -> None:
    """Losses on a teacher's targets of sick, repaired and fresh networks of the grid.

    Between two seeds the loss of a fresh network differs by up to a factor of two, so geometric means over seeds are
    compared: these are ratios, and an arithmetic mean would be that of the worst seed.
    """
    ratios, spreads, missed_sick, unclean, collapsed = [], [], 0, 0, 0
    for spec in networks.grid(40 * args.networks, args.work):
        eased = spec.residual or spec.norm
        if len(ratios) == args.networks:
            break
        if spec.width < 32 or spec.depth > (100 if eased else 30) or spec.scale == 1.0:
            continue
        if spec.depth * spec.width**2 < args.least:
            continue
        x, y = _task(spec)
        if _ailments(networks.build(spec), x, y) <= _OF_ARCHITECTURE:
            continue
        fresh = [_trained(networks.build(replace(spec, scale=1.0, seed=1000 + k)), x, y) for k in range(args.fresh)]
        sick, repaired = [], []
        for k in range(args.sick):
            model = networks.build(replace(spec, seed=spec.seed + 10000 * k))
            sick.append(_trained(model, x, y))
            unspool.diagnose(model, x, y).repair(model)
            left = _ailments(model, x, y)
            unclean += not left <= _OF_ARCHITECTURE
            collapsed += bool(left) and left <= _OF_ARCHITECTURE
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
        f"{unclean} of {count * args.sick} are not healthy, beside {collapsed} with linear layers that collapse"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    costs = commands.add_parser("cost")
    costs.add_argument("--rounds", type=int, default=11, help="interleaved rounds (11)")
    costs.set_defaults(run=cost)
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
