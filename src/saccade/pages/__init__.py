"""The dashboard, in a process of its own: `app.serve` runs it until it is told to stop."""
