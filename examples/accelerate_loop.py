"""An Accelerate loop: what is prepared is the step, what is saved is the model."""

import tempfile

import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import ampmix

torch.manual_seed(0)
digits = load_digits()
x, y = torch.tensor(digits.data / 16).float(), torch.tensor(digits.target)
parts = torch.randperm(len(y)).tensor_split([200])
train, test = (TensorDataset(x[part], y[part]) for part in parts)

model = torch.nn.Sequential(
    torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(128, 10)
)
accelerator = Accelerator(gradient_accumulation_steps=2)  # mixed_precision="bf16", several GPUs...
step, optimizer, batches, tests = accelerator.prepare(
    ampmix.MixStep(model, ampmix.AMP(eps=0.1), site="0"),  # before: model
    torch.optim.AdamW(model.parameters(), lr=3e-3),
    DataLoader(train, batch_size=20, shuffle=True),
    DataLoader(test, batch_size=100),
)
for _ in range(40):
    for images, labels in batches:
        with accelerator.accumulate(step):
            accelerator.backward(step(images, labels=labels).loss)  # instead of cross_entropy
            optimizer.step()
            optimizer.zero_grad()
step.eval()  # from here on the step is the model
wrong = sum(int((step(images).argmax(1) != labels).sum()) for images, labels in tests)
accelerator.print(f"{wrong / len(test):.1%} of {len(test)} digits wrong, after training on 200")
with tempfile.TemporaryDirectory() as folder:
    accelerator.save_model(step, folder)  # under the model's own names
    accelerator.print(", ".join(load_file(f"{folder}/model.safetensors")))
