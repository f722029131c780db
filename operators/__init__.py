"""Decides when a model is retrained, released and rolled back, and launches what that takes."""
