from typing import Dict, Optional

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

torch.manual_seed(99)


class MultiTask(nn.Module):
    heads: nn.ModuleDict

    def __init__(self, in_features: int, tasks: Dict[str, int], width: int = 32) -> None:
        super().__init__()
        self.trunk = nn.Sequential()
        for i in range(2):
            self.trunk.add_module(f"fc{i}", nn.Linear(in_features if i == 0 else width, width))
            self.trunk.add_module(f"norm{i}", nn.BatchNorm1d(width, momentum=0.05))
            self.trunk.add_module(f"act{i}", nn.ELU())
        self.heads = nn.ModuleDict({name: nn.Linear(width, n) for name, n in tasks.items()})
        self.log_vars = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in tasks})

    def forward(self, x: Tensor, task: Optional[str] = None) -> Dict[str, Tensor]:
        h = self.trunk(x)
        return {name: head(h) for name, head in self.heads.items() if task in (None, name)}

    def loss(self, outputs: Dict[str, Tensor], targets: Dict[str, Tensor]) -> Tensor:
        total = torch.zeros(())
        for name, out in outputs.items():
            if out.size(1) == 1:
                one = F.huber_loss(out.squeeze(1), targets[name], delta=0.5)
            elif targets[name].is_floating_point():
                one = F.binary_cross_entropy_with_logits(out, targets[name], pos_weight=torch.full((out.size(1),), 2.0))
            else:
                one = F.nll_loss(F.log_softmax(out, dim=-1), targets[name], ignore_index=-100)
            total = total + torch.exp(-self.log_vars[name]) * one + self.log_vars[name]
        return total


x = torch.randn(128, 10)
targets = {
    "value": x[:, :3].sum(1),
    "kind": (x[:, 3] > 0).long() + (x[:, 4] > 0).long(),
    "tags": (x[:, 5:9] > 0.5).float(),
}
targets["kind"][::7] = -100
model = MultiTask(10, {"value": 1, "kind": 3, "tags": 4})
print(model)
shared = list(model.trunk.parameters())
optimizer = torch.optim.NAdam(model.parameters(), lr=5e-3)
for epoch in range(41):
    outputs = model(x)
    loss = model.loss(outputs, targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch % 10 == 0:
        print(f"{epoch:3d} {loss.item():.2f}", {k: f"{v.item():.2f}" for k, v in model.log_vars.items()})
# how the tasks pull on the trunk
model.eval()
outputs = model(x)
flat = {}
for name in outputs:
    gs = torch.autograd.grad(model.loss({name: outputs[name]}, targets), shared, retain_graph=True)
    flat[name] = torch.cat([g.flatten() for g in gs])
names = list(flat)
cos = torch.stack([torch.stack([F.cosine_similarity(flat[a], flat[b], dim=0) for b in names]) for a in names])
print(names, cos.shape, torch.allclose(cos.diagonal(), torch.ones(3)), list(model(x, task="kind")))
