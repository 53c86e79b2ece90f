from .base_seg_trainer import *
from .trainer import *
