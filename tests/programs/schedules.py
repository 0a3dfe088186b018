"""The learning rate of every schedule over ten steps, and what is saved of it."""

import torch
import torch.optim as optim
from torch.optim import lr_scheduler as L

p = [torch.nn.Parameter(torch.ones(2))]


def mk(lr=0.1):
    return optim.SGD(p, lr=lr, momentum=0.9)


S = {
    "lambda": lambda o: L.LambdaLR(o, lambda e: 0.95**e),
    "mult": lambda o: L.MultiplicativeLR(o, lambda e: 0.9),
    "step": lambda o: L.StepLR(o, 3, 0.1),
    "multi": lambda o: L.MultiStepLR(o, [2, 5, 5]),
    "const": lambda o: L.ConstantLR(o, 0.3, 4),
    "linear": lambda o: L.LinearLR(o, 0.1, total_iters=4),
    "exp": lambda o: L.ExponentialLR(o, 0.9),
    "poly": lambda o: L.PolynomialLR(o, 8, 2.0),
    "cos": lambda o: L.CosineAnnealingLR(o, 5, 0.01),
    "warm": lambda o: L.CosineAnnealingWarmRestarts(o, 3, 2),
    "cyc": lambda o: L.CyclicLR(o, 0.01, 0.1, 3, mode="triangular2"),
    "one": lambda o: L.OneCycleLR(o, 0.5, total_steps=12),
    "seq": lambda o: L.SequentialLR(o, [L.ConstantLR(o, 0.1, 2), L.ExponentialLR(o, 0.9)], [4]),
    "chain": lambda o: L.ChainedScheduler([L.ConstantLR(o, 0.1, 3), L.ExponentialLR(o, 0.9)]),
    "swa": lambda o: optim.swa_utils.SWALR(o, swa_lr=0.05, anneal_epochs=3),
}
for n, f in S.items():
    o = mk()
    s = f(o)
    r = []
    for i in range(10):
        o.step()
        r.append(round(o.param_groups[0]["lr"], 6))
        s.step()
    print(n, r, [round(x, 6) for x in s.get_last_lr()], round(o.param_groups[0]["momentum"], 4))
    print(sorted(k for k in s.state_dict() if not k.startswith("_")))
o = mk()
s = L.ReduceLROnPlateau(o, "min", factor=0.5, patience=1, threshold=1e-3, cooldown=1, min_lr=0.01)
for v in (1, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97):
    s.step(v)
    print(o.param_groups[0]["lr"], s.num_bad_epochs, s.best)
print(s.state_dict())
s2 = L.ReduceLROnPlateau(mk())
s2.load_state_dict(s.state_dict())
print(s2.patience)
o = mk()
s = L.StepLR(o, 2)
for i in range(3):
    o.step()
    s.step()
sd = s.state_dict()
o2 = mk()
s2 = L.StepLR(o2, 2)
s2.load_state_dict(sd)
o2.load_state_dict(o.state_dict())
o2.step()
s2.step()
print(o2.param_groups[0]["lr"], s2.last_epoch)
try:
    L.StepLR(mk(), 2, last_epoch=3)
except KeyError as e:
    print(type(e).__name__)
