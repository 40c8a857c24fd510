"""What all HTTP doors share: keys, problem+json, origin checks."""
