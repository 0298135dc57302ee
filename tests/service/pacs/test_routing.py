"""Rules: the first that fits decides, and it is told why those before it did not."""

from __future__ import annotations

import pytest

from service.pacs.configuration import Rule
from service.pacs.routing import KEYWORDS, SENDER, decide, facts_of


def rule(name, **conditions):
    return Rule(**{"name": name, "to": "archive", **conditions})


@pytest.fixture
def facts(ct_dataset):
    """(sender=..., Keyword=value) -> what rules look at."""
    return lambda sender="SCANNER", **attributes: facts_of(ct_dataset(**attributes), sender)


def test_facts_are_values_without_outer_spaces(facts):
    found = facts(ConvolutionKernel=["B31f ", "2"], ProtocolName=None, SeriesDescription=" Thorax ")
    assert found["kernel"] == ("B31f", "2")
    assert found["description"] == ("Thorax",)
    assert (found["protocol"], found["body_part"]) == ((), ())
    assert (found["modality"], found["station"], found["manufacturer"]) == (("CT",), ("CT01",), ("SCANNERS INC",))
    assert (found["scanner"], found[SENDER]) == (("Spiral 9",), ("SCANNER",))
    assert facts(sender="")[SENDER] == ()


@pytest.mark.parametrize("condition", KEYWORDS)
def test_every_condition_looks_at_its_attribute(facts, condition):
    found = facts(**{KEYWORDS[condition]: "VALUE"})
    assert decide([rule("r", **{condition: "value"})], found).rule.name == "r"
    assert decide([rule("r", **{condition: "another"})], found).rule is None


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("B31f", True),
        ("b31F", True),
        ("B3*", True),
        ("*", True),
        ("B3?f", True),
        ("B3?", False),
        ("31", False),
        ("[AB]31f", True),
        ("", False),
    ],
)
def test_patterns(facts, pattern, fits):
    assert (decide([rule("r", kernel=pattern)], facts(ConvolutionKernel="B31f")).rule is not None) is fits


def test_one_of_several_values_and_one_of_several_patterns_is_enough(facts):
    found = facts(ConvolutionKernel=["Br40d", "3"])
    assert decide([rule("r", kernel=["B30*", "br40*"])], found).rule is not None
    assert decide([rule("r", kernel=["B30*", "4"])], found).rule is None


@pytest.mark.parametrize(("pattern", "fits"), [("*", True), ("", True), ("?*", False)])
def test_what_a_series_does_not_say_is_the_empty_text(facts, pattern, fits):
    assert (decide([rule("r", body_part=pattern)], facts()).rule is not None) is fits


def test_all_conditions_have_to_fit_and_the_first_rule_that_does_decides(facts):
    rules = [
        rule("both", modality="CT", kernel="Br*"),
        rule("first", sender="SCAN*"),
        rule("second", modality="CT"),
    ]
    decision = decide(rules, facts())
    assert decision.rule.name == "first"
    assert not decision.refused
    assert [each.rule for each in decision.tried] == ["both", "first"]


def test_no_rule_at_all_refuses(facts):
    decision = decide([], facts())
    assert decision.refused
    assert str(decision) == "no rule fits, and what no rule takes is refused"


@pytest.mark.parametrize(("action", "refused"), [("keep", False), ("refuse", True)])
def test_actions_of_rules(facts, action, refused):
    decision = decide([Rule(name="r", action=action)], facts())
    assert (decision.refused, str(decision)) == (refused, f"rule 'r': {action}")


def test_explanations(facts):
    found = facts(ConvolutionKernel=["B31f", "2"])
    rules = [
        rule("soft", kernel=["Br*", "Qr*"]),
        rule("chest", body_part="CHEST"),
        rule("night", sender="NIGHT"),
        rule("all"),
        rule("never looked at"),
    ]
    assert [str(each) for each in decide(rules, found).tried] == [
        "rule 'soft' does not fit: ConvolutionKernel is 'B31f' and '2', and kernel = 'Br*' or 'Qr*'",
        "rule 'chest' does not fit: BodyPartExamined is nothing, and body_part = 'CHEST'",
        "rule 'night' does not fit: sender is 'SCANNER', and sender = 'NIGHT'",
        "rule 'all' fits",
    ]
