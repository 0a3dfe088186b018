"""Data sets, samplers and collate functions of many kinds."""

import torch
import numpy as np
import random
from torch.utils.data import (
    Dataset,
    DataLoader,
    TensorDataset,
    random_split,
    Subset,
    ConcatDataset,
    WeightedRandomSampler,
    SubsetRandomSampler,
    SequentialSampler,
    RandomSampler,
    BatchSampler,
    IterableDataset,
    Sampler,
    default_collate,
    get_worker_info,
    StackDataset,
    ChainDataset,
)
from torch.utils.data.dataloader import default_collate as dc2
from torch.utils.data.sampler import Sampler as S2
from torch.nn.utils.rnn import pad_sequence
from collections import namedtuple

torch.manual_seed(7)


class DS(Dataset):
    def __init__(self, n):
        self.x = np.arange(n * 2, dtype=np.float32).reshape(n, 2)
        self.y = np.arange(n) % 3

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"x": self.x[i], "y": self.y[i], "name": f"s{i}", "t": (i, float(i))}


for b in DataLoader(DS(5), batch_size=2, shuffle=True):
    print(b)
tr, va, te = random_split(DS(10), [7, 2, 1], generator=torch.Generator().manual_seed(42))
print(tr.indices, va.indices, te.indices, len(tr), type(tr).__name__)
print([s.indices for s in random_split(range(10), [0.5, 0.3, 0.2])])
print(
    list(SubsetRandomSampler([3, 1, 2])),
    list(WeightedRandomSampler([0.1, 0.9, 0.0], 6)),
    list(RandomSampler(range(5), replacement=True, num_samples=7)),
    list(BatchSampler(SequentialSampler(range(7)), 3, True)),
    list(RandomSampler(range(6), num_samples=3)),
)


class MyS(Sampler):
    def __init__(self, d):
        self.d = d

    def __iter__(self):
        return iter(reversed(range(len(self.d))))

    def __len__(self):
        return len(self.d)


print([b.tolist() for b in DataLoader(torch.arange(5), batch_size=2, sampler=MyS(range(5)), drop_last=True)])


class It(IterableDataset):
    def __iter__(self):
        wi = torch.utils.data.get_worker_info()
        print(wi)
        for i in range(5):
            yield i, torch.ones(2) * i


for b in DataLoader(It(), batch_size=2):
    print(b)


def collate(batch):
    xs = [torch.ones(i + 1) for i in batch]
    return pad_sequence(xs, batch_first=True, padding_value=-1), torch.tensor([len(x) for x in xs])


for p, l in DataLoader(range(5), batch_size=3, collate_fn=collate):
    print(p, l)
P = namedtuple("P", "a b")
print(
    default_collate([P(1, 2.0), P(3, 4.0)]),
    default_collate([1, 2]),
    default_collate(["a", "b"]),
    default_collate([np.float64(1), np.float64(2)]),
    default_collate([(1, [2]), (3, [4])]),
)
dl = DataLoader(
    TensorDataset(torch.randn(10, 2), torch.arange(10)),
    batch_size=4,
    shuffle=True,
    num_workers=0,
    pin_memory=True,
    drop_last=False,
    generator=torch.Generator().manual_seed(0),
    worker_init_fn=None,
    persistent_workers=False,
)
print(
    len(dl),
    dl.batch_size,
    len(dl.dataset),
    dl.dataset[0],
    [b[1].tolist() for b in dl],
    [b[1].tolist() for b in dl],
    next(iter(dl))[1],
)
print(type(dl.sampler).__name__, dl.dataset.tensors[1].shape)
full = ConcatDataset([DS(3), DS(2)])
print(
    len(full),
    full[4]["name"],
    full.cumulative_sizes,
    (DS(2) + DS(3)).__class__.__name__,
    Subset(full, [0, 4])[1]["name"],
)


def seed_worker(worker_id):
    ws = torch.initial_seed() % 2**32
    np.random.seed(ws)
    random.seed(ws)


g = torch.Generator()
g.manual_seed(0)
print(
    [
        b.tolist()
        for b in DataLoader(torch.arange(6), batch_size=2, shuffle=True, worker_init_fn=seed_worker, generator=g)
    ],
    torch.initial_seed(),
)
for i, (a, b) in enumerate(zip(*[iter(DataLoader(torch.arange(4), batch_size=1))] * 2)):
    print(i, a, b)
it = iter(DataLoader(torch.arange(3)))
while True:
    try:
        print(next(it))
    except StopIteration:
        break
print(
    pad_sequence([torch.ones(2, 3), torch.ones(1, 3)]).shape,
    torch.utils.data.dataloader.DataLoader is DataLoader,
    StackDataset(torch.arange(2), torch.arange(2))[1],
)
