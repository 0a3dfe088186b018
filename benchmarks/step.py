"""One whole eager training step of the notes' network: 10-40-40-5, batch of 10, mean squared error, SGD with momentum.

An iteration is zero_grad, forward, loss, backward, step.
"""

from __future__ import annotations

from importlib import import_module

import harness


def setup(package: str) -> harness.Iteration:
    torch, nn = import_module(package), import_module(f"{package}.nn")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 5))
    criterion = nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = torch.randn(10, 10), torch.randn(10, 5)

    def step() -> None:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    harness.main(__doc__, setup, limit=1 / 5)
