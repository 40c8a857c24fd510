"""Boxes, letterboxing, NMS, drawing and JPEG.

`detections`, `nms` and `letterbox` need numpy alone, so that a host holds no OpenCV; `pixels`,
`draw` and `jpeg` import it. Import the modules by name: this one imports nothing.
"""
