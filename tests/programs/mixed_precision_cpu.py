"""Training under autocast on the CPU, in bfloat16, with a scaler."""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))
opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
x, y = torch.randn(32, 6), torch.randint(0, 3, (32,))
for step in range(8):
    with torch.autocast(device_type="cpu", dtype=torch.bfloat16):
        out = model(x)
        loss = F.cross_entropy(out, y)
    opt.zero_grad()
    scaler.scale(loss).backward()
    scaler.unscale_(opt)
    norm = nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    scaler.step(opt)
    scaler.update()
    print(step, out.dtype, loss.dtype, f"{loss.item():.2f} {norm:.1f}", scaler.get_scale())
print(model[0].weight.dtype, model[0].weight.grad.dtype, scaler.state_dict())
with torch.autocast("cpu"):
    a, b = torch.randn(2, 3), torch.randn(3, 4)
    print((a @ b).dtype, (a + 1).dtype, F.linear(a, b.t()).dtype, torch.is_autocast_enabled("cpu"))
    h = a @ b
    print(h.softmax(-1).dtype, F.mse_loss(h, torch.zeros(2, 4)).dtype, F.l1_loss(h, h + 1).dtype, (h + a[:, :1]).dtype)
    print((a.double() @ b.double()).dtype)
    with torch.autocast("cpu", enabled=False):
        print((a @ b).dtype, torch.is_autocast_enabled("cpu"))
    print((a @ b).dtype, torch.get_autocast_dtype("cpu"))
print((a @ b).dtype)


@torch.autocast("cpu", dtype=torch.bfloat16)
def decorated(a):
    return a @ a


print(decorated(torch.eye(2)))
opt.zero_grad()
scaler.scale(model(x).sum() * float("inf")).backward()
before = model[0].weight.detach().clone()
scaler.step(opt)
scaler.update()
print(torch.equal(before, model[0].weight), scaler.get_scale())
