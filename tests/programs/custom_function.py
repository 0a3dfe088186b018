"""Functions with a backward of their own: a straight-through sign, a clipped gradient, a fused loss."""

import torch
from torch import nn
from torch.autograd import Function, gradcheck


class SignSTE(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return grad_output * (x.abs() <= 1).to(grad_output.dtype)


class ClipGrad(Function):
    @staticmethod
    def forward(ctx, x, limit):
        ctx.limit = limit
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return g.clamp(-ctx.limit, ctx.limit), None


class LinearReLU(Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        z = x.mm(weight.t()) + bias
        ctx.save_for_backward(x, weight, z > 0)
        return z.clamp(min=0)

    @staticmethod
    def backward(ctx, g):
        x, weight, mask = ctx.saved_tensors
        g = g * mask
        gx = gw = gb = None
        if ctx.needs_input_grad[0]:
            gx = g.mm(weight)
        if ctx.needs_input_grad[1]:
            gw = g.t().mm(x)
        if ctx.needs_input_grad[2]:
            gb = g.sum(0)
        return gx, gw, gb


torch.manual_seed(0)
x = torch.randn(4, 3, dtype=torch.double, requires_grad=True)
w = torch.randn(5, 3, dtype=torch.double, requires_grad=True)
b = torch.randn(5, dtype=torch.double, requires_grad=True)
print(gradcheck(LinearReLU.apply, (x, w, b), eps=1e-6, atol=1e-4))
y = LinearReLU.apply(x, w, b)
print(y.grad_fn.name(), y.requires_grad)
print(type(y.grad_fn).__name__)


class Binary(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(2, 32)
        self.fc2 = nn.Linear(32, 1)

    def forward(self, x):
        h = SignSTE.apply(self.fc1(x))
        return ClipGrad.apply(self.fc2(h), 0.01).squeeze(1)


net = Binary()
points = torch.rand(200, 2) * 2 - 1
label = ((points[:, 0] * points[:, 1]) > 0).float()
optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
loss_fn = nn.BCEWithLogitsLoss()
for epoch in range(61):
    optimizer.zero_grad()
    out = net(points)
    loss = loss_fn(out, label)
    loss.backward()
    optimizer.step()
    if epoch % 20 == 0:
        print(epoch, f"{loss.item():.2f}", net.fc1.weight.grad.abs().max() < 1)
