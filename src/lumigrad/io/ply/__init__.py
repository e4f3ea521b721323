"""PLY, the Stanford polygon format: text and binary of both byte orders."""
