from __future__ import annotations

from model_store.manifest import TrainingData
from training.card import render_card
from training.fit import FitSettings

SETTINGS = FitSettings(model="ct-l2", epochs=3, steps=200, batch=16, patch=64, seed=7)


def _draft(tiny_draft, **changes):
    data = (
        TrainingData(series="one", patient="a", slices=12, collection="Alpha", licence="CC BY 4.0"),
        TrainingData(series="two", patient="b", slices=5, collection="Beta", licence="not stated"),
    )
    values = {"name": "ct-l2", "recipe": "l2", "training_settings": SETTINGS.to_json(), "training_data": data}
    return tiny_draft(**{**values, "parameters": 870_000, "receptive_field": 199, **changes})


def test_the_card_says_how_it_was_trained(tiny_draft):
    card = render_card(_draft(tiny_draft), [])
    assert card.startswith("# ct-l2\n")
    assert "| parameters | 870,000 |" in card
    assert "| receptive field | 199 pixels |" in card
    assert "3 epochs of 200 steps, 9,600 patches of 64 pixels, mixed_bfloat16, seed 7" in card
    assert "0.05 to 0.9 of the scan's own dose" in card
    assert "up to 40 % of the variance electronic" in card
    assert "4 % of the patches clean" in card


def test_every_series_is_credited(tiny_draft):
    card = render_card(_draft(tiny_draft), [])
    assert "| one | 12 | Alpha | CC BY 4.0 |" in card
    assert "| two | 5 | Beta | not stated |" in card


def test_limits_and_intended_use_are_on_it_and_missing_scores_are_admitted(tiny_draft):
    card = render_card(_draft(tiny_draft, intended_use="Research only."), [])
    assert "**Intended use.** Research only." in card
    assert "Not evaluated." in card
    assert card.rstrip().endswith("anything but single axial slices.")
