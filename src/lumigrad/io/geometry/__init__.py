"""What the readers of all mesh formats share: triangles of polygons, welding, palettes, plain colours."""
