"""The commands of `saccade`."""
