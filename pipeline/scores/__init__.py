"""Scores of pictures by models: a classifier's probability, a picture's embedding beside its text's. The models are the user's, but for one in a wheel."""
