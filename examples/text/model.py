"""Two networks for padded texts: a GRU, and a bag of words."""

import torch
from torch import nn


class Gru(nn.Module):
    """Padded ids, with their lengths, to scores `(B, num_classes)`: word after word, from either end.

    Two layers in place of one of both directions, which would read the padding first, or need packed sequences: those
    cannot be exported.
    """

    def __init__(self, vocab_size: int, num_classes: int, width: int = 32):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width, padding_idx=0)
        self.to_end = nn.GRU(width, width, batch_first=True)
        self.to_begin = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, padded):
        ids, last = padded.values, padded.lengths[:, None, None] - 1  # (B, L), (B, 1, 1)
        turned = ids.gather(1, padded.lengths[:, None] - padded.mask.cumsum(dim=1))  # the last word first
        states = self.to_end(self.embedding(ids))[0], self.to_begin(self.embedding(turned))[0]  # (B, L, width) each
        ends = [each.gather(1, last.expand(-1, -1, each.shape[2]))[:, 0] for each in states]
        return self.head(torch.cat(ends, dim=1))


class BagOfWords(nn.Module):
    """The baseline: the mean of the words, in whatever order they stand."""

    def __init__(self, vocab_size: int, num_classes: int, width: int = 32):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width, padding_idx=0)
        self.head = nn.Linear(width, num_classes)

    def forward(self, padded):
        total = self.embedding(padded.values).sum(dim=1)  # (B, width); padding is 0
        return self.head(total / padded.lengths[:, None])
