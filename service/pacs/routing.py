"""Which rule a series falls under, and why. Pure.

data set, sender --facts_of--> what rules look at --decide(rules)--> Decision: rule, and why the ones before it not
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from imaging.dicom_attributes import values
from service.pacs.configuration import Rule

KEYWORDS = {
    "modality": "Modality",
    "description": "SeriesDescription",
    "study_description": "StudyDescription",
    "protocol": "ProtocolName",
    "kernel": "ConvolutionKernel",
    "body_part": "BodyPartExamined",
    "station": "StationName",
    "manufacturer": "Manufacturer",
    "scanner": "ManufacturerModelName",
}
"""Condition of a rule -> the attribute that it looks at."""

SENDER = "sender"

Facts = Mapping[str, tuple[str, ...]]
"""Condition -> the values that a series has for it, without outer spaces; none where it says nothing."""


@dataclass(frozen=True)
class Tried:
    """A rule, and the condition that a series did not fit.

    Attributes:
        rule: its name.
        condition: the first that failed; empty where the rule fits.
        patterns: of the condition.
        found: what the series has instead.
    """

    rule: str
    condition: str = ""
    patterns: tuple[str, ...] = ()
    found: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.condition:
            return f"rule {self.rule!r} fits"
        has = " and ".join(repr(value) for value in self.found) or "nothing"
        wanted = " or ".join(repr(pattern) for pattern in self.patterns)
        keyword = KEYWORDS.get(self.condition, self.condition)
        return f"rule {self.rule!r} does not fit: {keyword} is {has}, and {self.condition} = {wanted}"


@dataclass(frozen=True)
class Decision:
    """What is done with a series.

    Attributes:
        rule: the first that fits; None: no rule does, so that the series is refused.
        tried: all rules up to it.
    """

    rule: Rule | None
    tried: tuple[Tried, ...]

    @property
    def refused(self) -> bool:
        """Whether the series is not taken."""
        return self.rule is None or self.rule.action == "refuse"

    def __str__(self) -> str:
        """For people; no patient data."""
        if self.rule is None:
            return "no rule fits, and what no rule takes is refused"
        return f"rule {self.rule.name!r}: {self.rule.action}"


def facts_of(dataset: Dataset, sender: str) -> Facts:
    """What rules look at.

    Args:
        dataset: of any instance of the series.
        sender: AE title, or name of the API key.
    """
    found = {
        condition: tuple(str(value).strip() for value in values(dataset, keyword))
        for condition, keyword in KEYWORDS.items()
    }
    return {**found, SENDER: (sender,) if sender else ()}


def decide(rules: Sequence[Rule], facts: Facts) -> Decision:
    """The first rule whose conditions a series all fits."""
    tried = []
    for rule in rules:
        outcome = _try(rule, facts)
        tried.append(outcome)
        if not outcome.condition:
            return Decision(rule, tuple(tried))
    return Decision(None, tuple(tried))


def _try(rule: Rule, facts: Facts) -> Tried:
    for condition in (*KEYWORDS, SENDER):
        patterns: tuple[str, ...] = getattr(rule, condition)
        found = facts.get(condition, ())
        if patterns and not any(_fits(value, pattern) for value in found or ("",) for pattern in patterns):
            return Tried(rule.name, condition, patterns, found)
    return Tried(rule.name)


def _fits(value: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(value.casefold(), pattern.casefold())
