"""How gradients fare in deep networks, by initialisation and activation."""

import torch
import torch.nn as nn
from torch.nn import init

torch.set_default_dtype(torch.float64)


def build(depth, width, activation):
    layers = [nn.Linear(10, width), activation()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 1))


schemes = {
    "default": lambda w: None,
    "he": lambda w: init.kaiming_normal_(w, nonlinearity="relu"),
    "glorot": lambda w: init.xavier_uniform_(w),
    "orthogonal": lambda w: init.orthogonal_(w),
    "small": lambda w: init.normal_(w, std=0.01),
    "truncated": lambda w: init.trunc_normal_(w, std=0.1, a=-0.2, b=0.2),
}
x, y = None, None
for activation in (nn.ReLU, nn.Tanh, nn.Sigmoid):
    for name, scheme in schemes.items():
        torch.manual_seed(3)
        net = build(6, 20, activation)
        for m in net.modules():
            if isinstance(m, nn.Linear):
                scheme(m.weight.data if name == "small" else m.weight)
                init.constant_(m.bias, 0.01)
        x, y = torch.randn(32, 10), torch.randn(32, 1)
        stats = {}

        def keep(label):
            def hook(module, inputs, output):
                stats[label] = (output.mean().item(), output.std().item())

            return hook

        handles = [m.register_forward_hook(keep(i)) for i, m in enumerate(net) if isinstance(m, activation)]
        loss = nn.MSELoss()(net(x), y)
        loss.backward()
        for h in handles:
            h.remove()
        norms = [p.grad.norm() for n, p in net.named_parameters() if "weight" in n]
        print(f"{activation.__name__:8s}{name:11s}", " ".join(f"{g:.2e}" for g in norms), f"{stats[11][1]:.3e}")
print(f"{'layer':10s}{'shape':>12s}{'data':>10s}{'grad':>10s}{'ratio':>10s}")
for n, p in net.named_parameters():
    if p.dim() == 2:
        print(
            f"{n:10s}{str(tuple(p.shape)):>12s}{p.std():10.4f}{p.grad.std().item():10.2e}{(p.grad.std() / p.std()).log10().item():10.3f}"
        )
hist = torch.histc(net[0].weight.detach(), bins=5, min=-0.25, max=0.25)
print(hist, int(hist.sum()))
