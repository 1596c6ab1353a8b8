"""A LightningModule as it is, trained with and without mixing: the callback is all that changes."""

import pytorch_lightning as pl  # or: import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from ampmix import AMP, MixupCallback


class Digits(pl.LightningModule):
    def __init__(self):
        super().__init__()
        first, last = torch.nn.Linear(64, 128), torch.nn.Linear(128, 10)
        self.net = torch.nn.Sequential(first, torch.nn.ReLU(), torch.nn.Dropout(0.2), last)

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, index):
        return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

    def test_step(self, batch, index):
        self.log("test_error", (self(batch[0]).argmax(1) != batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


digits = load_digits()
x, y = torch.tensor(digits.data / 16).float(), torch.tensor(digits.target)
train, test = TensorDataset(x[:200], y[:200]), TensorDataset(x[900:], y[900:])
off = ["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"]
for callbacks in ([], [MixupCallback(AMP(eps=0.1), site="net.0")]):
    torch.manual_seed(0)
    trainer = pl.Trainer(max_epochs=20, callbacks=callbacks, **dict.fromkeys(off, False))
    trainer.fit(model := Digits(), DataLoader(train, batch_size=20, shuffle=True))
    (result,) = trainer.test(model, DataLoader(test, batch_size=len(test)), verbose=False)
    print("AMP  " if callbacks else "plain", f"test error {result['test_error']:.1%}")
