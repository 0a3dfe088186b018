import numpy as np
import torch
import torch.nn as nn

# random features with least squares, and networks of growing width on noisy labels
torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
d, n_train, n_test = 5, 20, 200
w_true = torch.randn(d)
x_train, x_test = torch.randn(n_train, d), torch.randn(n_test, d)
y_train = torch.tanh(x_train @ w_true) + 0.3 * torch.randn(n_train)
y_test = torch.tanh(x_test @ w_true)


def features(x, w, b):
    return torch.relu(x @ w + b)


print(" width   train    test")
for width in (5, 10, 15, 40, 100):
    g = torch.Generator()
    g.manual_seed(width)
    w, b = torch.randn(d, width, generator=g), torch.randn(width, generator=g)
    phi = features(x_train, w, b)
    gram = phi @ phi.T if width >= n_train else phi.T @ phi
    eye = 1e-6 * torch.eye(len(gram))
    if width >= n_train:
        beta = phi.T @ torch.linalg.solve(gram + eye, y_train)
    else:
        beta = torch.linalg.solve(gram + eye, phi.T @ y_train)
    train = (phi @ beta - y_train).pow(2).mean()
    test = (features(x_test, w, b) @ beta - y_test).pow(2).mean()
    print(f"{width:6d} {train:.5f} {test:.4f}")

for width in (4, 16, 64):
    torch.manual_seed(width)
    model = nn.Sequential(nn.Linear(d, width), nn.ReLU(), nn.Linear(width, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(60):
        order = np.arange(n_train)
        for start in range(0, n_train, 10):
            index = order[start : start + 10]
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x_train[index]).squeeze(-1), y_train[index])
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        train_mse = nn.functional.mse_loss(model(x_train)[:, 0], y_train)
        test_mse = nn.functional.mse_loss(model(x_test)[:, 0], y_test)
    print(width, np.round(train_mse.item(), 4), "%.4f" % test_mse)
