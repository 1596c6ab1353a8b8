"""DistributedDataParallel. Alone, or `torchrun --nproc-per-node 2 examples/ddp.py`."""

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import ampmix

if dist.is_torchelastic_launched():
    dist.init_process_group("gloo")  # "nccl", and models and batches on a GPU each, on GPUs
else:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)

torch.manual_seed(0)  # one split for all
digits = load_digits()
x, y = torch.tensor(digits.data / 16).float(), torch.tensor(digits.target)
train, test = torch.randperm(len(y)).tensor_split([200])
model = torch.nn.Sequential(
    torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(128, 10)
)
data = TensorDataset(x[train], y[train])
sampler = DistributedSampler(data)
batches = DataLoader(data, batch_size=20 // dist.get_world_size(), sampler=sampler)

torch.manual_seed(1 + dist.get_rank())  # lam, pairs and dropout of its own for each
step = DistributedDataParallel(ampmix.MixStep(model, ampmix.AMP(eps=0.1), site="0"))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for epoch in range(40):
    sampler.set_epoch(epoch)
    for images, labels in batches:
        optimizer.zero_grad()
        step(images, labels=labels).loss.backward()  # gradients are the mean over the processes
        optimizer.step()
wrong = model.eval()(x[test]).argmax(1) != y[test]
if dist.get_rank() == 0:
    print(f"{wrong.float().mean():.1%} of {len(test)} digits wrong, after training on 200")
dist.destroy_process_group()
