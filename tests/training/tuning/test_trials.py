"""Searches with a stand-in for `fit` whose scores are known, and one with the real one."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from training.errors import IncompatibleRun, NoTrainingData
from training.fit import FitSettings, Progress
from training.networks.unet import UNetConfig
from training.tuning import trials as module
from training.tuning.search_space import TuneSettings
from training.tuning.trials import AGAIN, POINT, Search, best_trial, describe_trial, run_trials

FIT = FitSettings("ct-huber", epochs=3, steps=2, batch=2, patch=32, network=UNetConfig((4, 6), 1))


def score(settings):
    """Best at delta 0.1 and a learning rate of 1e-3."""
    return 30 - math.log10(settings.loss["delta"] / 0.1) ** 2 - math.log10(settings.learning_rate / 1e-3) ** 2


def stand_in(settings, _fit_series, _tune_series, run, *, progress, **_):
    run.mkdir(parents=True)
    for epoch in range(1, settings.epochs + 1):
        scores = {"psnr": score(settings) - 3 / epoch, "ssim": 0.9, "rmse": 8.0, "bias": 0.0, "loss": 1.0}
        progress(Progress(epoch, settings.epochs, settings.steps, settings.steps, 1.0, scores))


@pytest.fixture
def pretended(monkeypatch):
    monkeypatch.setattr(module, "fit", stand_in)
    monkeypatch.setattr(module, "forget_models", lambda: None)  # there is none, and collecting garbage takes a while


@pytest.fixture
def search(prepared, tmp_path):
    return Search(TuneSettings(FIT), [prepared("a", 1)], [prepared("b", 2)], tmp_path / "search")


def _stored(search):
    storage = optuna.storages.RDBStorage(f"sqlite:///{search.folder / 'study.db'}")
    found = optuna.load_study(study_name=search.settings.fit.model, storage=storage).trials
    storage.remove_session()
    storage.engine.dispose()
    return found


@pytest.mark.usefixtures("pretended")
def test_untuned_constants_come_first_and_are_trained_to_the_end(search):
    lines = []
    trials = run_trials(search, 12, notice=lines.append)
    assert len(trials) == len(lines) == 12
    own, classic = trials[:2]
    assert own.user_attrs[POINT] == "the recipe's own"
    assert classic.user_attrs[POINT] == "classic delta 0.5"
    assert classic.params["delta"] == pytest.approx(2.0475)
    assert {own.state, classic.state} == {TrialState.COMPLETE}
    assert own.value == pytest.approx(score(search.settings.with_numbers(own.params)) - 1)
    assert list(own.intermediate_values) == [1, 2, 3]
    assert own.user_attrs["ssim"] == 0.9
    assert not list((search.folder / "work").iterdir())  # scores are kept, runs are not


@pytest.mark.usefixtures("pretended")
def test_bad_trials_are_stopped_after_half_of_the_epochs(search):
    trials = run_trials(search, 25)
    pruned = [each for each in trials if each.state == TrialState.PRUNED]
    assert pruned
    assert {each.last_step for each in pruned} == {2}
    assert "stopped after epoch 2" in describe_trial(pruned[0])
    best = best_trial(trials)
    assert best.value == max(each.value for each in trials if each.state == TrialState.COMPLETE)
    assert best.value > trials[0].value


@pytest.mark.usefixtures("pretended")
def test_the_total_counts_all_and_a_resumed_search_is_as_an_unbroken_one(search, tmp_path):
    assert len(run_trials(search, 3)) == 3
    resumed = run_trials(search, 9)
    assert len(run_trials(search, 5)) == 9  # already done
    whole = Search(search.settings, search.fit_series, search.tune_series, tmp_path / "whole")
    assert [each.params for each in run_trials(whole, 9)] == [each.params for each in resumed]


@pytest.mark.usefixtures("pretended")
def test_another_search_in_the_same_folder_is_refused(search):
    run_trials(search, 1)
    other = Search(TuneSettings(FIT, frozenset({"delta"})), search.fit_series, search.tune_series, search.folder)
    with pytest.raises(IncompatibleRun, match="other settings or data"):
        run_trials(other, 1)
    with pytest.raises(NoTrainingData, match="no folder tune"):
        Search(search.settings, search.fit_series, [], search.folder)


@pytest.mark.usefixtures("pretended")
def test_a_lost_trial_is_run_again_with_its_numbers(search, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*_, **__):
        raise Killed

    run_trials(search, 4)
    monkeypatch.setattr(module, "fit", killed)
    with pytest.raises(Killed):
        run_trials(search, 6)
    lost = _stored(search)[4]
    assert lost.state == TrialState.RUNNING  # as if the process had died
    monkeypatch.setattr(module, "fit", stand_in)
    trials = run_trials(search, 6)
    assert len(trials) == 6
    stored = _stored(search)
    assert stored[4].state == TrialState.FAIL
    (again,) = [each for each in stored if AGAIN in each.user_attrs]
    assert again.params == lost.params
    assert again.user_attrs[AGAIN] == 4


def test_a_run_that_diverges_is_dropped(search, monkeypatch):
    def diverging(settings, *_, progress, **__):
        scores = dict.fromkeys(("psnr", "ssim", "rmse", "bias", "loss"), math.nan)
        progress(Progress(1, settings.epochs, 2, 2, math.nan, scores))

    monkeypatch.setattr(module, "fit", diverging)
    (trial,) = run_trials(search, 1)
    assert trial.state == TrialState.PRUNED
    assert "diverged" in describe_trial(trial)
    with pytest.raises(IncompatibleRun, match="no trial"):
        best_trial([trial])


def _work(settings, series, folder, total, victim):
    """A worker of its own process; the victim is killed inside its first trial."""

    def last(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    module.fit = last if victim else stand_in
    module.forget_models = lambda: None
    run_trials(Search(settings, series, series, Path(folder)), total)


def test_several_workers_lose_and_double_nothing(search):
    context = multiprocessing.get_context("spawn")
    arguments = (search.settings, list(search.fit_series), str(search.folder), 12)
    victim = context.Process(target=_work, args=(*arguments, True))
    victim.start()
    victim.join(120)
    assert victim.exitcode == -signal.SIGKILL
    workers = [context.Process(target=_work, args=(*arguments, False)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    stored = _stored(search)
    done = [each for each in stored if each.state in {TrialState.COMPLETE, TrialState.PRUNED}]
    assert len(done) == 12
    assert [each.number for each in stored if each.state == TrialState.FAIL] == [0]
    assert len({tuple(each.params.values()) for each in done}) == 12
    assert sum(POINT in each.user_attrs for each in done) == 2


def test_trials_are_real_trainings(prepared, tmp_path):
    settings = TuneSettings(FIT, frozenset({"delta"}))
    search = Search(settings, [prepared("a", 1)], [prepared("b", 2)], tmp_path / "search")
    states = []
    trials = run_trials(search, 2, progress=lambda *state: states.append(state))
    assert states[-1] == ("trial 2", 6, 6)
    assert all(math.isfinite(each.value) for each in trials)
    assert trials[0].params == {"learning_rate": 1e-3}
    assert not list((search.folder / "work").iterdir())
