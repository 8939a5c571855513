from .logger import Logger as Logger
from .trainer import Trainer as Trainer
from .training_run import train as train
