"""Adapters for each kind of model, and the catalogue of what may be loaded.

For the rest of the house: `adapter` (`ModelAdapter`, `open_adapter`), `detect` (`detect_image`,
needs OpenCV), `labels` (`resolve_labels`) and `catalogue` (`load_catalogue`, `pull`). Import them
by name: this one imports nothing.
"""
