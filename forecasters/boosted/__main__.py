"""Boosted quantiles, `python -m forecasters.boosted train|serve`: trees foresee where values will lie among the latest.

Each value is seen as its score among the latest `context_length` (`forecasters.ranks`). A linear forecast of scores and
gradient-boosted trees (XGBoost) on top of it say where the quantiles of each step lie.
"""

from __future__ import annotations

from pathlib import Path

from forecasters import program
from forecasters.boosted.hyperparameters import BoostedHyperparameters
from forecasters.contract import Folders, read_hyperparameters
from forecasters.evaluation import Forecaster, evaluate, report
from forecasters.series import read_channel

EVALUATION_SAMPLES = 100


def train(folders: Folders) -> None:
    """Trains on the train channel, writes the model and scores it on the test channel where there is one."""
    hyperparameters = read_hyperparameters(BoostedHyperparameters, folders)
    series = read_channel(folders.channel("train"), "train")
    tests = read_channel(folders.channel("test"), "test") if folders.channel("test").is_dir() else []

    from forecasters.boosted.training import fit  # XGBoost: a mistake above is told without waiting for it

    model = fit(hyperparameters, series)
    model.save(folders.model)
    if tests:
        print(report(evaluate(model, tests, hyperparameters.test_quantiles, EVALUATION_SAMPLES)), flush=True)


def load(folder: Path) -> Forecaster:
    from forecasters.boosted.model import load as load_model

    return load_model(folder)


if __name__ == "__main__":
    program.main("forecasters.boosted", __doc__.partition("\n")[0], train, load)
