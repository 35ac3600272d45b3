"""What happens to the bytes of one video."""
