"""Counters, logs and device readings; nothing here is stored."""
