"""The empirical baseline, `python -m forecasters.empirical train|serve`: the future is distributed as the latest past.

The quantiles of the latest `context_length` steps, missing ones left out, are the forecast of each step.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from forecasters import program
from forecasters.contract import ClientError, Folders, Hyperparameters, read_hyperparameters
from forecasters.evaluation import DEFAULT_QUANTILES, evaluate, report
from forecasters.frequency import TimeFrequency
from forecasters.series import Array, Series, read_channel
from loopcast.forecast import Configuration, Prediction

MANIFEST = "manifest.json"
EVALUATION_SAMPLES = 100


class EmpiricalHyperparameters(Hyperparameters):
    """`context_length` is how many of the latest steps count."""

    prediction_length: PositiveInt
    time_freq: TimeFrequency
    context_length: PositiveInt
    seed: NonNegativeInt = 0


@dataclass(frozen=True)
class Empirical:
    """The baseline as a model; it is its hyperparameters."""

    hyperparameters: EmpiricalHyperparameters

    @property
    def prediction_length(self) -> int:
        return self.hyperparameters.prediction_length

    def predict(self, series: Series, configuration: Configuration) -> Prediction:
        """Raises ValueError where every one of the latest steps is missing."""
        latest = series.target[-self.hyperparameters.context_length :]
        known = latest[~np.isnan(latest)]
        if known.size == 0:
            raise ValueError(f"each of the latest {len(latest)} values of target is missing: there is nothing to go by")
        wanted = configuration.output_types
        return Prediction(
            mean=[float(known.mean())] * self.prediction_length if "mean" in wanted else None,
            quantiles=self._quantiles(known, configuration.quantiles) if "quantiles" in wanted else None,
            samples=self._samples(known, configuration.num_samples) if "samples" in wanted else None,
        )

    def _quantiles(self, known: Array, levels: list[str]) -> dict[str, list[float]]:
        return {level: [float(np.quantile(known, float(level)))] * self.prediction_length for level in levels}

    def _samples(self, known: Array, number: int) -> list[list[float]]:
        generator = np.random.default_rng(self.hyperparameters.seed)
        drawn: list[list[float]] = generator.choice(known, (number, self.prediction_length)).tolist()
        return drawn


def train(folders: Folders) -> None:
    """Checks the data, writes the model and scores it on the test channel where there is one."""
    hyperparameters = read_hyperparameters(EmpiricalHyperparameters, folders)
    read_channel(folders.channel("train"), "train")
    model = Empirical(hyperparameters)
    folders.model.mkdir(parents=True, exist_ok=True)
    (folders.model / MANIFEST).write_text(hyperparameters.model_dump_json())
    if folders.channel("test").is_dir():
        tests = read_channel(folders.channel("test"), "test")
        print(report(evaluate(model, tests, DEFAULT_QUANTILES, EVALUATION_SAMPLES)), flush=True)


def load(folder: Path) -> Empirical:
    """Reads a model folder; raises `ClientError` where it holds no such model."""
    try:
        return Empirical(EmpiricalHyperparameters.model_validate_json((folder / MANIFEST).read_text()))
    except (OSError, ValueError) as error:
        raise ClientError(f"{folder} holds no model of this image: {error}") from error


if __name__ == "__main__":
    program.main("forecasters.empirical", __doc__.partition("\n")[0], train, load)
