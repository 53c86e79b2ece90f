"""Small networks of the kinds that people export, each with inputs of several sizes."""

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import default_collate

from espalier.data.collate import Padded
from espalier.inference.meaning import Meaning
from espalier.inference.model import Model
from espalier.preprocessing.tensors import Tensors

CLASSES = Meaning("classes", names=("a", "b", "c"))


class Flat(nn.Module):
    """A convolution with a layer behind that needs one size of images, batch norm and dropout."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)
        self.norm.running_mean.uniform_(-1, 1)
        self.norm.running_var.uniform_(0.5, 2)
        self.head = nn.Linear(4 * 6 * 6, 3)

    def forward(self, x):
        return self.head(self.drop(torch.relu(self.norm(self.conv(x)))).flatten(1))


class Pooled(nn.Module):
    """Takes images of any size."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))


class PerPixel(nn.Module):
    """An output for each pixel; sides have to be even."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(1, 4, 2, stride=2), nn.ConvTranspose2d(4, 3, 2, stride=2)

    def forward(self, x):
        return self.up(torch.relu(self.down(x)))


class Recurrent(nn.Module):
    """Words one after the other, in both directions."""

    def __init__(self):
        super().__init__()
        self.embedding, self.gru = (
            nn.Embedding(20, 6, padding_idx=0),
            nn.GRU(6, 5, batch_first=True, bidirectional=True),
        )
        self.head = nn.Linear(10, 3)

    def forward(self, ids):
        _, last = self.gru(self.embedding(ids))
        return self.head(torch.cat([last[0], last[1]], dim=1))


class Attention(nn.Module):
    """A transformer's encoder over padded texts."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 8, padding_idx=0)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2,
                                             enable_nested_tensor=False)  # fmt: skip
        self.head = nn.Linear(8, 3)

    def forward(self, padded):
        words = self.encoder(self.embedding(padded.values), src_key_padding_mask=~padded.mask)
        return self.head((words * padded.mask[..., None]).sum(1) / padded.lengths[:, None])


class Table(nn.Module):
    """Numbers and categories by name; gives a number in other units."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(5, 3), nn.Linear(4 + 2 * 3, 1)

    def forward(self, numbers, categories):
        return self.head(torch.cat([numbers, self.embedding(categories).flatten(1)], dim=1))


class Several(nn.Module):
    """Gives a dict, of which a part counts."""

    def __init__(self):
        super().__init__()
        self.body, self.head, self.other = nn.Linear(4, 8), nn.Linear(8, 3), nn.Linear(8, 2)

    def forward(self, x):
        hidden = torch.relu(self.body(x))
        return {"logits": self.head(hidden), "more": (self.other(hidden), hidden)}


class Two(nn.Module):
    """Takes two tensors by position, with tied weights."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 4), nn.Linear(4, 4)
        self.right.weight = self.left.weight

    def forward(self, one, other):
        return torch.relu(self.left(one)) - self.right(other)


class Counted(nn.Module):
    """Counts its samples with len()."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        return self.head(x.reshape(len(x), 12))


def texts(*lengths):
    """Padded ids."""
    return pad_sequence([torch.randint(1, 20, (length,)) for length in lengths], batch_first=True)


def padded(*lengths):
    """The same with lengths and mask."""
    values = texts(*lengths)
    return Padded(values, torch.tensor(lengths), torch.arange(values.shape[1])[None] < torch.tensor(lengths)[:, None])


def rows(number):
    """Rows of a table."""
    return {"numbers": torch.randn(number, 4), "categories": torch.randint(0, 5, (number, 2))}


NUMBERS = Meaning("numbers", mean=(3.0,), std=(2.0,))
LABELS = Meaning("labels", True)
OUTPUTS = Meaning("outputs")
# Of each: the network, its meaning, what part of its output counts, inputs, and the dimensions that may change.
KINDS = {
    "flat": (Flat, CLASSES, None, lambda: [torch.randn(5, 1, 8, 8), torch.randn(3, 1, 8, 8)], ["batch"]),
    "pooled": (Pooled, CLASSES, None, lambda: [torch.randn(4, 3, 8, 8)], ["batch", "height", "width"]),
    "per pixel": (PerPixel, CLASSES, None, lambda: [torch.randn(4, 1, 8, 6)], ["batch", "height", "width"]),
    "recurrent": (Recurrent, CLASSES, None, lambda: [texts(5, 9, 3), texts(6, 2)], ["batch", "length"]),
    "attention": (Attention, LABELS, None, lambda: [padded(5, 9, 3), padded(6, 2)], ["batch", "length"]),
    "table": (Table, NUMBERS, None, lambda: [rows(6), rows(2)], ["batch"]),
    "counted": (Counted, CLASSES, None, lambda: [torch.randn(6, 3, 4)], ["batch"]),
    "several": (Several, CLASSES, "logits", lambda: [torch.randn(6, 4)], ["batch"]),
    "all of several": (Several, CLASSES, "*", lambda: [torch.randn(6, 4)], ["batch"]),
    "two": (Two, OUTPUTS, None, lambda: [(torch.randn(6, 4), torch.randn(6, 4))], ["batch"]),
}


def model_of(kind):
    """A model, its inputs, and the dimensions that may change."""
    torch.manual_seed(1)
    Network, meaning, path, inputs, free = KINDS[kind]
    model = Model(Network().eval(), Tensors({"kind": "tensor"}), meaning, torch.device("cpu"), output_path=path,
                  collate_fn=default_collate)  # fmt: skip
    return model, inputs(), free
