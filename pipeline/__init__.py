"""What happens to one page, one image, one pair."""
