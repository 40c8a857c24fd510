"""Adapters for each kind of model, and the catalogue of what may be loaded."""
