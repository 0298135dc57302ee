"""Errors of the laboratory.

data --(series?)--> series --(degradation?)--> pairs --(recipe?)--> fit --(checkpoint fits?)--> model --> export
     NoTrainingData        UnknownDegradation       UnknownRecipe     IncompatibleRun
                           ImpossibleSetting        UnknownSetting
                           UnsuitableSeries
"""


class TrainingError(Exception):
    """Base of every expected failure in `training`."""


class NoTrainingData(TrainingError):
    """The given folders and archives hold no series that can be used."""


class UnpairedImages(TrainingError):
    """Noisy and clean images that do not belong together: names, shapes or numbers of frames differ."""


class UnusableEvidence(TrainingError):
    """A file that is said to hold a study's report does not, or is of another domain."""


class UnverifiableAdvice(TrainingError):
    """Too few images, sources or recipes to compare what was advised with something else."""


class UnknownRecipe(TrainingError):
    """No recipe of that name."""


class UnknownSetting(TrainingError):
    """A recipe or a degradation does not take a number of that name."""


class UnknownDegradation(TrainingError):
    """The domain has no degradation of that name."""


class ImpossibleSetting(TrainingError):
    """A number that a degradation cannot have, such as a negative standard deviation."""


class UnsuitableSeries(TrainingError):
    """A degradation needs something of a series that it does not have, such as projections of a CT scan."""


class IncompatibleRun(TrainingError):
    """A run folder holds a run with other settings, or nothing that can be resumed."""


class UnusableStart(TrainingError):
    """The weights that a run is to start from do not exist, are of another domain or network, or have changed."""


class InvalidSettings(TrainingError):
    """A settings file that cannot be read, or a key, type or value in it that there is not."""


class InvalidStudy(TrainingError):
    """A study that cannot be run as asked: nothing to compare, doubles, too few patients."""


class MissingNetwork(TrainingError):
    """A recipe compares or judges by a network, features or a discriminator, that it was not given."""


class UnusableFeatures(TrainingError):
    """A file of feature weights is missing, no such file, or lacks a layer."""


class UnsupportedBackend(TrainingError):
    """What was asked for does not work on this Keras backend."""
