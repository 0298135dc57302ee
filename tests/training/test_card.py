from __future__ import annotations

from model_store.manifest import Signature, TrainingData
from training.card import render_card
from training.degradations import parse_degradation
from training.fit import FitSettings
from training.networks.features import FeatureSource

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
    assert "0.05 to 0.35 of the scan's own dose" in card
    assert "8 to 95 HU of noise" in card
    assert "up to 40 % of the variance electronic" in card
    assert "4 % of the patches at full dose, 8 % without noise" in card


def test_the_card_says_what_a_model_began_with(tiny_draft):
    assert "before that" not in render_card(_draft(tiny_draft), [])
    settings = {**SETTINGS.to_json(), "start": {"of": "runs/base", "sha256": "ab" * 32}}
    lines = render_card(_draft(tiny_draft, training_settings=settings), []).splitlines()
    row = lines.index("| before that | the weights of runs/base, SHA-256 abababababab |")
    assert lines[row - 1].startswith("| trained |")
    assert lines[row + 1].startswith("| noise in training |")
    settings["start"]["trained"] = "ct-l2 for 40000 steps"
    card = render_card(_draft(tiny_draft, training_settings=settings), [])
    assert "| before that | ct-l2 for 40000 steps: the weights of runs/base, SHA-256 abababababab |" in card


def test_every_series_is_credited(tiny_draft):
    card = render_card(_draft(tiny_draft), [])
    assert "| one | 12 | Alpha | CC BY 4.0 |" in card
    assert "| two | 5 | Beta | not stated |" in card


def test_limits_and_intended_use_are_on_it_and_missing_scores_are_admitted(tiny_draft):
    card = render_card(_draft(tiny_draft, intended_use="Research only."), [])
    assert "**Intended use.** Research only." in card
    assert "Not evaluated." in card
    assert card.rstrip().endswith("anything but single axial slices.")


def test_a_model_that_says_how_sure_it_is_says_so_on_its_card(tiny_draft):
    assert "with_uncertainty" not in render_card(_draft(tiny_draft), [])
    signatures = {
        "serving_default": Signature(),
        "with_uncertainty": Signature(outputs=("restored", "lower", "upper")),
    }
    lines = render_card(_draft(tiny_draft, recipe="quantile", signatures=signatures), []).splitlines()
    row = next(number for number, line in enumerate(lines) if "with_uncertainty" in line)
    assert "lower, the low end of its interval and upper, the high end" in lines[row]
    assert lines[row - 1].startswith("| takes and gives |")  # within the table, which a blank line would end
    assert lines[row + 1].startswith("| parameters |")


def test_a_model_without_clean_images_says_what_it_was_trained_against(tiny_draft):
    assert "| trained against | the reference |" in render_card(_draft(tiny_draft), [])
    assert "no reference |" in render_card(_draft(tiny_draft, recipe="noise2inverse"), [])


def test_a_stated_degradation_is_named(tiny_draft):
    settings = FitSettings(model="ct-l2", noise=parse_degradation("gaussian", "ct", {"sigma": 25}))
    card = render_card(_draft(tiny_draft, training_settings=settings.to_json()), [])
    assert "| noise in training | gaussian, sigma 25 HU |" in card


def test_a_recipe_that_can_invent_says_so_first(tiny_draft):
    assert "**Warning.**" not in render_card(_draft(tiny_draft), [])
    card = render_card(_draft(tiny_draft, name="ct-adversarial", recipe="adversarial"), [])
    assert "**Warning.** It was trained to look real and can invent structure" in card
    assert card.index("**Warning.**") < card.index("| takes and gives |")


def test_the_features_of_a_perceptual_loss_are_named(tiny_draft):
    def card(features):
        settings = FitSettings(model="ct-perceptual", features=features)
        return render_card(_draft(tiny_draft, recipe="perceptual", training_settings=settings.to_json()), [])

    assert "features of an encoder trained on the same series |" in card(None)
    source = FeatureSource("file", "somewhere/vgg.npz", "ab" * 32, "block3_conv3")
    assert "features of vgg.npz block3_conv3, sha256 abababababab |" in card(source)
    assert "somewhere" not in card(source)
