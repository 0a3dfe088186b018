"""A training script that would use a GPU: autocast, GradScaler, one-cycle rates, checkpoints."""

import os
import sys
import random
import time
import tempfile
import logging
from typing import Optional, List, Tuple, Dict, Union, Callable
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torch.backends.cudnn as cudnn
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torch.optim import Optimizer
from torch.optim.lr_scheduler import _LRScheduler, LRScheduler
from torch.cuda.amp import autocast, GradScaler


def seed_everything(seed: int = 0):
    random.seed(seed)
    os.environ["PYTHONHASHSEED"] = str(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(1)


def train(
    model: nn.Module,
    loader: DataLoader,
    opt: Optimizer,
    sched: Optional[LRScheduler],
    device: torch.device,
    use_amp: bool,
    scaler,
) -> float:
    model.train()
    tot = 0.0
    for x, y in loader:
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        opt.zero_grad(set_to_none=True)
        with torch.autocast(device_type=device.type, enabled=use_amp):
            loss = F.cross_entropy(model(x), y, label_smoothing=0.1)
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        scaler.step(opt)
        scaler.update()
        if sched is not None:
            sched.step()
        tot += loss.item() * x.size(0)
    return tot / len(loader.dataset)


@torch.inference_mode()
def evaluate(model, loader, device):
    model.eval()
    correct = 0
    for x, y in loader:
        correct += model(x.to(device)).argmax(dim=1, keepdim=True).eq(y.view(-1, 1)).sum().item()
    return correct / len(loader.dataset)


def main():
    PATH = os.path.join(tempfile.mkdtemp(), "best.pt")
    seed_everything(42)
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    print(f"Using {device} device")
    print(torch.cuda.is_available(), torch.cuda.device_count(), torch.version.cuda, torch.get_num_threads())
    X = torch.randn(96, 8)
    Y = (X[:, 0] + X[:, 1] > 0).long() + (X[:, 2] > 1).long()
    loader = DataLoader(
        TensorDataset(X, Y), batch_size=32, shuffle=True, pin_memory=torch.cuda.is_available(), num_workers=0
    )
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(8, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3)
    ).to(device)
    if torch.cuda.device_count() > 1:
        model = nn.DataParallel(model)
    opt = optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-2)
    sched = optim.lr_scheduler.OneCycleLR(opt, max_lr=1e-2, steps_per_epoch=len(loader), epochs=4)
    scaler = torch.amp.GradScaler("cuda", enabled=torch.cuda.is_available())
    scaler2 = GradScaler(enabled=False)
    best = 0
    for epoch in range(4):
        l = train(model, loader, opt, sched, device, False, scaler)
        a = evaluate(model, loader, device)
        print(f"Epoch [{epoch + 1}/4] loss: {l:.4f} acc: {a:.2%} lr: {opt.param_groups[0]['lr']:.2e}")
        if a > best:
            best = a
            torch.save(
                {
                    "epoch": epoch,
                    "model_state_dict": model.state_dict(),
                    "optimizer_state_dict": opt.state_dict(),
                    "scheduler": sched.state_dict(),
                    "loss": l,
                    "scaler": scaler.state_dict(),
                },
                PATH,
            )
    ck = torch.load(PATH, map_location=device)
    model.load_state_dict(ck["model_state_dict"])
    opt.load_state_dict(ck["optimizer_state_dict"])
    print(sorted(ck), ck["epoch"], ck["scaler"])
    torch.cuda.empty_cache()
    total = sum(p.numel() for p in model.parameters())
    print(f"{total:,} params", scaler.is_enabled(), scaler.get_scale())
    print(torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated())
    with autocast(enabled=False):
        print(model(X[:1]).shape)


if __name__ == "__main__":
    main()
