"""The recycling kiosk that `saccade demo` shows."""
