"""Errors of the laboratory.

data --(series?)--> pairs --(recipe?)--> fit --(checkpoint fits?)--> model --> export
     NoTrainingData         UnknownRecipe      IncompatibleRun
                           UnknownSetting
"""


class TrainingError(Exception):
    """Base of every expected failure in `training`."""


class NoTrainingData(TrainingError):
    """The given folders and archives hold no series that can be used."""


class UnknownRecipe(TrainingError):
    """No recipe of that name."""


class UnknownSetting(TrainingError):
    """A recipe does not take a number of that name."""


class IncompatibleRun(TrainingError):
    """A run folder holds a run with other settings, or nothing that can be resumed."""
