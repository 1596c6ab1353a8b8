"""A model and a loop of one's own; the three lines that mix are marked."""

import csv
import re
from pathlib import Path

import torch

import ampmix  # line 1


class Net(torch.nn.Module):
    def __init__(self, words, classes):
        super().__init__()
        self.embed = torch.nn.Embedding(words, 64, padding_idx=0)
        self.conv = torch.nn.Conv1d(64, 128, 3, padding=1)
        self.head = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(128, classes))

    def forward(self, ids, mask):  # mask: true where there is a word
        h = self.conv(self.embed(ids).mT * mask[:, None]).relu()
        return self.head((h * mask[:, None]).amax(2))


torch.manual_seed(0)
_, *rows = csv.reader(Path(__file__).with_name("support-tickets.csv").open(encoding="utf-8"))
texts = [re.findall(r"\w+", text.lower()) for text, _ in rows]
ids = {word: i for i, word in enumerate(sorted({word for text in texts for word in text}), 1)}
names = sorted({label for _, label in rows})
x = torch.nn.utils.rnn.pad_sequence([torch.tensor([ids[w] for w in t]) for t in texts], True)
y = torch.tensor([names.index(label) for _, label in rows])
test, train = torch.randperm(len(y)).tensor_split([119])
model = Net(len(ids) + 1, len(names))
step = ampmix.MixStep(model, ampmix.AMP(eps=0.1), site="embed")  # line 2
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for batch in [b for _ in range(15) for b in train[torch.randperm(len(train))].split(16)]:
    optimizer.zero_grad()
    step(x[batch], mask=x[batch] > 0, labels=y[batch]).loss.backward()  # line 3
    optimizer.step()
wrong = model.eval()(x[test], x[test] > 0).argmax(1) != y[test]
print(f"{wrong.float().mean():.1%} of {len(test)} texts not trained on are misclassified")
