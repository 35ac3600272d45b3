"""What happens to the bytes of one video, and of the text tracks beside it."""
