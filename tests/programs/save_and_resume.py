"""A checkpoint in the middle, and the rest of the training twice."""

import copy
import pickle

import numpy as np
import torch
import torch.nn as nn

torch.manual_seed(0)


def make():
    model = nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.25), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.3)
    return model, optimizer, scheduler


def train(model, optimizer, scheduler, epochs, generator):
    for epoch in epochs:
        order = torch.randperm(len(x), generator=generator)
        total = 0.0
        for chunk in torch.split(order, 16):
            optimizer.zero_grad()
            loss = ((model(x[chunk]) - y[chunk]) ** 2).mean()
            loss.backward()
            optimizer.step()
            total += float(loss) * len(chunk)
        scheduler.step()
        print(f"epoch {epoch} {total / len(x):.2f} {scheduler.get_last_lr()}")


x = torch.from_numpy(np.random.RandomState(0).randn(64, 3)).float()
y = (x**2).sum(1, keepdim=True)
g = torch.Generator().manual_seed(5)
model, optimizer, scheduler = make()
train(model, optimizer, scheduler, range(5), g)
checkpoint = copy.deepcopy(
    {
        "epoch": 5,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "rng": torch.get_rng_state(),
        "generator": g.get_state(),
    }
)
train(model, optimizer, scheduler, range(5, 9), g)
first = model(x).detach() if not model.training else model.eval()(x).detach()

print(sorted(checkpoint))
model, optimizer, scheduler = make()
model.load_state_dict(checkpoint["model"])
optimizer.load_state_dict(checkpoint["optimizer"])
scheduler.load_state_dict(checkpoint["scheduler"])
torch.set_rng_state(checkpoint["rng"])
g.set_state(checkpoint["generator"])
train(model, optimizer, scheduler, range(checkpoint["epoch"], 9), g)
print(torch.equal(first, model.eval()(x).detach()))
again = pickle.loads(pickle.dumps(model))
print(again, torch.equal(again(x), model(x)))
