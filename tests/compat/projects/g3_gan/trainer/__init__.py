from .gan_trainer import *
from .trainer import *
