import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

torch.manual_seed(1234)
X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=1234, stratify=y)
scaler = StandardScaler().fit(X_train)
X_train = torch.tensor(scaler.transform(X_train), dtype=torch.float32)
X_test = torch.tensor(scaler.transform(X_test), dtype=torch.float32)
y_train, y_test = torch.as_tensor(y_train), torch.as_tensor(y_test)

counts = torch.bincount(y_train)
weights = counts.sum() / (2.0 * counts)
print("weights:", weights)


class Classifier(nn.Module):
    def __init__(self, n_features, hidden=(64, 32), p=0.2):
        super(Classifier, self).__init__()
        layers, width = [], n_features
        for h in hidden:
            layers += [nn.Linear(width, h), nn.BatchNorm1d(h), nn.LeakyReLU(0.1), nn.Dropout(p)]
            width = h
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, 2)
        self.reset_parameters()

    def reset_parameters(self):
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.kaiming_normal_(m.weight, a=0.1, mode="fan_in", nonlinearity="leaky_relu")
                nn.init.zeros_(m.bias)

    def forward(self, x):
        return self.head(self.body(x))


model = Classifier(X_train.shape[1])
print(model)
criterion = nn.CrossEntropyLoss(weight=weights, label_smoothing=0.1)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=60)
batch = 64
for epoch in range(8):
    model.train()
    permutation = torch.randperm(X_train.size(0))
    losses = []
    for i in range(0, X_train.size(0), batch):
        if len(losses) + 7 * epoch >= 60:
            break
        indices = permutation[i : i + batch]
        optimizer.zero_grad()
        loss = criterion(model(X_train[indices]), y_train[indices])
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        probabilities = torch.softmax(model(X_test), dim=1)
        accuracy = (probabilities.argmax(dim=1) == y_test).float().mean()
    print(
        f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.2f} accuracy {accuracy:.2f} lr {scheduler.get_last_lr()[0]:.2e}"
    )
predicted = probabilities.max(1)[1]
print(confusion_matrix(y_test.numpy(), predicted.numpy()).sum(), (predicted == y_test).sum() > 130)
