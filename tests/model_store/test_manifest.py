import json

import pytest
from pydantic import ValidationError

from model_store.manifest import Contract, Manifest, Score, TrainingData


@pytest.fixture
def manifest(tiny_draft):
    contract = Contract(name="soft tissue", low=-160, high=240, unit="HU")
    score = Score(
        metric="ssim",
        contract=contract,
        degradation="quarter dose",
        restored=0.91,
        degraded=0.72,
        interval=(0.9, 0.92),
        interval_method="bootstrap over patients",
        patients=3,
        images=120,
    )
    series = TrainingData(series="1.2.3", patient="A", slices=40, collection="C", licence="CC BY 4.0")
    draft = tiny_draft(scores=(score,), training_data=(series,), recipe_settings={"weights": [1, 0.5], "name": "l2"})
    fields = {name: getattr(draft, name) for name in type(draft).model_fields}
    return Manifest(**fields, version=3, files={"saved_model.pb": "0" * 64, "variables/a": "f" * 64})


def changed(manifest, **changes):
    return json.dumps({**json.loads(manifest.model_dump_json()), **changes})


def test_a_manifest_survives_the_way_through_json(manifest):
    assert Manifest.model_validate_json(manifest.model_dump_json(indent=2)) == manifest


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"surprise": 1}, "surprise"),
        ({"version": 0}, "version"),
        ({"name": "../ct"}, "name"),
        ({"name": "ct\n"}, "name"),
        ({"unit": "mGy"}, "unit"),
        ({"signatures": {"bfloat16": {}}}, "signatures"),
        ({"files": {"../outside": "0" * 64}}, "files"),
        ({"files": {"/etc/passwd": "0" * 64}}, "files"),
        ({"files": {"a//b": "0" * 64}}, "files"),
        ({"files": {"manifest.json": "0" * 64}}, "files"),
        ({"files": {"a": "0" * 63}}, "files"),
    ],
)
def test_what_a_manifest_may_not_say(manifest, changes, field):
    with pytest.raises(ValidationError) as caught:
        Manifest.model_validate_json(changed(manifest, **changes))
    assert [error["loc"][0] for error in caught.value.errors()] == [field]


def test_a_manifest_cannot_be_changed(manifest):
    with pytest.raises(ValidationError, match="frozen"):
        manifest.version = 4
