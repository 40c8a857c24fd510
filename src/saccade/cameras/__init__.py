"""Frames in: one process for each camera."""
