"""A study: recipes x degradations under one budget, and the cells that it consists of.

    flags or TOML --Study--> study.json --cells()--> (degradation, recipe, fold, seed) --> one run folder each
                   InvalidStudy   |
                                  '-- the same folder again: it grows by recipes, degradations and seeds; another
                                      budget, domain or number of folds is refused: IncompatibleRun

All cells of a study have the same budget: as many steps on as many patches, the same network, the same seeds.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from training.degradations import Degradation, parse_degradation
from training.domains import DOMAINS, Domain
from training.errors import IncompatibleRun, InvalidStudy
from training.fit import FitSettings
from training.networks.unet import UNetConfig
from training.recipes import Recipe, parse_model_name
from training.run_files import write_json

STUDY = "study.json"


@dataclass(frozen=True)
class Choice:
    """A recipe or a degradation, by name, with the settings that differ from its own.

    Attributes:
        name: as in its table.
        settings: (name, number), sorted by name.
    """

    name: str
    settings: tuple[tuple[str, float], ...] = ()

    @property
    def label(self) -> str:
        """`huber`, or `huber:delta=0.5`: as `parse` takes it."""
        numbers = ",".join(f"{name}={number:g}" for name, number in self.settings)
        return f"{self.name}:{numbers}" if numbers else self.name

    @property
    def folder(self) -> str:
        """The label as a folder is called, on every file system."""
        return self.label.replace(":", "_")

    @classmethod
    def parse(cls, text: str) -> Choice:
        """`huber:delta=0.5,eps=1` -> Choice.

        Raises:
            InvalidStudy: not of that form.
        """
        name, _, numbers = text.strip().partition(":")
        settings = {}
        for part in filter(None, numbers.split(",")):
            key, equals, value = part.partition("=")
            try:
                number = float(value)
            except ValueError:
                number = math.nan
            if not (key.strip() and equals and math.isfinite(number)):
                raise InvalidStudy(f"{text!r}: settings follow as NAME:SETTING=NUMBER,..., as in huber:delta=0.5")
            settings[key.strip()] = number
        return cls(name.strip(), tuple(sorted(settings.items())))


@dataclass(frozen=True)
class Budget:
    """What every cell may spend; the meaning of the fields is that of `FitSettings`.

    Networks of a study have no noise bands and no channels at full resolution unless it asks for them, as those of the
    studies in docs/reports had none.
    """

    epochs: int = 4
    steps: int = 250
    batch: int = 16
    patch: int = 64
    learning_rate: float = 1e-3
    precision: str = "mixed_bfloat16"
    widths: tuple[int, ...] = (24, 40, 56)
    blocks: int = 2
    noise_bands: int = 0
    fine: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "batch", "patch", "learning_rate", "blocks"):
            if not getattr(self, name) > 0:
                raise InvalidStudy(f"budget: {name} must be positive, not {getattr(self, name)}")
        if not self.widths or min(self.widths) < 1:
            raise InvalidStudy(f"budget: widths must be positive numbers of channels, not {list(self.widths)}")


@dataclass(frozen=True)
class Cell:
    """One model of a study."""

    degradation: Choice
    recipe: Choice
    fold: int | None
    seed: int

    @property
    def folder(self) -> Path:
        """Below the study's folder."""
        fold = "" if self.fold is None else f"fold{self.fold}-"
        return Path("cells") / self.degradation.folder / self.recipe.folder / f"{fold}seed{self.seed}"

    @property
    def label(self) -> str:
        """For progress and errors."""
        fold = "" if self.fold is None else f", fold {self.fold}"
        return f"{self.degradation.label}, {self.recipe.label}{fold}, seed {self.seed}"


@dataclass(frozen=True)
class Study:
    """What is compared, and under which budget.

    Attributes:
        domain: of all models, such as `ct`.
        recipes, degradations: rows and columns of the table.
        seeds: each cell is trained once for each; weights, patches and noise follow from it.
        folds: 0 fits train/ and reports on validation/; K >= 2 deals the patients of train/ into K parts, each of
            which is reported on by models fitted on the others.
        budget: of every cell.
        slices: at most so many of each patient are reported on, spread evenly; may change, scores are then redone.

    Raises:
        InvalidStudy: nothing to compare, doubles, or numbers out of range.
        UnknownRecipe, UnknownDegradation, UnknownSetting: a name that does not exist.
    """

    domain: Domain
    recipes: tuple[Choice, ...]
    degradations: tuple[Choice, ...]
    seeds: tuple[int, ...] = (0,)
    folds: int = 0
    budget: Budget = field(default_factory=Budget)
    slices: int = 3

    def __post_init__(self) -> None:
        if self.domain not in DOMAINS:
            raise InvalidStudy(f"no domain {self.domain!r}; there is: {', '.join(DOMAINS)}")
        for what in ("recipes", "degradations", "seeds"):
            if not getattr(self, what):
                raise InvalidStudy(f"a study needs {what}; none was given")
        if min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise InvalidStudy(f"seeds must differ and not be negative: {list(self.seeds)}")
        if self.folds == 1 or self.folds < 0:
            raise InvalidStudy(f"folds must be 0 (fit train/, report on validation/) or at least 2, not {self.folds}")
        if self.slices < 1:
            raise InvalidStudy(f"slices of each patient must be at least 1, not {self.slices}")
        _refuse_doubles("recipe", [(each, dict(self.recipe(each).settings)) for each in self.recipes])
        _refuse_doubles("degradation", [(each, dict(self.degradation(each).settings)) for each in self.degradations])

    def recipe(self, choice: Choice) -> Recipe:
        """The row of `RECIPES` under the choice's settings."""
        return parse_model_name(f"{self.domain}-{choice.name}")[1].with_settings(dict(choice.settings))

    def degradation(self, choice: Choice) -> Degradation:
        """The row of `DEGRADATIONS` under the choice's settings."""
        return parse_degradation(choice.name, self.domain, dict(choice.settings))

    def cells(self) -> Iterator[Cell]:
        """In the order of work: all recipes of a degradation, fold and seed before the next, all of a seed first."""
        folds: Iterable[int | None] = range(self.folds) if self.folds else [None]
        for seed in self.seeds:
            for degradation in self.degradations:
                for fold in folds:
                    for recipe in self.recipes:
                        yield Cell(degradation, recipe, fold, seed)

    def fit_settings(self, cell: Cell) -> FitSettings:
        """What `training.fit` is asked for."""
        budget = self.budget
        return FitSettings(
            model=f"{self.domain}-{cell.recipe.name}",
            epochs=budget.epochs,
            steps=budget.steps,
            batch=budget.batch,
            patch=budget.patch,
            learning_rate=budget.learning_rate,
            precision=budget.precision,
            seed=cell.seed,
            network=UNetConfig(budget.widths, budget.blocks, budget.noise_bands, budget.fine),
            noise=self.degradation(cell.degradation),
            loss=dict(cell.recipe.settings),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values; recipes and degradations by their labels."""
        return {
            "domain": self.domain,
            "recipes": [each.label for each in self.recipes],
            "degradations": [each.label for each in self.degradations],
            "seeds": list(self.seeds),
            "folds": self.folds,
            "slices": self.slices,
            "budget": dataclasses.asdict(self.budget) | {"widths": list(self.budget.widths)},
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Study:
        """What `to_json` or a TOML file gives; what is missing has its default.

        Raises:
            InvalidStudy: a key that does not exist, besides what the class refuses.
        """
        _refuse_unknown(plain, cls, "study")
        budget = dict(plain.get("budget", {}))
        _refuse_unknown(budget, Budget, "budget")
        if "widths" in budget:
            budget["widths"] = tuple(budget["widths"])
        return cls(
            domain=plain.get("domain", "ct"),
            recipes=tuple(Choice.parse(each) for each in plain.get("recipes", ())),
            degradations=tuple(Choice.parse(each) for each in plain.get("degradations", ())),
            seeds=tuple(plain.get("seeds", (0,))),
            folds=plain.get("folds", 0),
            budget=Budget(**budget),
            slices=plain.get("slices", 3),
        )


def read_study(folder: Path) -> Study | None:
    """The study of a folder, or None if it has none yet."""
    file = folder / STUDY
    return Study.from_json(json.loads(file.read_text())) if file.is_file() else None


def join_study(asked: Study, folder: Path) -> Study:
    """What the folder's study becomes with what is asked: the same if it is new, else grown by it. Writes nothing.

    Raises:
        IncompatibleRun: the folder's study has another domain, budget or number of folds: its cells could not be
            compared with these.
    """
    before = read_study(folder)
    return asked if before is None else _grown(before, asked, folder)


def keep_study(asked: Study, folder: Path) -> Study:
    """`join_study`, written into the folder, which is made when missing."""
    whole = join_study(asked, folder)
    if whole != read_study(folder):
        write_json(folder / STUDY, whole.to_json())
    return whole


def _grown(before: Study, asked: Study, folder: Path) -> Study:
    same = {name: (getattr(before, name), getattr(asked, name)) for name in ("domain", "folds")}
    for each in dataclasses.fields(Budget):
        same[f"budget {each.name}"] = (getattr(before.budget, each.name), getattr(asked.budget, each.name))
    for name, (old, new) in same.items():
        if old != new:
            raise IncompatibleRun(
                f"the study in {folder} has {name} {old}, not {new}; cells under different terms cannot be compared:"
                " choose another folder, or the same terms"
            )
    return replace(
        before,
        recipes=_union(before.recipes, asked.recipes),
        degradations=_union(before.degradations, asked.degradations),
        seeds=_union(before.seeds, asked.seeds),
        slices=asked.slices,
    )


def _union(one: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys((*one, *other)))


def _refuse_doubles(what: str, choices: list[tuple[Choice, dict[str, Any]]]) -> None:
    seen: dict[str, Choice] = {}
    for choice, settings in choices:
        key = json.dumps([choice.name, settings], sort_keys=True)
        if key in seen:
            raise InvalidStudy(f"the {what}s {seen[key].label!r} and {choice.label!r} are the same")
        seen[key] = choice


def _refuse_unknown(plain: Mapping[str, Any], kind: type, what: str) -> None:
    known = [each.name for each in dataclasses.fields(kind)]
    unknown = sorted(set(plain) - set(known))
    if unknown:
        raise InvalidStudy(f"a {what} has no {unknown[0]!r}; it has: {', '.join(known)}")
