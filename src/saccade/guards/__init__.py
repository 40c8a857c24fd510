"""What may come in: images (`images`, needs OpenCV) and model files (`model_files`).

Import them by name: this one imports nothing.
"""
