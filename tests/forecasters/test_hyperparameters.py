"""A hyperparameter that the built-in algorithm would refuse is refused, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

import pytest

from forecasters.contract import ClientError, Folders, Hyperparameters, read_hyperparameters
from forecasters.deepar.hyperparameters import DeepARHyperparameters
from forecasters.empirical import EmpiricalHyperparameters

DEEPAR = {"context_length": "30", "epochs": "20", "prediction_length": "30", "time_freq": "1min"}
EMPIRICAL = {"context_length": "360", "prediction_length": "30", "time_freq": "1min"}


H = TypeVar("H", bound=Hyperparameters)


def read(kind: type[H], folder: Path, given: dict[str, str]) -> H:
    config = folder / "input" / "config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps(given))
    return read_hyperparameters(kind, Folders(folder))


def test_the_defaults_are_the_built_in_algorithms(tmp_path: Path) -> None:
    found = read(DeepARHyperparameters, tmp_path, DEEPAR)
    assert found.cardinality == found.num_dynamic_feat == "auto"
    assert found.likelihood == "student-T"
    assert (found.dropout_rate, found.learning_rate) == (0.1, 0.001)
    assert (found.embedding_dimension, found.num_cells, found.num_layers) == (10, 40, 2)
    assert (found.mini_batch_size, found.num_eval_samples) == (128, 100)
    assert found.test_quantiles == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    assert found.early_stopping_patience is None


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("cardinality", "[2, 3]", [2, 3]),
        ("cardinality", "", ""),
        ("cardinality", "ignore", "ignore"),
        ("num_dynamic_feat", "2", 2),
        ("num_dynamic_feat", "", ""),
        ("likelihood", "negative-binomial", "negative-binomial"),
        ("likelihood", "deterministic-L1", "deterministic-L1"),
        ("likelihood", "student-t", "student-T"),
        ("time_freq", "5min", "5min"),
        ("time_freq", "M", "M"),
        ("learning_rate", "1e-4", 1e-4),
        ("early_stopping_patience", "5", 5),
        ("test_quantiles", "[0.05, 0.95]", (0.05, 0.95)),
        ("seed", "7", 7),
    ],
)
def test_text_is_read_as_the_type_it_stands_for(tmp_path: Path, name: str, text: str, value: object) -> None:
    found = read(DeepARHyperparameters, tmp_path, DEEPAR | {name: text})
    assert getattr(found, name) == value


def test_a_tuning_jobs_objective_is_accepted(tmp_path: Path) -> None:
    given = DEEPAR | {"_tuning_objective_metric": "test:RMSE"}
    assert read(DeepARHyperparameters, tmp_path, given).tuning_objective_metric == "test:RMSE"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("context_length", "0"),
        ("epochs", "many"),
        ("epochs", "2.5"),
        ("prediction_length", "-1"),
        ("time_freq", "5T"),
        ("time_freq", "0min"),
        ("cardinality", "[0]"),
        ("cardinality", "[]"),
        ("cardinality", "[2"),
        ("dropout_rate", "1"),
        ("early_stopping_patience", "0"),
        ("embedding_dimension", "0"),
        ("learning_rate", "0"),
        ("learning_rate", "nan"),
        ("likelihood", "poisson"),
        ("mini_batch_size", "x"),
        ("num_cells", "0"),
        ("num_dynamic_feat", "some"),
        ("num_eval_samples", "0"),
        ("num_layers", "-2"),
        ("test_quantiles", "[0.5, 1.0]"),
        ("test_quantiles", "0.5,0.9"),
        ("seed", "-1"),
        ("_tuning_objective_metric", "test:accuracy"),
    ],
)
def test_a_wrong_value_is_refused_by_name(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ClientError, match=rf"Failed to validate hyperparameters[^$]*for {name}:"):
        read(DeepARHyperparameters, tmp_path, DEEPAR | {name: text})


@pytest.mark.parametrize("name", DEEPAR)
def test_a_required_hyperparameter_is_asked_for(tmp_path: Path, name: str) -> None:
    given = {other: text for other, text in DEEPAR.items() if other != name}
    with pytest.raises(ClientError, match=f"'{name}' is a required property"):
        read(DeepARHyperparameters, tmp_path, given)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ClientError) as refusal:
        read(DeepARHyperparameters, tmp_path, DEEPAR | {"epochs": "many", "hidden_size": "40"})
    assert "for epochs:" in str(refusal.value)
    assert "('hidden_size' was unexpected)" in str(refusal.value)


def test_the_empirical_baseline_has_only_its_own_hyperparameters(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="'epochs' was unexpected"):
        read(EmpiricalHyperparameters, tmp_path, EMPIRICAL | {"epochs": "20"})


def test_what_a_tuning_job_adds_is_no_mistake_for_a_program_without_a_choice(tmp_path: Path) -> None:
    given = EMPIRICAL | {"_tuning_objective_metric": "test:mean_wQuantileLoss"}
    assert read(EmpiricalHyperparameters, tmp_path, given).context_length == 360
