import numpy as np
import torch
from torch import nn, optim

np.random.seed(0)
torch.manual_seed(0)
t = np.linspace(0, 2 * np.pi, 200)
data = np.stack([np.sin(t), np.cos(t), np.sin(2 * t), t / 3], axis=1) + 0.05 * np.random.randn(200, 4)
data = (data - data.mean(0)) / data.std(0)
x = torch.from_numpy(data.astype(np.float32))

encoder = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
decoder = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 4))
for m in [*encoder, *decoder]:
    if isinstance(m, nn.Linear):
        nn.init.xavier_uniform_(m.weight, gain=nn.init.calculate_gain("tanh"))
        nn.init.zeros_(m.bias)
params = list(encoder.parameters()) + list(decoder.parameters())
opt = optim.RMSprop(params, lr=1e-2)
sched = optim.lr_scheduler.ReduceLROnPlateau(opt, factor=0.5, patience=5)
history = []
for step in range(120):
    code = encoder(x)
    loss = nn.functional.mse_loss(decoder(code), x)
    opt.zero_grad()
    loss.backward()
    opt.step()
    sched.step(loss)
    history.append(loss.item())
history = np.array(history)
print(np.round(history[::20], 3))
codes = encoder(x).detach().numpy()
print(codes.shape, codes.dtype, "%.2f" % np.corrcoef(codes.T)[0, 1])
print("lr", opt.param_groups[0]["lr"])
