from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from training.degradations import DoseProtocol, parse_degradation
from training.evaluation.evidence import (
    as_evidence,
    evidence_degradations,
    gather_rows,
    measure_gains,
    render_evidence,
    render_gains,
)

SMOOTH, IDENTITY = "ct-smooth@1", "ct-identity@4"
VERSIONS = {IDENTITY: lambda image: image, SMOOTH: lambda image: 0.7 * image + 0.3 * ndimage.gaussian_filter(image, 1)}


@pytest.fixture(scope="module")
def rows(prepared):
    degradations = [DoseProtocol(0.25, 20.0), DoseProtocol(1.0), parse_degradation("impulse", "ct", {"share": 0.05})]
    return gather_rows(VERSIONS, [prepared("a", 1), prepared("b", 2)], degradations)


def test_each_row_has_the_noise_as_it_is_read_and_the_score_of_every_version(rows):
    low, full, _ = rows
    assert full.level < 0.7 * low.level  # small organs make both read high
    assert low.correlation > 0.3
    assert low.scores[SMOOTH] > low.scores[IDENTITY] + 0.2
    assert full.scores[IDENTITY] == np.inf > full.scores[SMOOTH]
    assert {row.unit for row in rows} == {"HU"}


def test_the_file_says_where_it_comes_from_and_the_table_where_another_is_ahead(rows, prepared):
    series = {"HU": [prepared("a", 1), prepared("b", 2)]}
    finite = [row for row in rows if all(np.isfinite(list(row.scores.values())))]
    evidence = as_evidence(finite, {"HU": IDENTITY}, series)
    assert (evidence.images, evidence.patients, evidence.defaults) == (4, 2, {"HU": IDENTITY})
    assert "[-160, 240]" in evidence.metric
    table = render_evidence(evidence)
    assert table.splitlines()[0].endswith(f"| {IDENTITY} | {SMOOTH} |")
    assert f"**{finite[0].scores[SMOOTH]:.2f}**" in table


def test_the_noises_span_levels_textures_and_impulses():
    labels = [each.label for each in evidence_degradations("HU")]
    assert len(set(labels)) == len(labels) == 12
    assert any("impulse" in label for label in labels)
    assert all(each.domain == "relative" for each in evidence_degradations("relative"))


def test_images_whose_noise_cannot_be_read_make_no_row(prepared):
    series = prepared("a", 1)
    air = replace(series, images=np.full((1, 5, 5), -1000, np.float32), unit_noise=None)
    assert gather_rows(VERSIONS, [air], [parse_degradation("gaussian", "ct")]) == []


def test_auto_is_held_against_the_default_on_other_patients(rows, prepared):
    finite = [row for row in rows if all(np.isfinite(list(row.scores.values())))]
    evidence = as_evidence(finite, {"HU": IDENTITY}, {"HU": [prepared("a", 1)]})
    others = [prepared("c", 3), prepared("d", 4)]
    (gain,) = measure_gains(evidence, VERSIONS, others, [DoseProtocol(0.25, 20.0)])
    assert gain.chosen == {SMOOTH: 2}
    assert gain.patients == 2
    assert gain.interval[0] <= gain.gain <= gain.interval[1]
    assert gain.gain > 0.1
    table = render_gains([gain])
    assert f"{SMOOTH}: 2 | {gain.gain:+.2f} [" in table
    (usual,) = measure_gains(evidence, {IDENTITY: VERSIONS[IDENTITY]}, others, [DoseProtocol(0.25, 20.0)])
    assert (usual.chosen, usual.gain) == ({IDENTITY: 2}, 0.0)
