"""From a float Keras model to a QKeras model whose every tensor has a format."""
