"""Boxes, letterboxing, NMS, drawing and JPEG."""
