"""The path of gsplat 0.1's functions in gsplat 1.0 to 1.2."""
