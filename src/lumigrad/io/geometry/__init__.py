"""Shared by the readers of all mesh formats: triangles of polygons, welding, palettes, plain colours."""
