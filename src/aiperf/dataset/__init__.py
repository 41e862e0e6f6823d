"""Where conversations come from: composers, loaders, the word bank."""
