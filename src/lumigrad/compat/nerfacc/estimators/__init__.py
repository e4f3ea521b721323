"""Where along rays samples are worth their cost."""
