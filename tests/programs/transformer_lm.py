"""The word-model tutorial: TransformerEncoder, a causal mask, a high learning rate, clipping."""

import math
import torch
from torch import nn, Tensor
import torch.nn.functional as F
from torch.nn import TransformerEncoder, TransformerEncoderLayer

torch.manual_seed(0)


class PositionalEncoding(nn.Module):
    def __init__(self, d_model: int, dropout: float = 0.1, max_len: int = 500):
        super().__init__()
        self.dropout = nn.Dropout(p=dropout)
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, 1, d_model)
        pe[:, 0, 0::2] = torch.sin(position * div_term)
        pe[:, 0, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(x + self.pe[: x.size(0)])


class TransformerModel(nn.Module):
    def __init__(self, ntoken, d_model, nhead, d_hid, nlayers, dropout=0.5):
        super().__init__()
        self.model_type = "Transformer"
        self.pos_encoder = PositionalEncoding(d_model, dropout)
        self.transformer_encoder = TransformerEncoder(TransformerEncoderLayer(d_model, nhead, d_hid, dropout), nlayers)
        self.embedding = nn.Embedding(ntoken, d_model)
        self.d_model = d_model
        self.linear = nn.Linear(d_model, ntoken)
        self.init_weights()

    def init_weights(self) -> None:
        self.embedding.weight.data.uniform_(-0.1, 0.1)
        self.linear.bias.data.zero_()
        self.linear.weight.data.uniform_(-0.1, 0.1)

    def forward(self, src: Tensor, src_mask: Tensor = None) -> Tensor:
        src = self.pos_encoder(self.embedding(src) * math.sqrt(self.d_model))
        if src_mask is None:
            src_mask = nn.Transformer.generate_square_subsequent_mask(len(src))
        return self.linear(self.transformer_encoder(src, src_mask))


model = TransformerModel(20, 16, 2, 32, 2, 0.2)
print(model)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=5.0)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1.0, gamma=0.95)
data = torch.randint(0, 20, (30, 4))
for e in range(3):
    for i in range(0, 25, 8):
        s = data[i : i + 8]
        t = data[i + 1 : i + 1 + 8].reshape(-1)
        s = s[: t.numel() // 4]
        out = model(s)
        loss = criterion(out.view(-1, 20), t)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    scheduler.step()
    print(
        f"| epoch {e:3d} | lr {scheduler.get_last_lr()[0]:02.2f} | loss {loss.item():5.2f} | ppl {math.exp(loss.item()):8.1f}"
    )
mha = nn.MultiheadAttention(16, 4, batch_first=True)
q = torch.randn(2, 5, 16)
o, w = mha(q, q, q, key_padding_mask=torch.tensor([[0, 0, 0, 0, 1], [0, 0, 0, 1, 1]]).bool())
print(o.shape, w[0], w.sum(-1))
print(nn.Transformer.generate_square_subsequent_mask(4))
tr = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
print(tr(q, q).shape)
