"""What holds for every test."""

from hypothesis import settings

# How long an example takes depends on what else the machine does: it says nothing about the code.
settings.register_profile("saccade", deadline=None, print_blob=True)
settings.load_profile("saccade")
