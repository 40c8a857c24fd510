"""What may come in: images, model files, URLs, requests."""
