"""The web, asked politely. The only network of the library."""
