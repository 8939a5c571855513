from .policy import FineTunePolicy as FineTunePolicy
