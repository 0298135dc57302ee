"""Settings files: everything that `clearslice train` can be told, in TOML, and back from a run.

my.toml, RUN/settings.json --read_settings--> table --merged with options--> settings_from --> FitSettings
                             InvalidSettings: a key, type or value that there is not
FitSettings --render_settings--> TOML of the same run

epochs = 20                    # every field of training.fit.FitSettings by its name
learning_rate = 1e-3
start = "ct-l2@stable"         # begin with the weights of this, as --start
[loss]                         # the recipe's settings, as --set; 1.0 is 1000 HU for CT
delta = 0.02
[network]
widths = [32, 56, 80, 104]
[noise]                        # a low dose of many doses, by the fields of DoseRange; or, with `name`, one
name = "gaussian"              # degradation, as --degradation, and its settings, as --degrade
sigma = 30
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from training.degradations import Degradation, DoseRange, parse_degradation
from training.domains import Domain
from training.errors import InvalidSettings
from training.fit import FitSettings
from training.networks.features import parse_features
from training.networks.unet import UNetConfig
from training.recipes import parse_model_name
from training.start import find_start

Table = dict[str, Any]
"""Plain values as in the file: `loss`, `network` and `noise` are tables, `features` is text."""

WHOLE = {"epochs": 1, "steps": 1, "batch": 1, "patch": 16, "seed": 0}
"""Whole numbers and the least that each may be."""

PRECISIONS = ("mixed_bfloat16", "float32")

_KEYS = tuple(each.name for each in fields(FitSettings))
_NETWORK = tuple(each.name for each in fields(UNetConfig))
_DOSES = tuple(each.name for each in fields(DoseRange))


def read_settings(file: Path, model: str) -> Table:
    """The table of a TOML file, or of a run's settings.json.

    Args:
        file: of settings.
        model: that is to be trained; a file may name its model, which must then be this one.

    Raises:
        InvalidSettings: no such file, not TOML or JSON, a key that there is not (the message names the nearest), or
            settings of another model.
    """
    try:
        text = file.read_text(encoding="utf-8")
        table: Table = _of_json(text) if file.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidSettings(f"{file} holds no settings: {error}") from error
    _known(table, _KEYS, file.name)
    named = table.pop("model", model)
    if named != model:
        raise InvalidSettings(f"{file} has the settings of {named}, not of {model}")
    return table


def settings_from(model: str, table: Mapping[str, Any]) -> FitSettings:
    """The settings of a run.

    Args:
        model: domain and recipe.
        table: as `read_settings` returns it; what it leaves out has its default.

    Raises:
        InvalidSettings: a value of another type or outside its range.
        UnknownRecipe, UnknownSetting, UnknownDegradation, ImpossibleSetting, UnusableFeatures, UnusableStart: as these
            name it.
    """
    domain, _ = parse_model_name(model)
    _known(table, _KEYS, "the settings")
    readers: dict[str, Callable[[Any], Any]] = {
        **{name: partial(_whole, name, least=least) for name, least in WHOLE.items()},
        "learning_rate": _rate,
        "precision": _precision,
        "features": parse_features,
        "loss": lambda value: {key: _number(f"loss.{key}", each) for key, each in _section("loss", value).items()},
        "network": _network,
        "noise": partial(_noise, domain=domain),
    }
    table = dict(table)
    start = None
    if "start" in table:
        start, network = find_start(_text("start", table.pop("start")), domain)
        table.setdefault("network", dataclasses.asdict(network) | {"widths": list(network.widths)})
    return FitSettings(model=model, start=start, **{name: readers[name](value) for name, value in table.items()})


def table_of(settings: FitSettings) -> Table:
    """The table that gives these settings again."""
    table: Table = {name: getattr(settings, name) for name in ("model", *WHOLE, "learning_rate", "precision")}
    if settings.start:
        table["start"] = settings.start.of
    if settings.features:
        source = settings.features
        table["features"] = ":".join(filter(None, (source.file, source.layer))) or source.network
    table["loss"] = dict(settings.loss)
    table["network"] = {"widths": list(settings.network.widths), "blocks": settings.network.blocks}
    noise = settings.noise
    table["noise"] = {"name": noise.name, **noise.settings} if isinstance(noise, Degradation) else noise.to_json()
    return table


def render_settings(settings: FitSettings) -> str:
    """TOML that `clearslice train --settings` takes; sections come last, as TOML wants it."""
    table = table_of(settings)
    lines = [f"{name} = {_toml(value)}" for name, value in table.items() if not isinstance(value, dict)]
    for section, values in table.items():
        if isinstance(values, dict) and values:
            lines += ["", f"[{section}]", *(f"{name} = {_toml(value)}" for name, value in values.items())]
    return "\n".join(lines) + "\n"


def _of_json(text: str) -> Table:
    return table_of(FitSettings.from_json(json.loads(text)))


def _toml(value: Any) -> str:
    """Text, numbers and lists are written alike in JSON and TOML."""
    return json.dumps(value)


def _rate(value: Any) -> float:
    rate = _number("learning_rate", value)
    if rate <= 0:
        raise InvalidSettings(f"learning_rate must be above 0, not {value!r}")
    return rate


def _precision(value: Any) -> str:
    if value not in PRECISIONS:
        raise InvalidSettings(f"precision must be {' or '.join(PRECISIONS)}, not {value!r}")
    return str(value)


def _noise(value: Any, domain: Domain) -> DoseRange | Degradation:
    table = _section("noise", value)
    if "name" in table:
        numbers = {key: _number(f"noise.{key}", value) for key, value in table.items() if key != "name"}
        return parse_degradation(str(table["name"]), domain, numbers)
    _known(table, (*_DOSES, "name"), "[noise]")
    return DoseRange(**{key: _number(f"noise.{key}", value) for key, value in table.items()})


def _network(value: Any) -> UNetConfig:
    table = _section("network", value)
    _known(table, _NETWORK, "[network]")
    values: Table = dict(table)
    if "widths" in values:
        widths = values["widths"]
        if not (isinstance(widths, list) and widths):
            raise InvalidSettings(f"network.widths must be a list such as [32, 56, 80, 104], not {widths!r}")
        values["widths"] = tuple(_whole("network.widths", each, least=1) for each in widths)
    for name, least in (("blocks", 1), ("noise_bands", 0), ("fine", 0)):
        if name in values:
            values[name] = _whole(f"network.{name}", values[name], least=least)
    return dataclasses.replace(UNetConfig(), **values)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidSettings(f"{name} must be text, not {value!r}")
    return value


def _section(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidSettings(f"{name} must be a table, [{name}], not {value!r}")
    return value


def _whole(name: str, value: Any, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidSettings(f"{name} must be a whole number from {least}, not {value!r}")
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidSettings(f"{name} must be a number, not {value!r}")
    return float(value)


def _known(table: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    takes = tuple(names)
    for name in table:
        if name not in takes:
            near = difflib.get_close_matches(name, takes, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(takes)}"
            raise InvalidSettings(f"{where} has no {name!r}; {hint}")
