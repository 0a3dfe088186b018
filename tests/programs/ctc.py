"""Sequences read from frames by a recurrent network with CTC."""

import torch
import torch.nn as nn

torch.manual_seed(1)


class CRNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv1d(6, 12, 3, padding=1)
        self.r = nn.LSTM(12, 10, bidirectional=True)
        self.f = nn.Linear(20, 7)

    def forward(self, x):
        x = torch.relu(self.c(x)).permute(2, 0, 1)
        return self.f(self.r(x)[0]).log_softmax(2)


m = CRNN()
x = torch.randn(5, 6, 18)
tg = torch.randint(1, 7, (5, 6))
il = torch.full((5,), 18, dtype=torch.long)
tl = torch.tensor([6, 4, 3, 5, 2])
ctc = nn.CTCLoss(blank=0, zero_infinity=True)
opt = torch.optim.Adam(m.parameters(), lr=0.02)
for i in range(25):
    l = ctc(m(x), tg, il, tl)
    opt.zero_grad()
    l.backward()
    opt.step()
    if i % 6 == 0:
        print(f"{i} {l.item():.4f}")
best = m(x).argmax(2).T
for b in best:
    print(torch.unique_consecutive(b)[torch.unique_consecutive(b) != 0].tolist())
print(ctc)
print(nn.CTCLoss(reduction="none")(m(x), torch.cat([t[:n] for t, n in zip(tg, tl)]), il, tl).detach())
