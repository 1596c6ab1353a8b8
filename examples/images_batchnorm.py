"""Images: a convolutional network with BatchNorm, mixed behind its first block."""

import statistics

import torch
from sklearn.datasets import load_digits

import ampmix


def network():
    return torch.nn.Sequential(
        torch.nn.Sequential(torch.nn.Conv2d(1, 16, 3), torch.nn.BatchNorm2d(16), torch.nn.ReLU()),
        torch.nn.Sequential(torch.nn.Conv2d(16, 32, 3), torch.nn.BatchNorm2d(32), torch.nn.ReLU()),
        torch.nn.Sequential(torch.nn.AdaptiveMaxPool2d(2), torch.nn.Flatten()),
        torch.nn.Linear(128, 10),
    )


digits = load_digits()
x, y = torch.tensor(digits.images / 16).float().unsqueeze(1), torch.tensor(digits.target)
errors = {ampmix.NoMixup(): [], ampmix.AMP(eps=0.1): []}
for seed in range(3):
    parts = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    train, test = parts.tensor_split([200])
    for policy, found in errors.items():
        torch.manual_seed(seed)
        model = network()
        mixing = torch.Generator().manual_seed(seed)  # so that both see the same batches
        step = ampmix.MixStep(model, policy, site="0", generator=mixing)
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
        for batch in [b for _ in range(25) for b in train[torch.randperm(200)].split(20)]:
            optimizer.zero_grad()
            step(x[batch], labels=y[batch]).loss.backward()
            optimizer.step()
        with torch.no_grad():
            found.append(100 * (model.eval()(x[test]).argmax(1) != y[test]).float().mean().item())
for policy, found in errors.items():
    each = ", ".join(f"{error:.1f}" for error in found)
    print(f"{policy.name:5} test error {statistics.mean(found):.1f} % (seeds: {each})")
