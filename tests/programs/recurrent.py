"""Recurrent layers: a sine predicted by an LSTM, packed sequences in a bidirectional GRU, cells in a loop."""

import math

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence, pad_sequence, unpack_sequence

torch.manual_seed(0)


class Forecaster(nn.Module):
    def __init__(self, hidden=12):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, num_layers=2, batch_first=True, dropout=0.1)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x, state=None):
        y, state = self.lstm(x, state)
        return self.out(y[:, -1, :]), state


wave = torch.sin(torch.arange(0, 60) * 2 * math.pi / 20)
x = torch.stack([wave[i : i + 10] for i in range(40)]).unsqueeze(-1)
t = torch.stack([wave[i + 10] for i in range(40)]).unsqueeze(-1)
model = Forecaster()
print(model, [n for n, _ in model.named_parameters()])
opt = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(12):
    loss = nn.functional.mse_loss(model(x)[0], t)
    opt.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    opt.step()
    if epoch % 4 == 3:
        print(f"{epoch} {loss.item():.4f}")
model.eval()
state, at = None, x[:1, :1]
with torch.no_grad():
    for _ in range(3):
        y, state = model(at, state)
        at = y.unsqueeze(1)
    print([tuple(s.shape) for s in state], f"{y.item():.3f}")

words = [torch.tensor([1, 2, 3, 4]), torch.tensor([5, 6]), torch.tensor([7, 8, 9])]
lengths = torch.tensor([len(w) for w in words])
embedding = nn.Embedding(10, 5, padding_idx=0)
gru = nn.GRU(5, 4, bidirectional=True, batch_first=True)
packed = pack_padded_sequence(
    embedding(pad_sequence(words, batch_first=True)), lengths, batch_first=True, enforce_sorted=False
)
out, h = gru(packed)
padded, n = pad_packed_sequence(out, batch_first=True)
print(packed.batch_sizes, packed.sorted_indices, n, padded.shape, h.shape)
print(f"{padded.sum():.4f} {h.sum():.4f}")
padded.sum().backward()
print([f"{p.grad.norm():.3f}" for p in gru.parameters()], f"{embedding.weight.grad.norm():.3f}")
print(pack_sequence([torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0])]))
print(unpack_sequence(pack_sequence([torch.tensor([1, 2]), torch.tensor([4, 5, 6])], enforce_sorted=False)))

for kind in (nn.RNNCell, nn.GRUCell, nn.LSTMCell):
    cell, state = kind(2, 3), None
    for step in torch.randn(4, 5, 2):
        state = cell(step, state)
    print(cell, state)
rnn = nn.RNN(2, 3, nonlinearity="relu", bias=False)
y, h = rnn(torch.randn(6, 2))
print(rnn, y.shape, h.shape, f"{y.sum():.4f}")
projected = nn.LSTM(3, 4, proj_size=2)
print([tuple(p.shape) for p in projected.parameters()])
for bad in (
    lambda: nn.LSTM(3, 4)(torch.randn(2, 2, 5)),
    lambda: nn.GRU(3, 4)(torch.randn(2, 2, 3), torch.zeros(1, 3, 4)),
    lambda: nn.RNN(3, 4, nonlinearity="elu"),
    lambda: nn.LSTM(3, 0),
    lambda: pack_padded_sequence(torch.randn(5, 2, 3), [3, 5]),
    lambda: pack_padded_sequence(torch.randn(5, 2, 3), [3, 0]),
):
    try:
        bad()
    except ValueError:
        print("ValueError")
    except RuntimeError:
        print("RuntimeError")
