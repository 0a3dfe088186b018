import warnings

import numpy as np
import torch
from sklearn.datasets import load_iris, load_wine
from sklearn.model_selection import KFold, StratifiedKFold
from torch import nn
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset

torch.manual_seed(0)


def reset_weights(m):
    for layer in m.children():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()


class MLP(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(n_in, 24), nn.GELU(), nn.LayerNorm(24), nn.Linear(24, n_out)
        )

    def forward(self, x):
        return self.layers(x)


for load, folds in (
    (load_iris, KFold(3, shuffle=True, random_state=1)),
    (load_wine, StratifiedKFold(3, shuffle=True, random_state=1)),
):
    X, y = load(return_X_y=True)
    X = ((X - X.mean(0)) / X.std(0)).astype(np.float32)
    dataset = TensorDataset(torch.from_numpy(X), torch.from_numpy(y).long())
    results = {}
    network = MLP(X.shape[1], 3)
    for fold, (train_ids, test_ids) in enumerate(folds.split(X, y)):
        trainloader = DataLoader(dataset, batch_size=10, sampler=SubsetRandomSampler(train_ids))
        testloader = DataLoader(dataset, batch_size=10, sampler=SubsetRandomSampler(test_ids))
        network.layers.apply(reset_weights)
        reset_weights(network.layers)
        optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8)
        for epoch in range(8):
            network.train()
            current_loss = 0.0
            for i, data in enumerate(trainloader, 0):
                inputs, targets = data
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(network(inputs), targets)
                loss.backward()
                optimizer.step()
                current_loss += loss.item()
            scheduler.step()
        network.eval()
        correct, total = 0, 0
        with torch.no_grad():
            for inputs, targets in testloader:
                _, predicted = torch.max(network(inputs).data, 1)
                total += targets.size(0)
                correct += (predicted == targets).sum().item()
        results[fold] = 100.0 * correct / total
        print(f"fold {fold}: loss {current_loss / len(trainloader):.2f}, {results[fold]:.0f} % of {total}")
    print(f"{load.__name__}: {np.mean(list(results.values())):.1f} %")
