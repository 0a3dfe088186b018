"""A vision transformer with mixed-up images; attention and rotary positions by hand."""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)


class Attention(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.h = h
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.proj = nn.Linear(d, d)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        B, N, C = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, self.h, C // self.h).permute(2, 0, 3, 1, 4).unbind(0)
        a = (q @ k.transpose(-2, -1)) * (C // self.h) ** -0.5
        a = self.drop(a.softmax(dim=-1))
        return self.proj((a @ v).transpose(1, 2).reshape(B, N, C))


class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.n1 = nn.LayerNorm(d, eps=1e-6)
        self.a = Attention(d, 4)
        self.n2 = nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(approximate="tanh"), nn.Linear(2 * d, d))
        self.g = nn.Parameter(1e-1 * torch.ones(d))

    def forward(self, x):
        x = x + self.g * self.a(self.n1(x))
        return x + self.g * self.mlp(self.n2(x))


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.pe = nn.Conv2d(3, 16, 4, 4)
        self.cls = nn.Parameter(torch.zeros(1, 1, 16))
        self.pos = nn.Parameter(torch.empty(1, 17, 16))
        self.b = nn.ModuleList(Block(16) for _ in range(2))
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 5)
        nn.init.trunc_normal_(self.pos, std=0.02)
        self.apply(self._init)

    def _init(self, m):
        if isinstance(m, nn.Linear):
            nn.init.trunc_normal_(m.weight, std=0.02)
            nn.init.zeros_(m.bias) if m.bias is not None else None

    def forward(self, x):
        x = self.pe(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls.expand(x.shape[0], -1, -1), x), dim=1) + self.pos
        for b in self.b:
            x = b(x)
        return self.head(self.norm(x)[:, 0])


m = ViT()
x = torch.randn(6, 3, 16, 16)
y = torch.randint(5, (6,))
o = torch.optim.AdamW(m.parameters(), lr=1e-2, weight_decay=0.05, betas=(0.9, 0.95))
lam = lambda e: min((e + 1) / 3, 1)
s = torch.optim.lr_scheduler.LambdaLR(o, lam)
mix = torch.distributions.Beta(0.8, 0.8)
for i in range(6):
    l = mix.sample().item()
    p = torch.randperm(6)
    out = m(l * x + (1 - l) * x[p])
    loss = l * F.cross_entropy(out, y, label_smoothing=0.1) + (1 - l) * F.cross_entropy(out, y[p], label_smoothing=0.1)
    o.zero_grad()
    loss.backward()
    o.step()
    s.step()
    print(f"{loss.item():.4f} {s.get_last_lr()[0]:.5f}")
print(m)
q = torch.randn(2, 4, 7, 8)
print(
    F.scaled_dot_product_attention(q, q, q, is_causal=True).sum().item().__round__(3),
    F.scaled_dot_product_attention(q, q, q, attn_mask=torch.rand(7, 7) > 0.2).sum().item().__round__(3),
)
freqs = 1.0 / (10000 ** (torch.arange(0, 8, 2).float() / 8))
t = torch.outer(torch.arange(7), freqs)
c, sn = t.cos(), t.sin()
x1, x2 = q[..., ::2], q[..., 1::2]
r = torch.stack([x1 * c - x2 * sn, x1 * sn + x2 * c], -1).flatten(-2)
print(r.norm().item().__round__(3), q.norm().item().__round__(3))
print(torch.einsum("bhqd,bhkd->bhqk", q, q).shape)
