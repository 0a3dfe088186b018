"""The opening lines of many programs, and a training that follows them."""

import os
import random

import numpy as np
import torch
import torch.backends.cudnn as cudnn
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


def set_seed(seed: int = 42) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.cuda.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)
    cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
    os.environ["PYTHONHASHSEED"] = str(seed)


if torch.cuda.is_available():
    device = torch.device("cuda:0")
elif torch.backends.mps.is_available():
    device = torch.device("mps")
else:
    device = torch.device("cpu")
print(device, repr(device), device.type, torch.cuda.device_count())
set_seed()


class Waves(Dataset):
    def __init__(self, n, transform=None):
        self.t = np.linspace(0, 1, 16, dtype=np.float32)
        self.frequency = np.random.randint(1, 5, n)
        self.phase = np.random.rand(n)
        self.transform = transform

    def __len__(self):
        return len(self.frequency)

    def __getitem__(self, index):
        if torch.is_tensor(index):
            index = index.tolist()
        x = np.sin(2 * np.pi * (self.frequency[index] * self.t + self.phase[index])).astype(np.float32)
        if self.transform:
            x = self.transform(x)
        return x, self.frequency[index] - 1


class ToTensor:
    def __call__(self, x):
        return torch.from_numpy(x)


loader = DataLoader(Waves(192, transform=ToTensor()), batch_size=24, shuffle=True, pin_memory=False, num_workers=0)
model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, eps=1e-8)
criterion = nn.CrossEntropyLoss().to(device)
for epoch in range(8):
    total_loss, total_correct = 0.0, 0
    for batch, (X, y) in enumerate(loader):
        X, y = X.to(device, non_blocking=True), y.to(device)
        loss = criterion(model(X), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total_loss += loss.item()
        total_correct += (model(X).argmax(1) == y).type(torch.float).sum().item()
    if epoch % 2 == 1:
        print(f"Epoch {epoch + 1}/{8} loss: {total_loss / len(loader):>7f}"[:-4], X.device, y.dtype)
print(total_correct > 180, next(model.parameters()).device, next(model.parameters()).is_cuda)
