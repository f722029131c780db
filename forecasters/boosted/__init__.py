"""Gradient-boosted quantiles of the latest values' ranks, by XGBoost."""
