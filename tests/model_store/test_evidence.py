from __future__ import annotations

import math

import pytest

from imaging.noise.reading import NoiseReading
from model_store.errors import RefusedVersion, StoreConflict
from model_store.evidence import EVIDENCE_FILE, Evidence, Row, choose
from model_store.store import ModelStore

DEFAULT, OTHER, MEDIAN = "ct-l2@2", "ct-sharp@1", "ct-impulse@1"


def row(level, correlation, impulses=0.0, **scores):
    named = {{"default": DEFAULT, "other": OTHER, "median": MEDIAN}[name]: score for name, score in scores.items()}
    return Row(
        unit="HU",
        degradation=f"noise of {level}",
        level=level,
        correlation=correlation,
        impulses=impulses,
        scores=named,
    )


EVIDENCE = Evidence(
    metric="PSNR",
    negligible=0.1,
    defaults={"HU": DEFAULT},
    rows=(
        row(20, 0.5, default=34.0, other=33.9),
        row(20, 0.1, default=31.0, other=31.5),
        row(80, 0.5, default=28.0, other=28.05),
        row(20, 0.0, 0.05, default=20.0, median=27.0),
    ),
    images=12,
    patients=2,
)
ALL = {DEFAULT, OTHER, MEDIAN}


def pick(level, correlation, impulses=0.0, usable=ALL):
    return choose(EVIDENCE, "HU", NoiseReading(level, correlation, impulses), usable=usable)


def test_the_best_under_the_nearest_noise_is_taken():
    assert pick(24, 0.45).ref == DEFAULT
    assert pick(24, 0.12).ref == OTHER
    assert pick(18, 0.02, 0.06).ref == MEDIAN
    assert "0.50 dB ahead of ct-l2@2 there" in pick(24, 0.12).reason
    assert "nearest to noise of 20" in pick(24, 0.12).reason


def test_what_is_hardly_ahead_is_not_worth_it():
    choice = pick(90, 0.5)
    assert choice.ref == DEFAULT
    assert "no model is ahead of it by more than 0.1 dB" in choice.reason


def test_versions_that_are_gone_are_not_taken():
    assert pick(24, 0.12, usable={DEFAULT}).ref == DEFAULT
    assert pick(24, 0.12, usable={OTHER}) is None  # without its default the evidence is about another store


def test_noise_that_cannot_be_read_means_the_default():
    choice = pick(math.nan, math.nan)
    assert choice.ref == DEFAULT
    assert "nothing is known" in choice.reason
    assert pick(24, math.nan).ref in ALL  # a level alone is something


def test_other_units_have_no_choice():
    assert choose(EVIDENCE, "relative", NoiseReading(0.1, 0, 0), usable=ALL) is None


def test_it_is_kept_in_the_store_and_the_writable_folder_wins(tmp_path):
    published, own = tmp_path / "published", tmp_path / "own"
    ModelStore(published, published=None).set_evidence(EVIDENCE)
    store = ModelStore(own, published=published)
    assert store.evidence() == EVIDENCE
    mine = EVIDENCE.model_copy(update={"negligible": 0.3})
    store.set_evidence(mine)
    assert store.evidence() == mine
    assert ModelStore(None, published=published).evidence() == EVIDENCE
    assert ModelStore(tmp_path / "none", published=None).evidence() is None
    with pytest.raises(StoreConflict, match="read-only"):
        ModelStore(None, published=published).set_evidence(mine)


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / EVIDENCE_FILE).write_text('{"metric": 3}')
    with pytest.raises(RefusedVersion, match=r"evidence\.json is damaged"):
        ModelStore(tmp_path, published=None).evidence()
