"""saccade: a self-hosted vision AI server for one GPU box and many cameras."""

__version__ = "0.1.0"
