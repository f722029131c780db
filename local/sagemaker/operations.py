"""Imports every module of operations: importing them registers them. The order is the order in which services start."""

from local.sagemaker import tags

__all__ = ["tags"]
