import math

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(11)


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.out = nn.Linear(d, d)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        scores = torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(d // self.heads)
        mask = torch.triu(torch.ones(n, n, dtype=torch.bool), diagonal=1)
        weights = scores.masked_fill(mask, float("-inf")).softmax(dim=-1)
        y = torch.einsum("bhij,bhjd->bhid", weights, v)
        same = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        assert torch.allclose(y, same, atol=1e-5)
        return self.out(y.transpose(1, 2).reshape(b, n, d))


model = nn.Sequential(nn.Embedding(10, 16), Attention(16, 4), nn.LayerNorm(16), nn.Linear(16, 10))
seen = {}
for name, module in model.named_modules():
    if isinstance(module, nn.Linear):
        module.register_forward_hook(lambda m, i, o, name=name: seen.update({name: tuple(o.shape)}))
        module.register_full_backward_hook(
            lambda m, gi, go, name=name: seen.update({name + ".grad": tuple(go[0].shape)})
        )
optimizer = torch.optim.NAdam(model.parameters(), lr=1e-2)
tokens = torch.randint(0, 10, (8, 12))
for step in range(21):
    logits = model(tokens[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 10 == 0:
        print(step, f"{loss.item():.3f}")
print(seen)
