import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, PackedSequence
from base import BaseModel


class SumGRU(BaseModel):
    def __init__(self, vocab_size, embed_dim, hidden_dim, dropout=0.0, num_classes=2):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, embed_dim, padding_idx=0)
        self.drop = nn.Dropout(dropout)
        self.rnn = nn.GRU(embed_dim, hidden_dim, batch_first=True)
        self.fc = nn.Linear(hidden_dim, num_classes)

    def forward(self, padded, lengths):
        packed = pack_padded_sequence(padded, lengths.cpu(), batch_first=True, enforce_sorted=False)
        embedded = PackedSequence(self.drop(self.embed(packed.data)), packed.batch_sizes,
                                  packed.sorted_indices, packed.unsorted_indices)
        _, hidden = self.rnn(embedded)
        return self.fc(hidden[-1])
