"""DeepAR, `python -m forecasters.deepar train|serve`: the built-in algorithm's contract on GluonTS's network."""

from __future__ import annotations

from pathlib import Path

from forecasters import program
from forecasters.contract import Folders, read_hyperparameters
from forecasters.deepar.hyperparameters import DeepARHyperparameters
from forecasters.evaluation import Forecaster, evaluate, report
from forecasters.hosts import read_hosts
from forecasters.series import read_channel


def train(folders: Folders) -> None:
    """Trains on the train channel; the first host writes the model and scores it where there is a test channel."""
    hyperparameters = read_hyperparameters(DeepARHyperparameters, folders)
    series = read_channel(folders.channel("train"), "train")
    tests = read_channel(folders.channel("test"), "test") if folders.channel("test").is_dir() else []

    from forecasters.deepar.model import train as fit  # torch: a mistake above is told without waiting for it

    hosts = read_hosts(folders)
    model = fit(hyperparameters, series, hosts)
    if not hosts.leads:
        return
    model.save(folders.model)
    if tests:
        scores = evaluate(model, tests, hyperparameters.test_quantiles, hyperparameters.num_eval_samples)
        print(report(scores), flush=True)


def load(folder: Path) -> Forecaster:
    from forecasters.deepar.model import load as load_model

    return load_model(folder)


if __name__ == "__main__":
    program.main("forecasters.deepar", __doc__.partition("\n")[0], train, load)
