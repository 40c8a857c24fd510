"""Long work and the delivery of the outbox."""
