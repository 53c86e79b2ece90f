# the old one
from .gan_trainer import GANTrainer as Trainer  # noqa: F401
