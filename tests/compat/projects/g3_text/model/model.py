import torch.nn as nn
from base import BaseModel


class BagOfWords(BaseModel):
    def __init__(self, n_words, n_topics, dim):
        super().__init__()
        self.embed = nn.EmbeddingBag(n_words, dim, mode='mean')
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(dim, n_topics)

    def forward(self, words):
        return self.fc(self.drop(self.embed(words)))
