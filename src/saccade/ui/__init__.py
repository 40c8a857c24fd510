"""Theme and components that all pages share."""
