import collections
import random

import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    RandomSampler,
    Subset,
    WeightedRandomSampler,
)

random.seed(0)
torch.manual_seed(0)


class Bags(Dataset):
    """Bags of words of different lengths, with a class that is rare."""

    def __init__(self, n, vocabulary=30):
        self.items = []
        for i in range(n):
            label = int(random.random() < 0.15)
            words = [random.randrange(vocabulary // 2 * label, vocabulary) for _ in range(random.randint(2, 9))]
            self.items.append({"id": f"bag{i}", "words": words, "label": label, "weight": random.random()})

    def __len__(self):
        return len(self.items)

    def __getitem__(self, idx):
        return self.items[idx]


def pad_batch(batch):
    longest = max(len(b["words"]) for b in batch)
    words = torch.zeros(len(batch), longest, dtype=torch.long)
    mask = torch.zeros(len(batch), longest, dtype=torch.bool)
    for row, b in enumerate(batch):
        n = len(b["words"])
        words[row, :n] = torch.tensor(b["words"]) + 1
        mask[row, :n] = True
    return [b["id"] for b in batch], words, mask, torch.tensor([b["label"] for b in batch])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(31, 8, padding_idx=0)
        self.out = nn.Sequential(nn.Linear(8, 16), nn.ReLU(inplace=True), nn.Linear(16, 2))

    def forward(self, words, mask):
        e = self.emb(words)
        e = e.masked_fill(~mask.unsqueeze(-1), 0.0)
        return self.out(e.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1))


data = ConcatDataset([Bags(120), Bags(40)])
labels = torch.tensor([data[i]["label"] for i in range(len(data))])
counts = torch.bincount(labels, minlength=2)
print("counts", counts.tolist())
sample_weights = (1.0 / counts.float())[labels]
sampler = WeightedRandomSampler(sample_weights, num_samples=len(data), replacement=True)
loader = DataLoader(data, batch_size=20, sampler=sampler, collate_fn=pad_batch)
model = Net()
print(model)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
for epoch in range(6):
    seen, correct, total = collections.Counter(), 0, 0.0
    for ids, words, mask, label in loader:
        seen.update(label.tolist())
        logits = model(words, mask)
        loss = criterion(logits, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        correct += (logits.argmax(-1) == label).sum().item()
        total += loss.detach() * len(ids)
    print(f"epoch {epoch}: loss {total / len(data):.2f}, seen {dict(sorted(seen.items()))}")
print(ids[:4], words.shape, words.dtype)
draws = WeightedRandomSampler(
    [0.1, 0.9, 0.4, 0.7, 3.0, 0.6], 5, replacement=False, generator=torch.Generator().manual_seed(3)
)
print(list(draws), len(draws))
batches = BatchSampler(RandomSampler(Subset(data, range(5, 15))), batch_size=4, drop_last=False)
print([b for b in batches], len(batches))
batch = next(iter(DataLoader(Subset(data, [3, 4, 5]), batch_size=3, collate_fn=lambda b: b)))
print([b["id"] for b in batch])
