"""The word tutorials: n-grams, bags, tags, an adaptive softmax, sampling."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset
from collections import Counter

torch.manual_seed(1)
text = "when forty winters shall besiege thy brow and dig deep trenches in thy beauty s field thy youth s proud livery so gazed on now will be a totter d weed of small worth held".split()
ng = [([text[i - j - 1] for j in range(2)], text[i]) for i in range(2, len(text))]
vocab = sorted(set(text))
w2i = {w: i for i, w in enumerate(vocab)}


class NGram(nn.Module):
    def __init__(self, v, d, c):
        super().__init__()
        self.embeddings = nn.Embedding(v, d)
        self.linear1 = nn.Linear(c * d, 32)
        self.linear2 = nn.Linear(32, v)

    def forward(self, i):
        e = self.embeddings(i).view((1, -1))
        return F.log_softmax(self.linear2(F.relu(self.linear1(e))), dim=1)


m = NGram(len(vocab), 10, 2)
lf = nn.NLLLoss()
o = torch.optim.SGD(m.parameters(), lr=0.01)
losses = []
for ep in range(3):
    tl = 0
    for c, t in ng:
        ci = torch.tensor([w2i[w] for w in c], dtype=torch.long)
        m.zero_grad()
        l = lf(m(ci), torch.tensor([w2i[t]], dtype=torch.long))
        l.backward()
        o.step()
        tl += l.item()
    losses.append(round(tl, 3))
print(losses, m.embeddings.weight[w2i["beauty"]][:4])


class TextClass(nn.Module):
    def __init__(self, v, d, n):
        super().__init__()
        self.embedding = nn.EmbeddingBag(v, d, sparse=False)
        self.fc = nn.Linear(d, n)
        self.init_weights()

    def init_weights(self):
        r = 0.5
        self.embedding.weight.data.uniform_(-r, r)
        self.fc.weight.data.uniform_(-r, r)
        self.fc.bias.data.zero_()

    def forward(self, t, off):
        return self.fc(self.embedding(t, off))


def collate(b):
    ll, tl, off = [], [], [0]
    for lab, txt in b:
        ll.append(lab)
        p = torch.tensor(txt, dtype=torch.int64)
        tl.append(p)
        off.append(p.size(0))
    return torch.tensor(ll, dtype=torch.int64), torch.cat(tl), torch.tensor(off[:-1]).cumsum(dim=0)


ds = [(i % 3, torch.randint(0, 20, (3 + i % 5,)).tolist()) for i in range(24)]
dl = DataLoader(ds, batch_size=8, shuffle=True, collate_fn=collate)
m = TextClass(20, 8, 3)
o = torch.optim.SGD(m.parameters(), lr=5.0)
s = torch.optim.lr_scheduler.StepLR(o, 1.0, gamma=0.1)
for ep in range(3):
    for lab, t, off in dl:
        o.zero_grad()
        l = F.cross_entropy(m(t, off), lab)
        l.backward()
        nn.utils.clip_grad_norm_(m.parameters(), 0.1)
        o.step()
    s.step()
    print(f"{l.item():.4f} {s.get_last_lr()[0]:.4f}")


class LSTMTagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.Embedding(9, 6)
        self.lstm = nn.LSTM(6, 6)
        self.h = nn.Linear(6, 3)

    def forward(self, s):
        o, _ = self.lstm(self.e(s).view(len(s), 1, -1))
        return F.log_softmax(self.h(o.view(len(s), -1)), dim=1)


m = LSTMTagger()
o = torch.optim.SGD(m.parameters(), lr=0.1)
D = [([0, 1, 2, 0, 3], [0, 1, 2, 0, 1]), ([4, 5, 6, 7], [1, 2, 0, 1])]
for ep in range(30):
    for s, t in D:
        m.zero_grad()
        l = nn.NLLLoss()(m(torch.tensor(s)), torch.tensor(t))
        l.backward()
        o.step()
with torch.no_grad():
    print(m(torch.tensor(D[0][0])).round(decimals=3))


def lse(v):
    mx = v[0, v.argmax()]
    return mx + torch.log(torch.sum(torch.exp(v - mx.view(1, -1).expand(1, v.size()[1]))))


print(lse(torch.tensor([[1.0, 2.0, 3.0]])))
cell = nn.LSTMCell(3, 4)
h = torch.zeros(2, 4), torch.zeros(2, 4)
for _ in range(3):
    h = cell(torch.randn(2, 3), h)
print(h[0].detach())
a = nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 10])
print(a(torch.randn(4, 8), torch.tensor([1, 6, 12, 19])).loss.detach())
print(
    torch.multinomial(torch.tensor([0.1, 0.2, 0.7]), 5, replacement=True), F.softmax(torch.tensor([1.0, 2.0]) / 0.7, -1)
)
# beam-like top-k / nucleus
lg = torch.randn(1, 12)
v, _ = torch.topk(lg, 4)
lg2 = lg.clone()
lg2[lg2 < v[:, [-1]]] = -float("Inf")
print(F.softmax(lg2, -1).count_nonzero())
sp, si = torch.sort(lg, descending=True)
cp = sp.softmax(-1).cumsum(-1)
rm = cp > 0.8
rm[..., 1:] = rm[..., :-1].clone()
rm[..., 0] = 0
print(rm.scatter(1, si, rm).sum())
