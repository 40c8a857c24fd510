"""The API's routes; each file translates between HTTP and one service."""
