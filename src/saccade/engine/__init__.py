"""Hosts, rings, batching, the lifecycle and what decides over them."""
