import math

import torch

# polynomial regression three ways: by hand, with autograd, with a custom function
torch.manual_seed(42)
x = torch.linspace(-math.pi, math.pi, 200)
y = torch.sin(x)
a, b, c, d = (torch.randn((), requires_grad=True) for _ in range(4))
for t in range(300):
    y_pred = a + b * x + c * x**2 + d * x**3
    loss = (y_pred - y).pow(2).sum()
    if t % 100 == 99:
        print(t, "%.3f" % loss.item())
    loss.backward()
    with torch.no_grad():
        for p in (a, b, c, d):
            p -= 1e-5 * p.grad
            p.grad = None


class LegendrePolynomial3(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input):
        ctx.save_for_backward(input)
        return 0.5 * (5 * input**3 - 3 * input)

    @staticmethod
    def backward(ctx, grad_output):
        (input,) = ctx.saved_tensors
        return grad_output * 1.5 * (5 * input**2 - 1)


w = [torch.full((), v, requires_grad=True) for v in (0.0, -1.0, 0.0, 0.3)]
P3 = LegendrePolynomial3.apply
for t in range(200):
    y_pred = w[0] + w[1] * P3(w[2] + w[3] * x)
    loss = (y_pred - y).pow(2).sum()
    loss.backward()
    with torch.no_grad():
        for p in w:
            p -= 5e-6 * p.grad
            p.grad.zero_()
print("Result: y = %.2f * P3(%.2f x)" % (w[1].item(), w[3].item()))
print(y_pred[:3].detach(), loss.grad_fn.name())
