"""A deep network that fits in memory: blocks in checkpoints, the head in pieces, dropout the same in both runs."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

torch.manual_seed(0)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * width, width))

    def forward(self, x, scale=None):
        h = self.inner(self.norm(x))
        return x + (h if scale is None else h * scale)


class Net(nn.Module):
    def __init__(self, width=16, depth=4):
        super().__init__()
        self.embed = nn.Embedding(10, width)
        self.scale = nn.Parameter(torch.ones(width))
        self.blocks = nn.ModuleList([Block(width) for _ in range(depth)])
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 3)
        )

    def forward(self, tokens):
        x = checkpoint(self.embed, tokens, use_reentrant=False)
        scale = self.scale.exp() / 2
        for block in self.blocks:
            x = checkpoint(block, x, scale=scale, use_reentrant=False) if self.training else block(x, scale)
        x = x.mean(1)
        return checkpoint_sequential(self.head, 2, x, use_reentrant=True) if self.training else self.head(x)


net = Net()
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
tokens = torch.randint(0, 10, (32, 7))
labels = tokens.sum(1) % 3
for step in range(20):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(net(tokens), labels)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    if step % 5 == 4:
        print(f"step {step + 1:2d}  loss {loss.item():.4f}  norm {norm.item():.3f}")
net.eval()
with torch.no_grad():
    print("right:", (net(tokens).argmax(1) == labels).sum().item(), "of", len(labels))
print(f"{torch.rand(1).item():.4f}")
