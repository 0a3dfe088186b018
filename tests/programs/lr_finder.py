import torch
from torch import nn, optim

torch.manual_seed(21)
model = nn.Sequential(
    nn.Linear(6, 32),
    nn.SiLU(),
    nn.Linear(32, 32),
    nn.SiLU(),
    nn.Linear(32, 3),
)
x = torch.randn(512, 6)
teacher = torch.randn(6, 3)
y = (x @ teacher + 0.5 * torch.randn(512, 3)).argmax(-1)
criterion = nn.CrossEntropyLoss()


def batches(size=64):
    while True:
        for chunk in torch.randperm(len(x)).split(size):
            yield x[chunk], y[chunk]


def find_lr(init=1e-4, final=1.0, beta=0.9, num=40):
    start = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = optim.SGD(model.parameters(), lr=init, momentum=0.9)
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda step: (final / init) ** (step / num))
    average, best, log = 0.0, float("inf"), []
    stream = batches()
    for i in range(1, num + 1):
        inputs, targets = next(stream)
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        average = beta * average + (1 - beta) * loss.item()
        smooth = average / (1 - beta**i)
        if i > 1 and smooth > 4 * best:
            break
        best = min(best, smooth)
        log.append((schedule.get_last_lr()[0], smooth))
        loss.backward()
        optimizer.step()
        schedule.step()
    model.load_state_dict(start)
    return log


log = find_lr()
print(len(log), [f"{lr:.1e}:{loss:.1f}" for lr, loss in log[::8]])

# groups: no decay for biases and norms, a rate of its own for the head
decay, no_decay = [], []
for name, p in model[:-1].named_parameters():
    (no_decay if p.ndim == 1 or name.endswith(".bias") else decay).append(p)
optimizer = optim.AdamW(
    [
        {"params": decay, "weight_decay": 0.05},
        {"params": no_decay, "weight_decay": 0.0},
        {"params": model[-1].parameters(), "lr": 1e-2},
    ],
    lr=3e-3,
    betas=(0.9, 0.95),
)
print(optimizer)
warmup = optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=5)
cosine = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=15, eta_min=1e-5)
schedule = optim.lr_scheduler.SequentialLR(optimizer, [warmup, cosine], milestones=[5])
stream = batches()
for step in range(20):
    inputs, targets = next(stream)
    loss = criterion(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    if step % 4 == 3:
        print(step, f"{loss.item():.2f}", [f"{g['lr']:.2e}" for g in optimizer.param_groups])
saved = optimizer.state_dict()
print(sorted(saved), len(saved["state"]), saved["param_groups"][1]["params"], sorted(saved["state"][0]))
