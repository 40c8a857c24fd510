"""The database, events, the outbox, objects, retention and erasure."""
