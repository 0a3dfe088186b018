import torch
from torch import nn

torch.manual_seed(8)
backbone = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
head = nn.Linear(8, 2)
for p in backbone.parameters():
    p.requires_grad = False
model = nn.Sequential()
model.add_module("backbone", backbone)
model.add_module("head", head)
trainable = list(filter(lambda p: p.requires_grad, model.parameters()))
print(len(trainable), sum(p.numel() for p in model.parameters()), sum(p.numel() for p in trainable))
before = {k: v.clone() for k, v in model.state_dict().items()}
opt = torch.optim.Adadelta(trainable)
features = []
handle = model.backbone.register_forward_hook(lambda m, i, o: features.append(o.detach()))
x, y = torch.randn(30, 4), torch.randint(2, (30,))
for epoch in range(5):
    opt.zero_grad()
    out = model(x)
    loss = nn.functional.cross_entropy(out, y)
    loss.backward()
    opt.step()
    print(epoch, f"{loss:.3f}", [p.grad is None for p in model.parameters()])
handle.remove()
model(x)
print(len(features), all(torch.equal(features[0], f) for f in features))
for name, value in model.state_dict().items():
    print(name, "kept" if torch.equal(value, before[name]) else "changed")
# thawing: one more group
for p in backbone[2].parameters():
    p.requires_grad_(True)
opt.add_param_group({"params": backbone[2].parameters(), "lr": 0.1})
for epoch in range(5):
    opt.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    opt.step()
print(f"{loss:.3f}", len(opt.param_groups), opt)
scaled = []
h = backbone[2].weight.register_hook(lambda g: g * 0)
model.zero_grad()
nn.functional.cross_entropy(model(x), y).backward()
print(backbone[2].weight.grad.abs().sum(), model.head.bias.grad.shape)
missing = model.load_state_dict({"head.weight": torch.zeros(2, 8), "extra": torch.zeros(1)}, strict=False)
print(missing)
print(model)
try:
    model.load_state_dict({"head.weight": torch.zeros(3, 8)})
except RuntimeError as e:
    print(str(e))
