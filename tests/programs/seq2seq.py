"""The translation tutorial: an encoder, attention, a decoder with teacher forcing."""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(3)
SOS, EOS = 0, 1


class EncoderRNN(nn.Module):
    def __init__(self, n, h, dropout_p=0.1):
        super().__init__()
        self.embedding = nn.Embedding(n, h)
        self.gru = nn.GRU(h, h, batch_first=True)
        self.dropout = nn.Dropout(dropout_p)

    def forward(self, x):
        return self.gru(self.dropout(self.embedding(x)))


class BahdanauAttention(nn.Module):
    def __init__(self, h):
        super().__init__()
        self.Wa = nn.Linear(h, h)
        self.Ua = nn.Linear(h, h)
        self.Va = nn.Linear(h, 1)

    def forward(self, query, keys):
        scores = self.Va(torch.tanh(self.Wa(query) + self.Ua(keys))).squeeze(2).unsqueeze(1)
        weights = F.softmax(scores, dim=-1)
        return torch.bmm(weights, keys), weights


class Dec(nn.Module):
    def __init__(self, h, n):
        super().__init__()
        self.embedding = nn.Embedding(n, h)
        self.attention = BahdanauAttention(h)
        self.gru = nn.GRU(2 * h, h, batch_first=True)
        self.out = nn.Linear(h, n)
        self.dropout = nn.Dropout(0.1)

    def forward(self, eo, eh, target=None):
        b = eo.size(0)
        di = torch.empty(b, 1, dtype=torch.long).fill_(SOS)
        dh = eh
        outs = []
        atts = []
        for i in range(5):
            e = self.dropout(self.embedding(di))
            q = dh.permute(1, 0, 2)
            ctx, w = self.attention(q, eo)
            o, dh = self.gru(torch.cat((e, ctx), dim=2), dh)
            o = self.out(o)
            outs.append(o)
            atts.append(w)
            if target is not None:
                di = target[:, i].unsqueeze(1)
            else:
                _, topi = o.topk(1)
                di = topi.squeeze(-1).detach()
        return F.log_softmax(torch.cat(outs, dim=1), dim=-1), dh, torch.cat(atts, dim=1)


enc, dec = EncoderRNN(12, 16), Dec(16, 12)
x = torch.randint(2, 12, (8, 5))
y = x.flip(1)
eo = torch.optim.Adam(enc.parameters(), lr=0.01)
do = torch.optim.Adam(dec.parameters(), lr=0.01)
crit = nn.NLLLoss()
for e in range(15):
    eo.zero_grad()
    do.zero_grad()
    o, h = enc(x)
    d, _, _ = dec(o, h, y)
    l = crit(d.view(-1, d.size(-1)), y.view(-1))
    l.backward()
    eo.step()
    do.step()
    if e % 5 == 0:
        print(f"{e} {l.item():.4f}")
enc.eval()
dec.eval()
with torch.no_grad():
    d, _, a = dec(*enc(x))
    print(d.topk(1)[1].squeeze()[0], a[0].argmax(-1))
