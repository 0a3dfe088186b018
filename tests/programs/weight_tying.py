import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(7)


class TiedAutoencoder(nn.Module):
    """The decoder is the encoder transposed; two heads share one module, and one matrix is a plain alias."""

    def __init__(self, sizes):
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.empty(o, i)) for i, o in zip(sizes, sizes[1:])])
        self.enc_bias = nn.ParameterList([nn.Parameter(torch.zeros(o)) for o in sizes[1:]])
        self.dec_bias = nn.ParameterList([nn.Parameter(torch.zeros(i)) for i in sizes[:-1]])
        for w in self.weights:
            nn.init.xavier_uniform_(w, gain=nn.init.calculate_gain("tanh"))
        self.act = nn.ModuleDict({"enc": nn.Tanh(), "dec": nn.Tanh()})

    def forward(self, x):
        for w, b in zip(self.weights, self.enc_bias):
            x = self.act["enc"](F.linear(x, w, b))
        code = x
        for k, (w, b) in enumerate(zip(reversed(list(self.weights)), reversed(list(self.dec_bias)))):
            x = F.linear(x, w.t(), b)
            if k < len(self.weights) - 1:
                x = self.act["dec"](x)
        return x, code


class Model(nn.Module):
    def __init__(self, vocabulary=12, width=6):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.mix = nn.Linear(width, width)
        self.decode = nn.Linear(width, vocabulary, bias=False)
        self.decode.weight = self.embed.weight

    def forward(self, ids):
        return self.decode(torch.tanh(self.mix(self.embed(ids))))


ae = TiedAutoencoder([8, 6, 3])
print(ae)
for name, p in ae.named_parameters():
    print(name, tuple(p.shape), p.is_leaf, p.grad)
x = torch.randn(64, 3) @ torch.randn(3, 8)
opt = torch.optim.Adam(ae.parameters(), lr=0.01)
for step in range(151):
    reconstruction, code = ae(x)
    loss = F.mse_loss(reconstruction, x) + 1e-3 * code.abs().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 50 == 0:
        print(step, f"{loss.item():.2f}")

m = Model()
print(len(list(m.parameters())), [n for n, _ in m.named_parameters()], list(m.state_dict()))
print([n for n, _ in m.named_parameters(remove_duplicate=False)])
ids = torch.arange(12)
target = (ids + 1) % 12
opt = torch.optim.SGD(m.parameters(), lr=0.5, momentum=0.9, nesterov=True)
for step in range(101):
    loss = F.cross_entropy(m(ids), target)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 25 == 0:
        print(step, f"{loss.item():.2f}", m.decode.weight is m.embed.weight)
clone = Model()
clone.load_state_dict(m.state_dict())
print(torch.equal(clone(ids), m(ids)), clone.embed.weight.data_ptr() == clone.decode.weight.data_ptr())
