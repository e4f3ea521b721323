"""What ops return and take: named tuples of tensors."""
