"""Hyperparameters of a training job: SSM's, read when the step runs, over the defaults that stand here."""

from __future__ import annotations

import json

from loopcast import aws
from loopcast.feed import Feed
from loopcast.names import Names


def deepar_defaults(feed: Feed) -> dict[str, str]:
    """Few epochs and a context of four horizons: what did best on short histories (docs/forecasters.md)."""
    return {
        "context_length": str(4 * feed.forecast.steps),
        "epochs": "5",
        "num_cells": "40",
        "num_layers": "2",
        "mini_batch_size": "32",
        "learning_rate": "0.001",
        "dropout_rate": "0.1",
        "likelihood": "student-T",
        "early_stopping_patience": "10",
        "num_eval_samples": "100",
    }


def defaults(algorithm: str, feed: Feed, empirical_hours: int) -> dict[str, str]:
    """What stands where nothing is stored: the empirical baseline's are the hours that the backtest chose, and those of
    the algorithms that are not named here their programs' own."""
    if algorithm == "deepar":
        return deepar_defaults(feed)
    return {"context_length": str(empirical_hours * 60)} if algorithm == "empirical" else {}


def fixed(algorithm: str, feed: Feed) -> dict[str, str]:
    """What the feed states and no parameter changes."""
    stated = {"time_freq": "min", "prediction_length": str(feed.forecast.steps)}
    levels = json.dumps(feed.forecast.quantiles)
    return stated if algorithm == "empirical" else {**stated, "test_quantiles": levels}


def hyperparameters(algorithm: str, feed: Feed, names: Names, empirical_hours: int) -> dict[str, str]:
    """The defaults, over them `/loopcast/<feed>/hyperparameters/<algorithm>/<name>`, then what the feed states."""
    return {
        **defaults(algorithm, feed, empirical_hours),
        **stored(names, algorithm),
        **fixed(algorithm, feed),
    }


def stored(names: Names, algorithm: str) -> dict[str, str]:
    """The algorithm's parameters in SSM by their last name; an error of the parameter store is raised."""
    pages = (
        aws.client("ssm")
        .get_paginator("get_parameters_by_path")
        .paginate(Path=names.parameter("hyperparameters", algorithm))
    )
    return {item["Name"].rpartition("/")[2]: item["Value"] for page in pages for item in page["Parameters"]}
