import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

torch.manual_seed(9)
model = nn.Sequential(nn.Linear(6, 10), nn.PReLU(), nn.Linear(10, 4), nn.LogSoftmax(dim=1))
start = parameters_to_vector(model.parameters()).clone()
optimizer = torch.optim.SGD(
    [{"params": [p for n, p in model.named_parameters() if "weight" in n], "weight_decay": 1e-2},
     {"params": [p for n, p in model.named_parameters() if "bias" in n], "lr": 0.05}],
    lr=0.1, momentum=0.8)  # fmt: skip
warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=4)
decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, decay], milestones=[4])
x, y = torch.randn(64, 6), torch.randint(4, (64,))
weights = torch.tensor([1.0, 2.0, 0.5, 1.0])
for epoch in range(8):
    total = 0
    for i, (xb, yb) in enumerate(zip(x.split(8), y.split(8))):
        loss = nn.functional.nll_loss(model(xb), yb, weight=weights) / 4
        loss.backward()
        total += loss.item()
        if (i + 1) % 4 == 0:
            nn.utils.clip_grad_value_(model.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()
    scheduler.step()
    print(epoch, f"{total:.3f}", [f"{v:.4f}" for v in scheduler.get_last_lr()])
moved = parameters_to_vector(model.parameters()) - start
print(f"{moved.norm().item():.3f}", (moved.abs() > 0.1).sum().item())
vector_to_parameters(start, model.parameters())
print(torch.equal(parameters_to_vector(model.parameters()), start))
print(optimizer)
