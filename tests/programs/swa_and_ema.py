"""Averages of weights, by swa_utils and by hand."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, SWALR, update_bn, get_ema_multi_avg_fn, get_ema_avg_fn

torch.manual_seed(0)
x = torch.randn(64, 5)
y = x.sum(1, keepdim=True) + 0.1 * torch.randn(64, 1)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=16, shuffle=True)
model = nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))
swa_model = AveragedModel(model)
ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
ema2 = AveragedModel(model, avg_fn=lambda a, p, n: 0.1 * a + 0.9 * p, use_buffers=True)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=10)
swa_sched = SWALR(opt, swa_lr=0.05, anneal_epochs=3, anneal_strategy="linear")
for epoch in range(8):
    for a, b in loader:
        opt.zero_grad()
        l = nn.functional.mse_loss(model(a), b)
        l.backward()
        opt.step()
        ema.update_parameters(model)
    if epoch > 3:
        swa_model.update_parameters(model)
        swa_sched.step()
        ema2.update_parameters(model)
    else:
        sched.step()
    print(epoch, f"{l.item():.4f} {opt.param_groups[0]['lr']:.4f}")
update_bn(loader, swa_model)
for m in (swa_model, ema, ema2):
    m.eval()
    print(f"{nn.functional.mse_loss(m(x), y):.4f}", m.n_averaged)
print(list(swa_model.state_dict().keys()))
print(swa_model)


class EMA:
    def __init__(self, m, d):
        self.m, self.d, self.shadow, self.backup = m, d, {}, {}

    def register(self):
        for n, p in self.m.named_parameters():
            if p.requires_grad:
                self.shadow[n] = p.data.clone()

    def update(self):
        for n, p in self.m.named_parameters():
            if p.requires_grad:
                self.shadow[n] = ((1.0 - self.d) * p.data + self.d * self.shadow[n]).clone()

    def apply_shadow(self):
        for n, p in self.m.named_parameters():
            self.backup[n] = p.data
            p.data = self.shadow[n]

    def restore(self):
        for n, p in self.m.named_parameters():
            p.data = self.backup[n]
        self.backup = {}


e = EMA(model, 0.9)
e.register()
model[0].weight.data.mul_(2)
e.update()
e.apply_shadow()
print(model[0].weight[0])
e.restore()
print(model[0].weight[0])
