from .pair_files import Pair as Pair
from .pair_files import Pairs as Pairs
from .pair_files import pair_files as pair_files
from .scoring import evaluate as evaluate
