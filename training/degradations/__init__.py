"""What degrades an image: the rows of `DEGRADATIONS` with stated numbers, and `DoseRange` to train over many doses."""

from training.degradations.degradation import Degradation, prepare_degradation
from training.degradations.dose_range import DoseRange
from training.degradations.low_dose import DoseProtocol, standard_protocols
from training.degradations.table import DEGRADATIONS, degradation_from_json, parse_degradation

__all__ = [
    "DEGRADATIONS",
    "Degradation",
    "DoseProtocol",
    "DoseRange",
    "degradation_from_json",
    "parse_degradation",
    "prepare_degradation",
    "standard_protocols",
]
