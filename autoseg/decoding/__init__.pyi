from .decide import decide_decoding as decide_decoding
from .expected_dice import segment_for_dice as segment_for_dice
from .rules import Decoding as Decoding
from .temperature import Calibration as Calibration
from .temperature import calibrated as calibrated
