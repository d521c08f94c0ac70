"""The HLS project: the hls4ml adapter, our kernels and the templates around them."""
